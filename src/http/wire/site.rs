//! The public origins of the server, the addresses to which a login may return, and the trusted proxies.

use std::net::IpAddr;

use ipnet::IpNet;

use super::address::ForwardedHeader;
use super::{
    address::{Address, Proxies},
    request::{Header, Request, text},
};
use crate::{login::Requester, store::Device};

/// The origins of this server, and the proxies that it trusts.
#[derive(Clone, Debug)]
pub struct Site {
    /// Such as `https://login.example.org`, without a slash at the end. The first one is shown to people.
    origins: Vec<String>,
    /// Further origins to which a login may return.
    allowed: Vec<String>,
    proxies: Proxies,
    rules: Vec<HostRule>,
}

/// A rule about one host, for forward-auth.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct HostRule {
    /// In lower case, without a port.
    pub host: String,
    /// Whether everybody is admitted.
    pub is_public: bool,
    /// The roles of which a person must have one. Empty: every person is admitted.
    pub roles: Vec<String>,
}

impl Site {
    /// A site with one public origin, such as `https://login.example.org`.
    pub fn public(origin: &str) -> Self {
        Self {
            origins: vec![origin.trim_end_matches('/').to_ascii_lowercase()],
            allowed: vec![],
            proxies: Proxies::default(),
            rules: Vec::new(),
        }
    }

    /// A site on loopback with this port: `http://localhost:PORT`. Also accepts `127.0.0.1` and `[::1]`.
    pub fn loopback(port: u16, tls: bool) -> Self {
        let scheme = if tls { "https" } else { "http" };
        let origins = ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{scheme}://{host}:{port}"));
        Self { origins: origins.into(), allowed: vec![], proxies: Proxies::default(), rules: Vec::new() }
    }

    /// Adds hosts at which the apps behind the gateway are reached, with the scheme and the port of the public origin.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn and_hosts<'a>(mut self, hosts: impl IntoIterator<Item = &'a str>) -> Self {
        let (scheme, own) = self.origin().split_once("://").unwrap_or_default();
        let port = own.rsplit_once(':').filter(|_| !own.ends_with(']')).map(|(_, port)| format!(":{port}"));
        let origin = |host: &str| format!("{scheme}://{host}{}", port.as_deref().unwrap_or_default());
        let added: Vec<String> = hosts.into_iter().map(origin).collect();
        for origin in added {
            if !self.origins.contains(&origin) {
                self.origins.push(origin);
            }
        }
        self
    }

    /// Checks that each origin consists of scheme, host and perhaps a port. A site with another text would refuse every request.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_origin = |origin: &&String| {
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let host = rest.unwrap_or_default();
            let (host, port) = match host.rsplit_once(':').filter(|_| !host.ends_with(']')) {
                Some((host, port)) => (host, port.parse::<u16>().is_ok_and(|port| port > 0)),
                None => (host, true),
            };
            let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let valid = match in_brackets {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => !host.is_empty() && host.bytes().all(is_host),
            };
            valid && port
        };
        let mut all = self.origins.iter().chain(&self.allowed);
        match all.find(|origin| !is_origin(origin)) {
            None => Ok(()),
            Some(bad) => Err(format!(
                "the site {bad:?} is not an origin: it must consist of scheme, host and perhaps a port, for example \
                 https://app.example.org or http://localhost:8080"
            )),
        }
    }

    /// Adds origins to which `rd` may return.
    #[must_use]
    pub fn allow(mut self, origins: impl IntoIterator<Item = String>) -> Self {
        self.allowed
            .extend(origins.into_iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()));
        self
    }

    /// Adds networks of proxies that are trusted to report the client's address in `X-Forwarded-For`: an address and the length of
    /// the prefix in bits. A length beyond that of the address means the whole address.
    #[must_use]
    pub fn trust(self, proxies: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        self.trust_networks(proxies.into_iter().map(|(ip, bits)| IpNet::new(ip, bits).unwrap_or(ip.into())))
    }

    #[doc(hidden)]
    #[must_use]
    pub fn trust_networks(mut self, proxies: impl IntoIterator<Item = IpNet>) -> Self {
        self.proxies.trust(proxies);
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn forwarded_header(mut self, header: ForwardedHeader) -> Self {
        self.proxies.read(header);
        self
    }

    /// The further origins to which `rd` may return.
    pub(crate) fn allowed(&self) -> impl Iterator<Item = &str> {
        self.allowed.iter().map(String::as_str)
    }

    /// The origin to show.
    pub fn origin(&self) -> &str {
        self.origins.first().map_or("", String::as_str)
    }

    /// The origin of this server that the request names. Links for this client use it.
    pub(crate) fn origin_of(&self, request: &impl Request) -> &str {
        self.named_by(request).unwrap_or(self.origin())
    }

    /// Whether the public origin uses TLS.
    pub fn is_tls(&self) -> bool {
        self.origin().starts_with("https://")
    }

    /// Whether a request is for this server: by `Host`, and by the host in the URI if there is one (HTTP/2, or an absolute URI).
    pub(crate) fn serves(&self, request: &impl Request) -> bool {
        self.named_by(request).is_some()
    }

    /// The origin of this server that `Host` and URI name.
    fn named_by(&self, request: &impl Request) -> Option<&str> {
        let host = request.value(Header::Host).map(|host| text(host).unwrap_or_default());
        let mut named = [host, request.authority()].into_iter().flatten();
        let ours = self.called(named.next()?)?;
        named.all(|host| self.called(host) == Some(ours)).then_some(ours)
    }

    /// The origin of this server that has this host. The default port of the scheme can be omitted.
    fn called(&self, host: &str) -> Option<&str> {
        let named = |origin: &&String| {
            let ours = origin.split_once("://").map_or("", |(_, host)| host);
            let port = if origin.starts_with("https:") { ":443" } else { ":80" };
            let without_port = host.strip_suffix(port).unwrap_or(host);
            host.eq_ignore_ascii_case(ours) || without_port.eq_ignore_ascii_case(ours)
        };
        self.origins.iter().find(named).map(String::as_str)
    }

    pub(crate) fn is_ours(&self, origin: &str) -> bool {
        self.origins.iter().any(|ours| origin.eq_ignore_ascii_case(ours))
    }

    /// The address to which a login may return: a path of this server or a URL of an allowed origin. Everything else becomes `/`.
    pub(crate) fn return_to(&self, rd: &str) -> String {
        let clean =
            rd.len() <= 2048 && rd.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>".contains(&byte));
        let path = rd.starts_with('/') && !rd.starts_with("//");
        let allowed = || {
            let end = rd.get(8..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(rd.len(), |at| at + 8);
            let origin = rd[..end].to_ascii_lowercase();
            rd.starts_with("http") && (self.is_ours(&origin) || self.allowed.contains(&origin))
        };
        if clean && (path || allowed()) { rd.into() } else { "/".into() }
    }

    /// Adds rules about the hosts whose apps a proxy protects by forward-auth.
    #[doc(hidden)]
    #[must_use]
    pub fn with_rules(mut self, rules: impl IntoIterator<Item = HostRule>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// The rule about the host that a request names.
    #[cfg(feature = "actix")]
    pub(crate) fn rule_for(&self, request: &impl Request) -> Option<&HostRule> {
        let origin = self.named_by(request)?;
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        self.rules.iter().find(|rule| rule.host == host)
    }

    /// The address at which a navigation renews its session, or logs in, and returns: on the host of the request, or on that of the
    /// public origin if all hosts share their cookies.
    #[cfg(feature = "actix")]
    pub(crate) fn continue_at(
        &self,
        request: &impl Request,
        cookies_are_shared: bool,
        prefix: &str,
    ) -> String {
        let origin = self.origin_of(request);
        let portal = if cookies_are_shared { self.origin() } else { origin };
        let target = request.target().unwrap_or("/");
        let back = if portal == origin { target.to_owned() } else { format!("{origin}{target}") };
        let back: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
        format!("{portal}{prefix}/continue?rd={back}")
    }

    /// Whether this address is that of a trusted proxy.
    #[cfg(feature = "actix")]
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.proxies.trusts(peer.to_canonical())
    }

    /// The client's address.
    pub(crate) fn address(&self, request: &impl Request) -> Address {
        self.proxies.address(request)
    }

    /// The address and the device of a request.
    pub(crate) fn requester(&self, request: &impl Request) -> Requester {
        Requester { ip: self.address(request).known(), device: self.device(request) }
    }

    /// The address and the agent, as a session stores them.
    pub(crate) fn device(&self, request: &impl Request) -> Device {
        let agent = request.value(Header::UserAgent).map(String::from_utf8_lossy);
        let user_agent = agent.unwrap_or_default().chars().filter(|c| !c.is_control()).take(255).collect();
        Device { user_agent, ip: self.address(request).to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::request::sample::Sample;

    fn site() -> Site {
        Site::public("https://app.example/").allow(["https://shop.example:8443".into()])
    }

    #[test]
    fn a_site_must_be_an_origin() {
        for good in [
            "https://a.example",
            "https://a.example/",
            "http://localhost:8080",
            "http://[::1]:80",
            "HTTPS://A",
        ] {
            assert_eq!(Site::public(good).check(), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "https://",
            "ftp://a",
            "https://a/b",
            "https://a:x",
            "https://a:0",
            "https://a b",
            "http://[::1",
        ] {
            let error = Site::public(bad).check().unwrap_err();
            assert!(error.contains("is not an origin"), "{bad}: {error}");
        }
        assert!(Site::loopback(80, false).allow(["nowhere".to_owned()]).check().is_err());
        assert_eq!(Site::loopback(80, true).check(), Ok(()));
    }

    #[test]
    fn a_login_returns_to_our_own_pages_or_an_allowed_origin_only() {
        for good in [
            "/",
            "/a?b=c#d",
            "https://app.example/x",
            "https://shop.example:8443",
            "https://shop.example:8443/y?z",
        ] {
            assert_eq!(site().return_to(good), good);
        }
        for bad in [
            "",
            "//evil",
            "/\\evil",
            "\\\\evil",
            "https:evil",
            "https:/evil",
            "https://evil",
            "https://app.example@evil/",
            "https://app.example.evil/",
            "https://app.example:444/",
            "https://shop.example/",
            "javascript:alert(1)",
            "/a\r\nb",
            "/a\tb",
            "/\u{a0}",
            "https://xn--pp-8ia.example/",
            " /",
            "http://app.example/",
            "data:x",
            "/\"><script>",
        ] {
            assert_eq!(site().return_to(bad), "/", "{bad:?}");
        }
    }

    #[test]
    fn loopback_goes_by_three_names_at_its_port() {
        let site = Site::loopback(8080, false);
        for (host, served) in [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("LOCALHOST:8080", true),
            ("localhost", false),
            ("localhost:80", false),
            ("evil:8080", false),
        ] {
            assert_eq!(site.serves(&Sample::get().header("host", host)), served, "{host}");
        }
        let public = Site::public("https://app.example");
        let serves = |host: &str| public.serves(&Sample::get().header("host", host));
        assert!(serves("app.example") && serves("app.example:443") && !serves("app.example:80"));
    }

    #[test]
    fn a_host_in_the_uri_and_one_beside_it_must_both_be_ours() {
        let site = Site::public("https://app.example");
        let serves = |uri: &str, host: Option<&str>| {
            let request =
                host.into_iter().fold(Sample::get().uri(uri), |request, host| request.header("host", host));
            site.serves(&request)
        };
        assert!(serves("https://app.example/", Some("app.example")) && serves("https://app.example/", None));
        assert!(
            !serves("https://evil/", Some("app.example")) && !serves("https://app.example/", Some("evil"))
        );
        assert!(!serves("/", None) && !serves("https://evil/", None) && !serves("/", Some("")));
    }
}
