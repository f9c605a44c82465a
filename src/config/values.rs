//! Reads the text of one setting as a value: numbers, choices, origins and networks.

use std::{fmt, str::FromStr, time::Duration};

use super::parse_duration;

pub(super) fn path(text: &str) -> Result<std::path::PathBuf, String> {
    if text.is_empty() { Err("must be a path".into()) } else { Ok(text.into()) }
}

pub(super) fn audit_keep(text: &str) -> Result<Duration, String> {
    let keep = parse_duration(text)?;
    // With a shorter time, rows would be deleted before an operator could read them.
    if keep < Duration::from_secs(3600) { Err("must be at least 1h".into()) } else { Ok(keep) }
}

pub(super) fn within<T: FromStr + PartialOrd + fmt::Display>(
    text: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|n| (&least..=&most).contains(&n))
        .ok_or_else(|| format!("must be a number from {least} to {most}"))
}

pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("must be {}", names.join(" or ")))
}

/// Parses an origin: scheme, host and port, nothing after. Returns it in the form that browsers use: lower case, without the
/// scheme's default port.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/').to_ascii_lowercase();
    let must = || "must be an origin, for example https://login.example.org".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(must)?;
    let own_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return Err(must()),
    };
    let (host, port) = match rest.rsplit_once(':').filter(|_| !rest.ends_with(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    let named = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(plain),
    };
    match port.map(str::parse::<u16>) {
        _ if !named => Err(must()),
        None => Ok(text),
        Some(Ok(port)) if port == own_port => Ok(format!("{scheme}://{host}")),
        Some(Ok(port)) if port > 0 => Ok(format!("{scheme}://{host}:{port}")),
        Some(_) => Err(must()),
    }
}

pub(super) fn network(text: &str) -> Result<ipnet::IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "must be addresses or networks, for example 10.0.0.0/8".into())
}

pub(super) fn is_local(url: &str) -> bool {
    let host = url.split_once("://").map_or("", |(_, host)| host);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || name == "[::1]"
        || host == "[::1]"
}
