//! Finds the client's address: that of the peer, or the one that a trusted proxy reports.

use std::{
    collections::HashSet,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use ipnet::IpNet;

use crate::{
    http::wire::request::{Header, Request},
    text_names::text_names,
};

/// The address from which a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Known(IpAddr),
    /// The peer is not known, or a trusted proxy reports a text that is not an address. The proxy's own address is not used
    /// instead, because then all its clients would count as one.
    Unknown,
}

impl Address {
    /// The address under which failures are counted, if it is known.
    pub(crate) fn known(self) -> Option<IpAddr> {
        match self {
            Self::Known(ip) => Some(ip),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(ip) => ip.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// The header in which the trusted proxies give the client's address. Only one header is read, because a proxy that writes one of
/// them forwards the other unchanged from the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, which nearly every proxy writes.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

text_names!(ForwardedHeader { XForwardedFor = "x-forwarded-for", Forwarded = "forwarded" });

/// The trusted proxies, and the header in which they report the client's address.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
    /// The proxies whose header could not be read. Each is logged once.
    warned: Mutex<HashSet<IpAddr>>,
}

impl Clone for Proxies {
    fn clone(&self) -> Self {
        Self { networks: self.networks.clone(), header: self.header, warned: Mutex::default() }
    }
}

impl Proxies {
    pub(crate) fn trust(&mut self, networks: impl IntoIterator<Item = IpNet>) {
        self.networks.extend(networks);
    }

    pub(crate) fn read(&mut self, header: ForwardedHeader) {
        self.header = header;
    }

    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(&ip))
    }

    /// The address of the peer. If the peer is a trusted proxy: the last address in its header that is not a trusted proxy, or the
    /// first address if all of them are.
    pub(crate) fn address(&self, request: &impl Request) -> Address {
        let Some(peer) = request.peer() else { return Address::Unknown };
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Address::Known(peer);
        }
        let Some(hops) = self.hops(request) else {
            self.warn_once(peer, "can't be parsed");
            return Address::Unknown;
        };
        // A request without the header comes from the proxy itself, for example as a health check.
        if hops.is_empty() && request.has(self.line()) {
            self.warn_once(peer, "contains no address");
            return Address::Unknown;
        }
        let mut client = peer;
        // Each proxy appends the address of its client. Entries to the left of an untrusted address were written by that client and
        // are not reliable.
        for hop in hops.iter().rev() {
            let Some(ip) = hop else {
                self.warn_once(peer, "contains no address");
                return Address::Unknown;
            };
            client = *ip;
            if !self.trusts(client) {
                break;
            }
        }
        Address::Known(client)
    }

    /// The addresses in the order of the header, with `None` for an entry that is not an address. `None` for the whole if a line
    /// can't be parsed.
    fn hops(&self, request: &impl Request) -> Option<Vec<Option<IpAddr>>> {
        let mut hops = Vec::new();
        for line in request.values(self.line()) {
            // An entry with bytes beyond ASCII is not an address, but the entries to its right still count.
            let line = String::from_utf8_lossy(line);
            match self.header {
                ForwardedHeader::XForwardedFor => {
                    let elements = line.split(',').map(str::trim).filter(|element| !element.is_empty());
                    hops.extend(elements.map(address));
                }
                ForwardedHeader::Forwarded => {
                    let elements = split(&line, ',')?;
                    hops.extend(
                        elements.iter().filter(|element| !element.trim().is_empty()).map(|e| node(e)),
                    );
                }
            }
        }
        Some(hops)
    }

    fn line(&self) -> Header {
        match self.header {
            ForwardedHeader::XForwardedFor => Header::XForwardedFor,
            ForwardedHeader::Forwarded => Header::Forwarded,
        }
    }

    fn warn_once(&self, proxy: IpAddr, what: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        // The bound is needed because `trusted_proxies` can be a large network.
        if warned.len() < 1000 && warned.insert(proxy) {
            let header = self.header.as_str();
            tracing::warn!(
                %proxy,
                "the header {header} from this trusted proxy {what}, so the addresses of its clients are unknown and \
                 failures are counted by account only; configure the proxy to write {header}, or set \
                 forwarded_header to the header that it writes"
            );
        }
    }
}

/// Parses an address in the forms that proxies write: with or without port, brackets, zone or quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    let (host, rest) = match text.strip_prefix('[') {
        Some(text) => text.split_once(']')?,
        None => (text, ""),
    };
    // The zone names an interface of the proxy (RFC 4007, section 11), so it is dropped.
    let host = host.split_once('%').map_or(host, |(host, zone)| if zone.is_empty() { "" } else { host });
    let port = rest.strip_prefix(':').is_none_or(|port| port.parse::<u16>().is_ok());
    let ip = host
        .parse::<std::net::Ipv6Addr>()
        .ok()
        .filter(|_| port && (rest.is_empty() || rest.starts_with(':')))?;
    Some(IpAddr::from(ip).to_canonical())
}

/// The address in the `for` parameter of one element of `Forwarded` (RFC 7239, section 4). `None` for `unknown` and for obfuscated
/// names such as `_hidden`.
fn node(element: &str) -> Option<IpAddr> {
    let pairs = split(element, ';')?;
    let mut values = pairs.iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    // A backslash before a character of an address has no meaning (RFC 9110, section 5.6.4).
    address(&value.replace('\\', ""))
}

/// Splits a text outside of quoted strings. `None` if a quoted string is not closed.
fn split(text: &str, at: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == at && !quoted => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::request::sample::Sample;

    fn said(header: ForwardedHeader, peer: &str, lines: &[&str]) -> String {
        let mut proxies = Proxies::default();
        proxies.trust(["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        proxies.read(header);
        let request = Sample::get().peer(peer);
        // The client sends the other header itself, and the proxy passes it on.
        let other = if header == ForwardedHeader::Forwarded { "x-forwarded-for" } else { "forwarded" };
        let request = request.header(other, "for=6.6.6.6");
        let request = lines.iter().fold(request, |r, line| r.header(header.as_str(), line));
        proxies.address(&request).to_string()
    }

    #[test]
    fn the_clients_address_is_read_only_from_trusted_proxies() {
        let said = |peer, lines: &[&str]| said(ForwardedHeader::XForwardedFor, peer, lines);
        assert_eq!(said("192.0.2.1", &["192.0.2.9"]), "192.0.2.1");
        assert_eq!(said("::ffff:192.0.2.1", &["192.0.2.9"]), "192.0.2.1");
        assert_eq!(said("10.0.0.1", &["6.6.6.6, 192.0.2.9, 10.0.0.2"]), "192.0.2.9");
        assert_eq!(said("10.0.0.1", &["6.6.6.6", "192.0.2.9"]), "192.0.2.9");
        assert_eq!(said("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "a client of our own network");
        assert_eq!(said("10.0.0.1", &[]), "10.0.0.1", "the proxy's own request");
    }

    #[test]
    fn the_forms_of_addresses_that_proxies_write_are_parsed() {
        for (line, ip) in [
            ("203.0.113.7:51812", "203.0.113.7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
            ("fe80::7%eth0", "fe80::7"),
            ("[fe80::7%25eth0]:80", "fe80::7"),
            ("\"203.0.113.7\"", "203.0.113.7"),
            ("\"[2001:db8::7]:443\"", "2001:db8::7"),
            ("203.0.113.7,", "203.0.113.7"),
            ("203.0.113.7, ,\t10.0.0.2 ,,", "203.0.113.7"),
            ("nonsense, 203.0.113.7", "203.0.113.7"),
            ("k\u{e4}se, 203.0.113.7", "203.0.113.7"),
            (", 203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(said(ForwardedHeader::XForwardedFor, "10.0.0.1", &[line]), ip, "{line}");
        }
    }

    #[test]
    fn an_entry_that_is_no_address_makes_the_clients_address_unknown() {
        for line in [
            "nonsense",
            "unknown",
            "_hidden",
            "203.0.113.7.1",
            "203.0.113.7:x",
            "203.0.113.7:99999",
            "[2001:db8::7",
            "[2001:db8::7]x",
            "[203.0.113.7]",
            "2001:db8::7%",
            "203.0.113.7, nonsense",
            "203.0.113.7, nonsense, 10.0.0.2",
            "203.0.113.7 198.51.100.1",
            "",
            ",",
            " , ,",
            "k\u{e4}se",
        ] {
            assert_eq!(said(ForwardedHeader::XForwardedFor, "10.0.0.1", &[line]), "unknown", "{line}");
        }
    }

    #[test]
    fn the_header_forwarded_is_read_if_the_setting_names_it() {
        for (line, ip) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("For=\"[2001:db8::7]:4711\";proto=https", "2001:db8::7"),
            ("by=10.0.0.9;for=203.0.113.7;host=\"a,b;for=6.6.6.6\"", "203.0.113.7"),
            ("for=6.6.6.6, for=203.0.113.7:80, for=10.0.0.2", "203.0.113.7"),
            ("for=\"203.0.113.7\\:80\",", "203.0.113.7"),
            ("for=unknown", "unknown"),
            ("for=_SEVKISEK", "unknown"),
            ("proto=https", "unknown"),
            ("for=203.0.113.7;for=203.0.113.8", "unknown"),
            ("for=\"203.0.113.7", "unknown"),
            ("203.0.113.7", "unknown"),
        ] {
            assert_eq!(said(ForwardedHeader::Forwarded, "10.0.0.1", &[line]), ip, "{line}");
        }
    }
}
