//! Checks `public_url`: whether it agrees with the other settings, and whether the server behind it forwards the header `Host`.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::Request;

use super::Check;
use crate::{
    config::Settings,
    fetch::{Fetch, is_loopback},
};

/// Checks `public_url`, if it is set.
pub(super) async fn examine(settings: &Settings, fetch: &Fetch) -> Option<Check> {
    let url = settings.public_url.as_deref()?;
    if let Some(fault) = url_fault(url, settings) {
        return Some(Check::new("public_url", Err::<String, _>(format!("{url}: {fault}"))));
    }
    let request = Request::get(format!("{url}/auth/login")).body(Vec::new()).ok()?;
    let found = match fetch.send(request).await {
        Ok(answer) if answer.status().as_u16() == 421 => Err(format!(
            "{url}: the server refuses this address (421), because a proxy in front doesn't forward the header Host; \
             the server's log names the Host that it received; nginx needs \"proxy_set_header Host $host;\""
        )),
        Ok(answer) => Ok(format!("{url} answers with status {}", answer.status().as_u16())),
        // This is not a fault: the server may be stopped, or its address may be known only outside this network.
        Err(error) => Ok(format!("{url} can't be reached from this machine: {error}")),
    };
    Some(Check::new("public_url", found))
}

/// Returns why browsers can't reach the server at this URL, with the setting to change.
fn url_fault(url: &str, settings: &Settings) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, port) = match rest.rsplit_once(':').filter(|_| !rest.ends_with(']')) {
        Some((host, port)) => (host, port.parse().ok()),
        None => (rest, None),
    };
    let port: u16 = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
    if let Some(why) = host_fault(host) {
        return Some(format!("{why}; set public_url to the address that users enter in the browser"));
    }
    let (tls, proxies) = (settings.tls.is_some(), !settings.trusted_proxies.is_empty());
    if scheme == "http" && tls {
        return Some(
            "tls_cert is set, so the server accepts only TLS; change public_url so that it begins with https://".into(),
        );
    }
    if scheme == "https" && !tls && !proxies {
        return Some(
            "neither this server nor a proxy provides TLS; set tls_cert and tls_key, or add the address of the proxy \
             to trusted_proxies"
                .into(),
        );
    }
    let listens = settings.listen;
    let direct = listens.ip().is_loopback() && is_loopback(host) && !proxies;
    (direct && listens.port() != 0 && listens.port() != port).then(|| {
        format!(
            "the server listens on port {}, but public_url has port {port}; change one of them",
            listens.port()
        )
    })
}

/// Returns why a host name or address can't be the server's.
fn host_fault(host: &str) -> Option<String> {
    let unspecified = host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_unspecified())
        || host.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_unspecified());
    if unspecified {
        return Some(format!("{host} is an address to listen on; browsers can't connect to it"));
    }
    if host.starts_with('[') {
        return None;
    }
    let label =
        |label: &str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let good = host.len() <= 253 && host.split('.').all(label);
    if !good || (numeric && host.parse::<Ipv4Addr>().is_err()) {
        return Some(format!("{host} is not a valid host name"));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Layer;

    fn fault_of(text: &str) -> Option<String> {
        let layer = Layer::file(Path::new("bulla.toml"), text).unwrap();
        let settings = Settings::resolve(&[layer]).unwrap();
        url_fault(settings.public_url.as_deref().unwrap(), &settings)
    }

    #[test]
    fn a_public_url_that_no_browser_can_reach_is_a_fault() {
        let proxy = "\ntrusted_proxies = ['127.0.0.1']";
        for good in [
            format!("public_url = 'https://login.example.org'{proxy}"),
            format!("public_url = 'https://192.0.2.1:8443'{proxy}"),
            format!("public_url = 'https://[2001:db8::1]'{proxy}"),
            "public_url = 'https://login.example.org'\ntls_cert = 'c'\ntls_key = 'k'".into(),
            "public_url = 'http://localhost:8080'".into(),
            "public_url = 'http://[::1]:9000'\nlisten = '127.0.0.1:9000'".into(),
            format!("public_url = 'http://localhost:9000'{proxy}"),
        ] {
            assert_eq!(fault_of(&good), None, "{good}");
        }
        for (bad, says) in [
            (format!("public_url = 'https://login..example.org'{proxy}"), "not a valid host name"),
            (format!("public_url = 'https://-login.example.org'{proxy}"), "not a valid host name"),
            (format!("public_url = 'https://login-.example.org'{proxy}"), "not a valid host name"),
            (format!("public_url = 'https://256.1.1.1'{proxy}"), "not a valid host name"),
            (format!("public_url = 'https://{}.org'{proxy}", "a".repeat(64)), "not a valid host name"),
            (format!("public_url = 'https://0.0.0.0:8080'{proxy}"), "address to listen on"),
            (format!("public_url = 'https://[::]'{proxy}"), "address to listen on"),
            ("public_url = 'https://login.example.org'".into(), "provides TLS"),
            ("public_url = 'http://localhost:8080'\ntls_cert = 'c'\ntls_key = 'k'".into(), "https://"),
            ("public_url = 'http://localhost:9000'".into(), "listens on port 8080"),
        ] {
            assert!(fault_of(&bad).is_some_and(|fault| fault.contains(says)), "{bad}: {:?}", fault_of(&bad));
        }
    }
}
