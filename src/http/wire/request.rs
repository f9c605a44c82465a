//! The view of a request for code that does not use a web framework. actix-web and tower use different versions of the crate
//! `http`, so each adapter implements this trait for its own type of request.

use std::net::IpAddr;

/// Prevents implementations by other crates.
pub trait Sealed {}

/// The headers that Bulla reads. An adapter translates them to its constants, so that no name is parsed for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    Accept,
    Authorization,
    Connection,
    ContentType,
    Cookie,
    Forwarded,
    Host,
    Origin,
    Referer,
    SecFetchDest,
    SecFetchMode,
    SecFetchSite,
    SecWebsocketKey,
    Upgrade,
    UserAgent,
    XForwardedFor,
}

/// Defines `fn name`, which translates a [`Header`] to the constant of the given module of the crate `http`.
macro_rules! header_names {
    ($($module:ident)::+) => {
        fn name(header: $crate::http::wire::request::Header) -> $($module)::+::HeaderName {
            use $crate::http::wire::request::Header;
            use $($module)::+ as names;
            match header {
                Header::Accept => names::ACCEPT,
                Header::Authorization => names::AUTHORIZATION,
                Header::Connection => names::CONNECTION,
                Header::ContentType => names::CONTENT_TYPE,
                Header::Cookie => names::COOKIE,
                Header::Forwarded => names::FORWARDED,
                Header::Host => names::HOST,
                Header::Origin => names::ORIGIN,
                Header::Referer => names::REFERER,
                Header::SecFetchDest => names::HeaderName::from_static("sec-fetch-dest"),
                Header::SecFetchMode => names::HeaderName::from_static("sec-fetch-mode"),
                Header::SecFetchSite => names::HeaderName::from_static("sec-fetch-site"),
                Header::SecWebsocketKey => names::SEC_WEBSOCKET_KEY,
                Header::Upgrade => names::UPGRADE,
                Header::UserAgent => names::USER_AGENT,
                Header::XForwardedFor => names::HeaderName::from_static("x-forwarded-for"),
            }
        }
    };
}
pub(crate) use header_names;

/// A request, as Bulla reads it. Implemented for `HttpRequest` of actix-web and, with the feature `tower`, for `Parts` of the crate
/// `http`. An implementation only borrows; it neither allocates nor parses.
///
/// Only this crate can implement the trait, so that methods can be added later.
pub trait Request: Sealed {
    /// The method, such as `GET`. Methods are case-sensitive.
    #[doc(hidden)]
    fn method(&self) -> &str;

    /// The path without the query.
    #[doc(hidden)]
    fn path(&self) -> &str;

    /// The path with the query. `None` if the request has none (`CONNECT`).
    #[doc(hidden)]
    fn target(&self) -> Option<&str>;

    /// The host and port in the URI, if it has them (HTTP/2, or an absolute URI).
    #[doc(hidden)]
    fn authority(&self) -> Option<&str>;

    /// All values of a header, in the order of their lines.
    #[doc(hidden)]
    fn values(&self, header: Header) -> impl Iterator<Item = &[u8]>;

    /// The names of all headers, in lower case.
    #[doc(hidden)]
    fn header_names(&self) -> impl Iterator<Item = &str>;

    /// The address of the peer of the connection. `None` if the framework does not know it.
    #[doc(hidden)]
    fn peer(&self) -> Option<IpAddr>;

    /// The first value of a header.
    #[doc(hidden)]
    fn value(&self, header: Header) -> Option<&[u8]> {
        self.values(header).next()
    }

    /// Whether the request has this header, whatever its value.
    #[doc(hidden)]
    fn has(&self, header: Header) -> bool {
        self.value(header).is_some()
    }

    /// The first value of a header, if it is text.
    #[doc(hidden)]
    fn text(&self, header: Header) -> Option<&str> {
        self.value(header).and_then(text)
    }

    /// Whether the method is one that only reads (RFC 9110, section 9.2.1).
    #[doc(hidden)]
    fn has_safe_method(&self) -> bool {
        matches!(self.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }
}

/// The value of a header as text: printable ASCII, spaces and tabs.
pub(crate) fn text(value: &[u8]) -> Option<&str> {
    let printable = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    std::str::from_utf8(value).ok().filter(|_| printable)
}

#[cfg(test)]
pub(crate) mod sample {
    use super::*;

    /// A request for tests.
    #[derive(Clone, Debug)]
    pub(crate) struct Sample {
        method: String,
        authority: Option<String>,
        target: String,
        headers: Vec<(String, Vec<u8>)>,
        peer: Option<IpAddr>,
    }

    impl Sample {
        pub(crate) fn new(method: &str) -> Self {
            Self {
                method: method.into(),
                authority: None,
                target: "/".into(),
                headers: Vec::new(),
                peer: None,
            }
        }

        pub(crate) fn get() -> Self {
            Self::new("GET")
        }

        pub(crate) fn post() -> Self {
            Self::new("POST")
        }

        /// Sets the URI: `/path?query`, or `https://host/path?query`.
        pub(crate) fn uri(mut self, uri: &str) -> Self {
            let (authority, target) = match uri.split_once("://") {
                Some((_, rest)) => {
                    let at = rest.find('/').unwrap_or(rest.len());
                    (Some(rest[..at].to_owned()), &rest[at..])
                }
                None => (None, uri),
            };
            (self.authority, self.target) = (authority, target.to_owned());
            self
        }

        /// Adds a line of a header.
        pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
            self.headers.push((name.to_ascii_lowercase(), value.as_ref().to_owned()));
            self
        }

        pub(crate) fn headers(self, headers: &[(&str, &str)]) -> Self {
            headers.iter().fold(self, |request, (name, value)| request.header(name, value))
        }

        pub(crate) fn peer(mut self, peer: &str) -> Self {
            self.peer = Some(peer.parse().unwrap());
            self
        }
    }

    fn name(header: Header) -> &'static str {
        match header {
            Header::Accept => "accept",
            Header::Authorization => "authorization",
            Header::Connection => "connection",
            Header::ContentType => "content-type",
            Header::Cookie => "cookie",
            Header::Forwarded => "forwarded",
            Header::Host => "host",
            Header::Origin => "origin",
            Header::Referer => "referer",
            Header::SecFetchDest => "sec-fetch-dest",
            Header::SecFetchMode => "sec-fetch-mode",
            Header::SecFetchSite => "sec-fetch-site",
            Header::SecWebsocketKey => "sec-websocket-key",
            Header::Upgrade => "upgrade",
            Header::UserAgent => "user-agent",
            Header::XForwardedFor => "x-forwarded-for",
        }
    }

    impl Sealed for Sample {}

    impl Request for Sample {
        fn method(&self) -> &str {
            &self.method
        }

        fn path(&self) -> &str {
            self.target.split('?').next().unwrap_or_default()
        }

        fn target(&self) -> Option<&str> {
            Some(&self.target)
        }

        fn authority(&self) -> Option<&str> {
            self.authority.as_deref()
        }

        fn values(&self, header: Header) -> impl Iterator<Item = &[u8]> {
            let wanted = name(header);
            self.headers.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| &value[..])
        }

        fn header_names(&self) -> impl Iterator<Item = &str> {
            self.headers.iter().map(|(name, _)| &name[..])
        }

        fn peer(&self) -> Option<IpAddr> {
            self.peer
        }
    }
}
