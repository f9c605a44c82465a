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

/// Describes a query with an unknown parameter. Names the parameter if its name has only letters, digits, `_` and `-`.
pub(crate) fn unknown_in_query(error: &impl std::fmt::Display) -> Option<Problem> {
    let text = error.to_string();
    // The name can contain any text, so its end is searched from the end of the message.
    let (name, known) = text.split_once("unknown field `")?.1.rsplit_once("`, expected ")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let named = match (1..=32).contains(&name.len()) && name.chars().all(plain) {
        true => format!("the unknown parameter {name}"),
        false => "an unknown parameter".to_owned(),
    };
    Some(Problem::bad_request(format!("The query has {named}. Expected is {}.", known.replace('`', ""))))
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
    fn an_unknown_parameter_of_a_query_is_named_if_its_name_is_plain() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Known {
            #[expect(dead_code, reason = "only the names matter")]
            user: Option<String>,
            #[expect(dead_code, reason = "only the names matter")]
            ip: Option<String>,
        }
        for (query, says) in [
            ("usr=1", "The query has the unknown parameter usr. Expected is user or ip."),
            ("%3Cb%3E=1", "The query has an unknown parameter. Expected is user or ip."),
            ("a`,%20expected%20x=1", "The query has an unknown parameter. Expected is user or ip."),
        ] {
            let error = actix_web::web::Query::<Known>::from_query(query).unwrap_err();
            assert_eq!(unknown_in_query(&error).unwrap().detail(), says, "{query}");
        }
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
