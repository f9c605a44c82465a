//! Detects requests that another site can make a browser send, and refuses the dangerous ones (docs/design/http.md).

use actix_web::{
    HttpRequest,
    http::{
        Method,
        header::{self, HeaderName},
    },
};

use crate::http::{
    Problem, Site,
    wire::credentials::{is_navigation, text},
};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");

/// Whether the forgery rule applies. It applies to every method except GET, HEAD and OPTIONS, and to every request that asks for
/// another protocol, whatever its method. A WebSocket is opened by a GET; the browser sends cookies with it and CORS does not
/// apply. Without the rule another site could send and read through it as the user.
pub(crate) fn is_unsafe(request: &HttpRequest) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) || is_upgrade(request)
}

/// Whether a request asks for another protocol: `Upgrade` with any value (RFC 9110, 7.8), `Connection: upgrade`, or a header that
/// only a WebSocket handshake has (a proxy may have removed the first two). Extended CONNECT (RFC 8441) has its own method. Some
/// proxies send `Connection: upgrade` with every request. So this header alone does not count if the request is a navigation,
/// because a navigation is never a handshake.
fn is_upgrade(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let connection_says_so = || {
        headers.get_all(header::CONNECTION).any(|line| {
            let mut options = line.as_bytes().split(|byte| *byte == b',');
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        })
    };
    headers.contains_key(header::UPGRADE)
        || headers.contains_key(WEBSOCKET_KEY)
        || headers.get(FETCH_MODE).is_some_and(|mode| mode == "websocket")
        || connection_says_so() && !is_navigation(request)
}

/// Whether another site caused this request. `same-site` does not count as another site, because with `cookie_domain` the pages of
/// one application are on several hosts. An unknown value counts as another site.
pub(crate) fn is_cross_site(request: &HttpRequest) -> bool {
    let ours = |site: &header::HeaderValue| site == "same-origin" || site == "same-site" || site == "none";
    request.headers().get_all(FETCH_SITE).any(|site| !ours(site))
}

/// Whether a cross-site request can be answered with a page that loads again by itself, so that the next request is same-origin.
/// This is possible for a navigation of a whole tab. If the `Referer` equals the requested address, the request comes from such a
/// page already. If it is cross-site nevertheless, a proxy overwrites the header and further pages would repeat without end.
pub(crate) fn can_come_back(request: &HttpRequest, site: &Site) -> bool {
    let whole_tab = text(request, &FETCH_DEST).is_none_or(|dest| dest == "document");
    let from_itself = text(request, &header::REFERER).is_some_and(|referer| {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        referer.strip_prefix(site.origin_of(request)) == Some(path)
    });
    whole_tab && !from_itself && !is_unsafe(request)
}

impl Site {
    /// Refuses an unsafe request that another site may have caused. Called if there is no `Authorization` header.
    pub(crate) fn refuse_forgery(&self, request: &HttpRequest, has_cookies: bool) -> Result<(), Problem> {
        if !is_unsafe(request) {
            return Ok(());
        }
        let mut origins = request.headers().get_all(header::ORIGIN).peekable();
        let mut sites = request.headers().get_all(FETCH_SITE).peekable();
        let ours = match (sites.peek().is_some(), origins.peek().is_some()) {
            (true, _) => sites.all(|site| site == "same-origin" || site == "none"),
            (false, true) => origins.all(|origin| origin.to_str().is_ok_and(|origin| self.is_ours(origin))),
            (false, false) => !has_cookies,
        };
        if ours { Ok(()) } else { Err(Problem::foreign_origin()) }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn site() -> Site {
        Site::public("https://app.example/")
    }

    fn with(request: TestRequest, headers: &[(&'static str, &str)]) -> HttpRequest {
        headers.iter().fold(request, |request, header| request.append_header(*header)).to_http_request()
    }

    #[test]
    fn an_unsafe_request_must_be_from_our_own_pages() {
        let ours = ("origin", "https://app.example");
        for (headers, cookies, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true, false),
            (&[("sec-fetch-site", "none")], true, false),
            (&[("sec-fetch-site", "same-site")], true, true),
            (&[("sec-fetch-site", "cross-site"), ours], true, true),
            (&[("sec-fetch-site", "cross-site")], false, true),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], true, true),
            (&[ours], true, false),
            (&[("origin", "https://app.example.evil")], true, true),
            (&[("origin", "https://app.example.evil")], false, true),
            (&[ours, ("origin", "https://evil.example")], true, true),
            (&[("origin", "https://evil.example"), ours], true, true),
            (&[("origin", "null")], true, true),
            (&[("origin", "null")], false, true),
            (&[], true, true),
            (&[], false, false),
        ] {
            for request in [TestRequest::post(), TestRequest::get().insert_header(("upgrade", "websocket"))] {
                let refused = site().refuse_forgery(&with(request, headers), cookies).is_err();
                assert_eq!(refused, expected, "{headers:?} {cookies}");
            }
        }
    }

    #[test]
    fn a_request_for_another_protocol_is_unsafe_whatever_its_method_and_spelling() {
        for headers in [
            &[("upgrade", "websocket"), ("connection", "upgrade")][..],
            &[("upgrade", "WebSocket")],
            &[("upgrade", "h2c")],
            &[("upgrade", "")],
            &[("connection", "keep-alive, Upgrade")],
            &[("connection", "keep-alive"), ("connection", "UPGRADE")],
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")],
            &[("sec-fetch-mode", "websocket")],
        ] {
            for request in [TestRequest::get(), TestRequest::default().method(Method::OPTIONS)] {
                assert!(is_unsafe(&with(request, headers)), "{headers:?}");
            }
        }
        for method in [Method::TRACE, Method::CONNECT, Method::PUT, Method::from_bytes(b"GE").unwrap()] {
            assert!(is_unsafe(&with(TestRequest::default().method(method.clone()), &[])), "{method}");
        }
        for headers in [
            &[][..],
            &[("connection", "keep-alive")],
            &[("connection", "x-upgrade")],
            &[("accept", "upgrade")],
        ] {
            assert!(!is_unsafe(&with(TestRequest::get(), headers)), "{headers:?}");
        }
    }

    #[test]
    fn a_navigation_is_no_upgrade_because_a_proxy_says_connection_upgrade_with_every_request() {
        let said = ("connection", "upgrade");
        let html = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        for (headers, expected) in [
            (&[said, ("sec-fetch-mode", "navigate")][..], false),
            (&[said, html], false),
            (&[said, ("sec-fetch-mode", "cors"), html], true),
            (&[said, ("sec-fetch-mode", "websocket"), html], true),
            (&[said, ("upgrade", "websocket"), ("sec-fetch-mode", "navigate")], true),
            (&[said, ("sec-websocket-key", "x"), html], true),
            (&[said], true),
        ] {
            assert_eq!(is_unsafe(&with(TestRequest::get(), headers)), expected, "{headers:?}");
        }
        assert!(is_unsafe(&with(TestRequest::post(), &[said, html])));
    }

    #[test]
    fn a_site_that_is_not_named_as_ours_is_another_one() {
        for (value, expected) in [
            ("same-origin", false),
            ("same-site", false),
            ("none", false),
            ("cross-site", true),
            ("Cross-Site", true),
            ("", true),
            ("same-origin, cross-site", true),
        ] {
            let request = with(TestRequest::get(), &[("sec-fetch-site", value)]);
            assert_eq!(is_cross_site(&request), expected, "{value}");
        }
        assert!(!is_cross_site(&with(TestRequest::get(), &[])));
        let twice = [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
        assert!(is_cross_site(&with(TestRequest::get(), &twice)));
    }

    #[test]
    fn a_tab_comes_back_once_and_a_frame_or_a_form_not_at_all() {
        let comes = |request: TestRequest, headers: &[(&'static str, &str)]| {
            let request = request.uri("/a?b=c").insert_header(("host", "app.example"));
            can_come_back(&with(request, headers), &site())
        };
        assert!(
            comes(TestRequest::get(), &[]) && comes(TestRequest::get(), &[("sec-fetch-dest", "document")])
        );
        for headers in [
            ("sec-fetch-dest", "iframe"),
            ("sec-fetch-dest", "image"),
            ("upgrade", "websocket"),
            ("referer", "https://app.example/a?b=c"),
        ] {
            assert!(!comes(TestRequest::get(), &[headers]), "{headers:?}");
        }
        assert!(!comes(TestRequest::post(), &[]));
        for referer in ["https://app.example/", "https://app.example/a", "https://evil.example/a?b=c"] {
            assert!(comes(TestRequest::get(), &[("referer", referer)]), "{referer}");
        }
    }
}
