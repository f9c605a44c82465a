//! The heads of requests to the app and of its answers: the gateway removes the headers that concern one connection only (RFC 9110,
//! section 7.6.1), Bulla's cookies and every header by which a client could pass for the gateway, and adds its own.

use hyper::{
    HeaderMap, Method,
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
};

use super::upstream::UpstreamSettings;
use crate::http::wire::{
    address::Address,
    cookies::{cookies_of_app, is_own_cookie},
    identity::{self, Caller},
    lines::Lines,
};

/// The headers that concern one connection only, besides those that `Connection` names.
const OF_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the gateway knows about a request that it passes on.
pub(crate) struct Passed<'a> {
    pub(crate) upstream: &'a UpstreamSettings,
    pub(crate) caller: &'a Caller,
    pub(crate) address: Address,
    /// The origin of this server that the client used.
    pub(crate) origin: &'a str,
    pub(crate) token: Option<HeaderValue>,
    /// Whether Bulla read the `Authorization` header.
    pub(crate) authorization_is_bullas: bool,
}

/// The protocol to which a request asks to upgrade its connection, in lower case, if the upstream admits it.
pub(crate) fn upgrade<'a>(parts: &Parts, upstream: &'a UpstreamSettings) -> Option<&'a str> {
    let mut lines = parts.headers.get_all(header::UPGRADE).iter();
    let asked = lines.next()?.to_str().ok()?.trim().to_ascii_lowercase();
    let names_it = tokens(&parts.headers, &header::CONNECTION).any(|token| token == "upgrade");
    let has_body = parts.headers.contains_key(header::TRANSFER_ENCODING)
        || parts.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    let alone = lines.next().is_none() && names_it && parts.method == Method::GET && !has_body;
    upstream.upgrades.iter().map(String::as_str).find(|protocol| alone && *protocol == asked)
}

/// Whether the client waits for `100 Continue` before it sends the body.
pub(crate) fn expects_continue(parts: &Parts) -> bool {
    parts
        .headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Changes the head of a client's request into that of the request to the app.
pub(crate) fn to_app(parts: &mut Parts, passed: &Passed<'_>, upgrade: Option<&str>) {
    let headers = &mut parts.headers;
    // The gateway adds up to a dozen headers. Without this the map would grow twice.
    headers.reserve(12);
    let takes_trailers = tokens(headers, &header::TE).any(|token| token == "trailers");
    remove_of_connection(headers);
    remove(headers, |name| {
        identity::is_reserved(name.as_str())
            || *name == header::TE
            || *name == header::AUTHORIZATION && passed.authorization_is_bullas
    });
    keep_foreign_cookies(headers);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Ok(protocol) = HeaderValue::from_str(protocol) {
            headers.insert(header::UPGRADE, protocol);
        }
    } else if takes_trailers {
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if passed.upstream.host_of_upstream {
        headers.remove(header::HOST);
    }
    let mut lines = Lines::new();
    describe(&mut lines, passed);
    identity::add_headers(&mut lines, passed.upstream.preset, passed.caller);
    // The values are printable ASCII.
    for (name, value) in lines.finish() {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(token) = &passed.token {
        headers.insert(HeaderName::from_static(identity::TOKEN), token.clone());
    }
}

/// Describes the client's request: the address, the scheme and the host.
fn describe(lines: &mut Lines, passed: &Passed<'_>) {
    let (scheme, host) = passed.origin.split_once("://").unwrap_or(("https", passed.origin));
    let address = passed.address.to_string();
    let quotes = matches!(passed.address, Address::Known(ip) if ip.is_ipv6());
    let (before, after) = if quotes { ("for=\"[", "]\"") } else { ("for=", "") };
    let mut add = |name, parts: &[&str]| lines.add(name, |text| text.extend(parts.iter().copied()));
    add("x-forwarded-for", &[&address]);
    add("x-forwarded-proto", &[scheme]);
    add("x-forwarded-host", &[host]);
    add("forwarded", &[before, &address, after, ";host=\"", host, "\";proto=", scheme]);
}

/// Whether an answer states the length of its body in one way (RFC 9112, section 6.3). hyper undoes the coding `chunked` only.
pub(crate) fn states_one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
        (None, None, None, None) => true,
        (Some(length), None, None, None) => length.as_bytes().iter().all(u8::is_ascii_digit),
        (None, None, Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Changes the head of the app's answer into that of the answer to the client. An app can't set or clear Bulla's cookies.
pub(crate) fn to_client(headers: &mut HeaderMap, upgrade: Option<&str>) {
    remove_of_connection(headers);
    if let Some(protocol) = upgrade.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    if headers.get_all(header::SET_COOKIE).iter().any(|line| is_own_cookie(line.as_bytes())) {
        let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
        headers.remove(header::SET_COOKIE);
        for line in cookies.into_iter().filter(|line| !is_own_cookie(line.as_bytes())) {
            headers.append(header::SET_COOKIE, line);
        }
    }
}

/// Removes trailers that must not be fields of a message's head: an app may merge trailers into it (RFC 9110, section 6.5.1).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let of_head = [
        header::AUTHORIZATION,
        header::CONTENT_LENGTH,
        header::COOKIE,
        header::HOST,
        header::SET_COOKIE,
        header::TRANSFER_ENCODING,
    ];
    remove(trailers, |name| identity::is_reserved(name.as_str()) || of_head.contains(name));
}

fn remove_of_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
        .filter_map(|token| HeaderName::try_from(token).ok())
        // Without these the message would mean something else.
        .filter(|name| {
            ![header::HOST, header::CONTENT_LENGTH, header::COOKIE, header::SET_COOKIE].contains(name)
        })
        .collect();
    remove(headers, |name| OF_CONNECTION.contains(name) || named.contains(name));
}

/// Removes the headers whose names fulfil a condition. One pass over the names is cheaper than a search for each name, because most
/// requests have none of them.
fn remove(headers: &mut HeaderMap, condition: impl Fn(&HeaderName) -> bool) {
    let removed: Vec<HeaderName> = headers.keys().filter(|name| condition(name)).cloned().collect();
    for name in removed {
        headers.remove(name);
    }
}

/// The elements of a list header, in lower case.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + use<'a> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|token| token.trim().to_ascii_lowercase())
}

/// Removes Bulla's cookies. The cookies of the app stay as they are.
fn keep_foreign_cookies(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    headers.remove(header::COOKIE);
    for line in lines {
        let kept = cookies_of_app(line.as_bytes());
        if let (false, Ok(kept)) = (kept.is_empty(), HeaderValue::from_bytes(&kept)) {
            headers.append(header::COOKIE, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hyper::Request;

    use super::*;

    fn sent(headers: &[(&str, &str)], upgraded: bool) -> Vec<(String, String)> {
        let upstream = UpstreamSettings::of_url("http://127.0.0.1:1").unwrap();
        let mut request = Request::get("/a").header("host", "app.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let upgrade = upgrade(&parts, &upstream);
        assert_eq!(upgrade.is_some(), upgraded);
        let passed = Passed {
            upstream: &upstream,
            caller: &Caller::Unknown,
            address: Address::Known(IpAddr::from([203, 0, 113, 7])),
            origin: "https://app.example",
            token: None,
            authorization_is_bullas: true,
        };
        to_app(&mut parts, &passed, upgrade);
        let lines =
            parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        lines.filter(|(name, _)| !name.starts_with("remote-")).collect()
    }

    const DESCRIBED: [(&str, &str); 5] = [
        ("host", "app.example"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "app.example"),
        ("forwarded", "for=203.0.113.7;host=\"app.example\";proto=https"),
    ];

    fn expect(headers: &[(&str, &str)], kept: &[(&str, &str)]) {
        let mut expected: Vec<(String, String)> =
            DESCRIBED.iter().chain(kept).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut got = sent(headers, kept.iter().any(|(name, _)| *name == "upgrade"));
        expected.sort();
        got.sort();
        assert_eq!(got, expected, "{headers:?}");
    }

    #[test]
    fn headers_of_the_connection_are_removed_with_those_that_connection_names() {
        expect(
            &[("connection", "close, X-A"), ("x-a", "1"), ("x-b", "2"), ("keep-alive", "1")],
            &[("x-b", "2")],
        );
        expect(&[("te", "trailers, gzip")], &[("connection", "te"), ("te", "trailers")]);
        expect(&[("te", "gzip"), ("proxy-authorization", "x"), ("transfer-encoding", "chunked")], &[]);
        // A client can't remove what gives the message its meaning, nor what the gateway adds.
        expect(
            &[("connection", "host, remote-user, x-forwarded-for, cookie"), ("cookie", "a=b")],
            &[("cookie", "a=b")],
        );
    }

    #[test]
    fn only_an_admitted_protocol_is_asked_for() {
        let websocket = [("connection", "upgrade"), ("upgrade", "websocket")];
        expect(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")], &websocket);
        for refused in ["h2c", "TLS/1.0", "websocket, h2c", ""] {
            expect(&[("connection", "upgrade"), ("upgrade", refused)], &[]);
        }
        expect(&[("upgrade", "websocket")], &[]);
    }

    #[test]
    fn the_app_gets_its_own_cookies_only() {
        let own = "__Host-Http-bulla-access=t";
        expect(&[("cookie", own)], &[]);
        expect(&[("cookie", &format!("a=b; {own}; c=d"))], &[("cookie", "a=b; c=d")]);
        expect(&[("cookie", &format!("{own};__Secure-bulla-refresh = x;e"))], &[("cookie", "e")]);
        expect(&[("cookie", "__host-http-BULLA-login-abcdefgh=1; f=g")], &[("cookie", "f=g")]);
        expect(&[("authorization", "Bearer t")], &[]);
    }

    #[test]
    fn an_app_can_not_set_bullas_cookies() {
        let mut headers = HeaderMap::new();
        for line in ["a=b; Path=/", "__Host-Http-bulla-access=evil; Path=/", "c=d"] {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(line));
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, x-hop"));
        headers.insert("x-hop", HeaderValue::from_static("1"));
        to_client(&mut headers, None);
        let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=b; Path=/", "c=d"]);
        assert_eq!(headers.len(), 2);
    }
}
