//! Reads the credentials in the `Authorization` header, and tells browsers from programs.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    http::{
        Problem,
        wire::request::{Header, Request, text},
    },
    secret::SecretText,
};

/// The content of the `Authorization` header. If the header is present, cookies are not read.
#[derive(Debug)]
pub(crate) enum Authorization<'a> {
    /// There is no header.
    Absent,
    /// A token (RFC 6750).
    Bearer(&'a str),
    /// A name and password (RFC 7617).
    Basic { name: String, password: SecretText },
}

impl<'a> Authorization<'a> {
    /// Reads the header. An ambiguous header is an error.
    pub(crate) fn of(request: &'a impl Request) -> Result<Self, Problem> {
        let mut lines = request.values(Header::Authorization);
        let Some(line) = lines.next() else { return Ok(Self::Absent) };
        let text = text(line).ok_or_else(Problem::bad_authorization)?;
        let (scheme, value) = text.split_once(' ').ok_or_else(Problem::bad_authorization)?;
        let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if lines.next().is_some() || !plain {
            return Err(Problem::bad_authorization());
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            Ok(Self::Bearer(value))
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic(value).ok_or_else(Problem::bad_authorization)
        } else {
            Err(Problem::bad_authorization())
        }
    }
}

fn basic(value: &str) -> Option<Authorization<'static>> {
    let bytes = STANDARD.decode(value).ok()?;
    let text = zeroize::Zeroizing::new(String::from_utf8(bytes).ok()?);
    let (name, password) = text.split_once(':')?;
    Some(Authorization::Basic { name: name.into(), password: SecretText::new(password.into()) })
}

/// Whether a browser sent the request. Browsers send `Sec-Fetch-*` to trustworthy origins (Fetch Metadata).
pub(crate) fn from_browser(request: &impl Request) -> bool {
    request.header_names().any(|name| name.starts_with("sec-fetch-"))
}

/// Whether a browser is navigating to a page, as opposed to a script that fetches data. If `Sec-Fetch-Mode` is missing (an old
/// browser, or a proxy that removes it), a navigation is a request that accepts HTML and has no body or the body of a form.
pub(crate) fn is_navigation(request: &impl Request) -> bool {
    let html = || request.text(Header::Accept).is_some_and(|accept| accept.contains("text/html"));
    match request.text(Header::SecFetchMode) {
        Some(mode) => mode == "navigate",
        None => html() && (request.has_safe_method() || (request.method() == "POST" && is_form(request))),
    }
}

/// Whether the body has a media type that an HTML form can send.
fn is_form(request: &impl Request) -> bool {
    let media = request.text(Header::ContentType).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"].contains(&media.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::request::sample::Sample;

    fn of(lines: &[&str]) -> Result<String, &'static str> {
        let request = lines.iter().fold(Sample::get(), |request, line| request.header("Authorization", line));
        match Authorization::of(&request) {
            Ok(Authorization::Absent) => Ok("absent".into()),
            Ok(Authorization::Bearer(token)) => Ok(format!("bearer {token}")),
            Ok(Authorization::Basic { name, password }) => Ok(format!("basic {name} {}", password.expose())),
            Err(problem) => Err(problem.code()),
        }
    }

    #[test]
    fn a_header_is_read_one_way_or_not_at_all() {
        assert_eq!(of(&[]).unwrap(), "absent");
        assert_eq!(of(&["Bearer bulXa"]).unwrap(), "bearer bulXa");
        assert_eq!(of(&["bearer bulXa"]).unwrap(), "bearer bulXa");
        assert_eq!(of(&["Basic YWRhOmE6Yg=="]).unwrap(), "basic ada a:b");
        for bad in [
            "Bearer",
            "Bearer ",
            "Bearer  a",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a, Bearer b",
            "",
            "Digest x",
            "Basic !!",
            "Basic YWRh",
        ] {
            assert_eq!(of(&[bad]), Err("bad_authorization"), "{bad}");
        }
        assert_eq!(of(&["Bearer a", "Bearer a"]), Err("bad_authorization"));
    }
}
