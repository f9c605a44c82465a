//! Detects requests that another site can make a browser send, and refuses the dangerous ones (docs/design/http.md).

use crate::http::{
    Problem, Site,
    wire::{
        credentials::is_navigation,
        request::{Header, Request, text},
    },
};

/// Whether the forgery rule applies. It applies to every method except GET, HEAD and OPTIONS, and to every request that asks for
/// another protocol, whatever its method. A WebSocket is opened by a GET, the browser sends cookies with it, and the browser's
/// rules for requests to other origins (CORS, cross-origin resource sharing) don't apply. Without the forgery rule another site
/// could send and read messages as the user.
pub(crate) fn is_unsafe(request: &impl Request) -> bool {
    !["GET", "HEAD", "OPTIONS"].contains(&request.method()) || is_upgrade(request)
}

/// Whether a request asks for another protocol: `Upgrade` with any value (RFC 9110, 7.8), `Connection: upgrade`, or a header that
/// only a WebSocket handshake has (a proxy may have removed the first two). Extended CONNECT (RFC 8441) has its own method. Some
/// proxies send `Connection: upgrade` with every request. So this header alone does not count if the request is a navigation,
/// because a navigation is never a handshake.
fn is_upgrade(request: &impl Request) -> bool {
    let connection_says_so = || {
        request.values(Header::Connection).any(|line| {
            let mut options = line.split(|byte| *byte == b',');
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        })
    };
    request.has(Header::Upgrade)
        || request.has(Header::SecWebsocketKey)
        || request.value(Header::SecFetchMode).is_some_and(|mode| mode == b"websocket")
        || connection_says_so() && !is_navigation(request)
}

/// Whether another site caused this request. `same-site` does not count as another site, because with `cookie_domain` the pages of
/// one application are on several hosts. An unknown value counts as another site.
pub(crate) fn is_cross_site(request: &impl Request) -> bool {
    request.values(Header::SecFetchSite).any(|site| !matches!(site, b"same-origin" | b"same-site" | b"none"))
}

/// Whether a cross-site request can be answered with a page that loads again by itself, so that the next request is same-origin.
/// This is possible for a navigation of a whole tab. If the `Referer` equals the requested address, the request comes from such a
/// page already. If it is cross-site nevertheless, a proxy overwrites the header and further pages would repeat without end.
pub(crate) fn can_reload(request: &impl Request, site: &Site) -> bool {
    let whole_tab = request.text(Header::SecFetchDest).is_none_or(|dest| dest == "document");
    let from_itself = request.text(Header::Referer).is_some_and(|referer| {
        referer.strip_prefix(site.origin_of(request)) == Some(request.target().unwrap_or("/"))
    });
    whole_tab && !from_itself && !is_unsafe(request)
}

impl Site {
    /// Whether `origin` is that of this server which the request names. A page on another of its hosts is another site's.
    fn is_of(&self, request: &impl Request, origin: &str) -> bool {
        origin.eq_ignore_ascii_case(self.origin_of(request))
    }

    /// Refuses an unsafe request that another site may have caused. Called only for requests without an `Authorization` header.
    pub(crate) fn refuse_forgery(&self, request: &impl Request, has_cookies: bool) -> Result<(), Problem> {
        if !is_unsafe(request) {
            return Ok(());
        }
        let mut origins = request.values(Header::Origin).peekable();
        let mut sites = request.values(Header::SecFetchSite).peekable();
        let ours = match (sites.peek().is_some(), origins.peek().is_some()) {
            (true, _) => sites.all(|site| matches!(site, b"same-origin" | b"none")),
            (false, true) => {
                origins.all(|origin| text(origin).is_some_and(|origin| self.is_of(request, origin)))
            }
            (false, false) => !has_cookies,
        };
        if ours { Ok(()) } else { Err(Problem::foreign_origin()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::request::sample::Sample;

    fn site() -> Site {
        Site::public("https://app.example/")
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
            for request in [Sample::post(), Sample::get().header("upgrade", "websocket")] {
                let refused = site().refuse_forgery(&request.headers(headers), cookies).is_err();
                assert_eq!(refused, expected, "{headers:?} {cookies}");
            }
        }
    }

    #[test]
    fn a_page_on_another_host_of_the_server_is_another_site() {
        let site = Site::loopback(80, false);
        for (host, origin, refused) in [
            ("localhost:80", "http://localhost:80", false),
            ("127.0.0.1:80", "http://127.0.0.1:80", false),
            ("127.0.0.1:80", "http://localhost:80", true),
        ] {
            let request = Sample::post().header("host", host).header("origin", origin);
            assert_eq!(site.refuse_forgery(&request, true).is_err(), refused, "{host} {origin}");
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
            for request in [Sample::get(), Sample::new("OPTIONS")] {
                assert!(is_unsafe(&request.headers(headers)), "{headers:?}");
            }
        }
        for method in ["TRACE", "CONNECT", "PUT", "GE", "get"] {
            assert!(is_unsafe(&Sample::new(method)), "{method}");
        }
        for headers in [
            &[][..],
            &[("connection", "keep-alive")],
            &[("connection", "x-upgrade")],
            &[("accept", "upgrade")],
        ] {
            assert!(!is_unsafe(&Sample::get().headers(headers)), "{headers:?}");
        }
    }

    #[test]
    fn connection_upgrade_alone_does_not_make_a_navigation_an_upgrade() {
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
            assert_eq!(is_unsafe(&Sample::get().headers(headers)), expected, "{headers:?}");
        }
        assert!(is_unsafe(&Sample::post().headers(&[said, html])));
    }

    #[test]
    fn an_unknown_fetch_site_counts_as_another_site() {
        for (value, expected) in [
            ("same-origin", false),
            ("same-site", false),
            ("none", false),
            ("cross-site", true),
            ("Cross-Site", true),
            ("", true),
            ("same-origin, cross-site", true),
        ] {
            let request = Sample::get().header("sec-fetch-site", value);
            assert_eq!(is_cross_site(&request), expected, "{value}");
        }
        assert!(!is_cross_site(&Sample::get()));
        let twice = [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
        assert!(is_cross_site(&Sample::get().headers(&twice)));
    }

    #[test]
    fn a_tab_reloads_once_and_a_frame_or_a_form_does_not() {
        let comes = |request: Sample, headers: &[(&str, &str)]| {
            let request = request.uri("/a?b=c").header("host", "app.example");
            can_reload(&request.headers(headers), &site())
        };
        assert!(comes(Sample::get(), &[]) && comes(Sample::get(), &[("sec-fetch-dest", "document")]));
        for headers in [
            ("sec-fetch-dest", "iframe"),
            ("sec-fetch-dest", "image"),
            ("upgrade", "websocket"),
            ("referer", "https://app.example/a?b=c"),
        ] {
            assert!(!comes(Sample::get(), &[headers]), "{headers:?}");
        }
        assert!(!comes(Sample::post(), &[]));
        for referer in ["https://app.example/", "https://app.example/a", "https://evil.example/a?b=c"] {
            assert!(comes(Sample::get(), &[("referer", referer)]), "{referer}");
        }
    }
}
