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

/// What happens to an `Authorization` header whose scheme Bulla does not use: not `Bearer`, and not `Basic` unless it is switched
/// off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignScheme {
    /// The request is refused: 400 `bad_authorization`, or 401 for `Basic` if it is switched off. The default.
    #[default]
    Refuse,
    /// The header counts as absent. The cookies decide, with the same check for forgery as without the header. The embedding
    /// program can read the header itself. A route that only this header authenticates uses
    /// [`Guard::optional`](crate::Guard::optional).
    Ignore,
}

/// The schemes of the `Authorization` header by which people can authenticate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schemes {
    pub(crate) basic: bool,
    pub(crate) foreign: ForeignScheme,
}

impl Default for Schemes {
    fn default() -> Self {
        Self { basic: true, foreign: ForeignScheme::Refuse }
    }
}

impl Schemes {
    /// Reads the header. A scheme that is ignored counts as an absent header.
    pub(crate) fn read<'a>(self, request: &'a impl Request) -> Result<Authorization<'a>, Problem> {
        if self.foreign == ForeignScheme::Ignore && self.has_foreign(request) {
            return Ok(Authorization::Absent);
        }
        match Authorization::of(request)? {
            Authorization::Basic { .. } if !self.basic => Err(Problem::unauthorized()),
            admitted => Ok(admitted),
        }
    }

    /// Whether the request has one header, and its scheme is foreign. Several headers are ambiguous.
    fn has_foreign(self, request: &impl Request) -> bool {
        let mut lines = request.values(Header::Authorization);
        let Some(scheme) = lines.next().and_then(text).and_then(|line| line.split(' ').next()) else {
            return false;
        };
        let is_ours = scheme.is_empty()
            || scheme.eq_ignore_ascii_case("bearer")
            || self.basic && scheme.eq_ignore_ascii_case("basic");
        !is_ours && lines.next().is_none()
    }
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
    fn an_authorization_header_has_one_meaning_or_is_refused() {
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
