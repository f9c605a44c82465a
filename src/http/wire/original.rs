//! The request that a reverse proxy asks about: forward-auth. The proxy sends a request of its own, with the headers of the original
//! request and a description of it.

use std::net::IpAddr;

use super::request::{Header, Request, Sealed};

/// The headers in which proxies state the method: nginx by our configuration, then Caddy and Traefik.
const METHOD: [&str; 2] = ["x-original-method", "x-forwarded-method"];
/// The same for path and query.
const TARGET: [&str; 2] = ["x-original-uri", "x-forwarded-uri"];
/// The host of the original request; without it, the proxy has passed `Host` on.
const HOST: &str = "x-forwarded-host";

/// The original request of a client, as a trusted proxy describes it. It has the headers of the proxy's request.
pub(crate) struct Original<'a, R> {
    asked: &'a R,
    method: &'a str,
    target: &'a str,
    host: Option<&'a [u8]>,
}

/// Why a proxy's question can't be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unclear {
    /// The header that states the method or the address is missing.
    Missing,
    /// A header is there more than once, with different values, or is not printable.
    Ambiguous,
}

impl<'a, R: Request> Original<'a, R> {
    /// Reads the description. `value_of` finds all values of a header of the request.
    pub(crate) fn described_in(
        asked: &'a R,
        values_of: impl Fn(&'static str) -> Vec<&'a [u8]>,
    ) -> Result<Self, Unclear> {
        let one = |names: &[&'static str]| {
            let values: Vec<&[u8]> = names.iter().flat_map(|name| values_of(name)).collect();
            match values.split_first() {
                None => Ok(None),
                Some((first, rest)) if rest.iter().all(|other| other == first) => {
                    super::request::text(first).map(Some).ok_or(Unclear::Ambiguous)
                }
                Some(_) => Err(Unclear::Ambiguous),
            }
        };
        let (method, target) = (one(&METHOD)?, one(&TARGET)?);
        let (Some(method), Some(target)) = (method, target) else { return Err(Unclear::Missing) };
        Ok(Self { asked, method, target, host: one(&[HOST])?.map(str::as_bytes) })
    }

    /// The original request has the method of the proxy's request, and this target.
    pub(crate) fn with_target(asked: &'a R, method: &'a str, target: &'a str) -> Self {
        Self { asked, method, target, host: None }
    }
}

impl<R> Sealed for Original<'_, R> {}

impl<R: Request> Request for Original<'_, R> {
    fn method(&self) -> &str {
        self.method
    }

    fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }

    fn target(&self) -> Option<&str> {
        Some(self.target)
    }

    fn authority(&self) -> Option<&str> {
        // The URI of the proxy's request names this server and not the original host.
        None
    }

    fn values(&self, header: Header) -> impl Iterator<Item = &[u8]> {
        let host = self.host.filter(|_| header == Header::Host);
        let is_replaced = host.is_some();
        host.into_iter().chain(self.asked.values(header).filter(move |_| !is_replaced))
    }

    fn header_names(&self) -> impl Iterator<Item = &str> {
        self.asked.header_names()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.asked.peer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::request::sample::Sample;

    fn described<'a>(
        asked: &'a Sample,
        headers: &'a [(&'a str, &'a str)],
    ) -> Result<Original<'a, Sample>, Unclear> {
        Original::described_in(asked, |name| {
            headers.iter().filter(|(other, _)| *other == name).map(|(_, value)| value.as_bytes()).collect()
        })
    }

    #[test]
    fn the_original_request_has_the_described_method_address_and_host() {
        let asked =
            Sample::get().uri("/auth/verify").header("host", "127.0.0.1").header("origin", "https://a");
        for (method, uri) in
            [("x-original-method", "x-original-uri"), ("x-forwarded-method", "x-forwarded-uri")]
        {
            let headers = [(method, "POST"), (uri, "/a?b=c"), ("x-forwarded-host", "app.example")];
            let original = described(&asked, &headers).ok().unwrap();
            assert_eq!((original.method(), original.path()), ("POST", "/a"));
            assert_eq!(original.target(), Some("/a?b=c"));
            assert_eq!(original.values(Header::Host).collect::<Vec<_>>(), [b"app.example"]);
            assert_eq!(original.value(Header::Origin), Some(&b"https://a"[..]));
        }
        let headers = [("x-original-method", "GET"), ("x-original-uri", "/")];
        assert_eq!(described(&asked, &headers).ok().unwrap().value(Header::Host), Some(&b"127.0.0.1"[..]));
    }

    #[test]
    fn a_description_that_is_missing_or_contradicts_itself_is_unclear() {
        let asked = Sample::get();
        let (method, uri) = (("x-original-method", "GET"), ("x-original-uri", "/"));
        for (headers, unclear) in [
            (&[method][..], Unclear::Missing),
            (&[uri], Unclear::Missing),
            (&[method, uri, ("x-forwarded-method", "POST")], Unclear::Ambiguous),
            (&[method, uri, uri, ("x-forwarded-uri", "/b")], Unclear::Ambiguous),
            (&[method, ("x-original-uri", "/\u{7f}")], Unclear::Ambiguous),
        ] {
            assert_eq!(described(&asked, headers).err(), Some(unclear), "{headers:?}");
        }
    }
}
