//! Reads the body of a request as JSON or as a form.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::LOCATION},
    web::Bytes,
};
use serde::de::DeserializeOwned;

use crate::{
    http::{
        Problem,
        wire::request::{Header, Request as _},
    },
    token::Object,
};

/// The length of the longest body that a route accepts, in bytes.
pub(crate) const MAX: usize = 16 * 1024;

/// The form of the body. It decides the form of the answer: a page for a form, JSON for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Form,
    Json,
}

/// Reads a body. An empty body gives the default of each field; it is an error if a field of `T` has no default.
pub(crate) fn read<T: DeserializeOwned>(request: &HttpRequest, body: &Bytes) -> Result<(T, Kind), Problem> {
    let media = request.text(Header::ContentType).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/x-www-form-urlencoded" => {
            let form = actix_web::web::Query::<T>::from_query(std::str::from_utf8(body).unwrap_or("%"));
            Ok((form.map_err(|error| complaint(&error).unwrap_or_else(malformed))?.into_inner(), Kind::Form))
        }
        // The media type of an empty body is ignored, because scripts send an empty text as `text/plain`.
        _ if body.is_empty() => Ok((parse(b"{}")?, Kind::Json)),
        "application/json" => Ok((parse(body)?, Kind::Json)),
        _ => Err(Problem::unsupported_media_type()),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map(|Object(input)| input)
        .map_err(|error| complaint(&error).unwrap_or_else(malformed))
}

/// Describes a query or body that can't be read because a parameter is repeated, missing or unknown. The text contains only names
/// that this program defines, and no other part of the input.
pub(crate) fn complaint(error: &impl std::fmt::Display) -> Option<Problem> {
    let text = error.to_string();
    let named = |what: &str| text.split_once(what)?.1.split_once('`').map(|(name, _)| name.to_owned());
    let twice =
        named("duplicate field `").map(|name| format!("The parameter {name} is given more than once."));
    let missing = || named("missing field `").map(|name| format!("The parameter {name} is missing."));
    let unknown = || {
        let known = text.split_once("unknown field `")?.1.split_once("expected ")?.1;
        let known = known.split(" at line ").next().unwrap_or_default().replace('`', "");
        Some(format!("The body has an unknown parameter. Expected is {known}."))
    };
    twice.or_else(missing).or_else(unknown).map(Problem::bad_request)
}

pub(crate) fn malformed() -> Problem {
    Problem::bad_request("The body is malformed, or a field is missing.")
}

/// Redirects a browser with a GET.
pub(crate) fn see_other(location: &str) -> HttpResponse {
    HttpResponse::build(StatusCode::SEE_OTHER).insert_header((LOCATION, location)).finish()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Named {
        #[serde(default)]
        name: String,
    }

    #[test]
    fn a_json_body_is_an_object_without_repeated_members() {
        assert_eq!(parse::<Named>(br#"{"name":"ada"}"#).unwrap().name, "ada");
        assert_eq!(parse::<Named>(b" {}").unwrap(), Named::default());
        let twice = parse::<Named>(br#"{"name":"ada","name":"bob"}"#).unwrap_err();
        assert_eq!(twice.detail(), "The parameter name is given more than once.");
        for bad in [r#"["ada"]"#, "[]", "null", r#""ada""#, r#"{"name":"ada","name":"bob"}"#, "{}{}", ""] {
            assert!(parse::<Named>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
