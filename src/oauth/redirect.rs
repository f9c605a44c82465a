//! Redirect URIs: checks them at registration and compares them exactly with those in requests (RFC 9700, section 2.1).

/// The length of the longest redirect URI, in bytes.
const LONGEST: usize = 1000;

/// The reason why a redirect URI can't be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a redirect URI: {0}")]
pub(super) struct BadRedirect(&'static str);

/// Checks that a redirect URI may be registered: `https`, `http` on loopback, or an app's own scheme that contains a dot (RFC 8252,
/// section 7). Fragments, users and wildcards are refused.
pub(super) fn check(uri: &str) -> Result<(), BadRedirect> {
    if uri.len() > LONGEST || !uri.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#*".contains(&b)) {
        return Err(BadRedirect(
            "it must be a URI of at most 1000 characters, without a fragment or a wildcard",
        ));
    }
    let (scheme, rest) = uri
        .split_once(':')
        .ok_or(BadRedirect("it must be absolute, for example https://app.example.org/back"))?;
    match (scheme, rest.strip_prefix("//")) {
        ("https", Some(rest)) if has_plain_host(rest) => Ok(()),
        ("https", _) => Err(BadRedirect("it must have a host after https://, and no user name")),
        ("http", _) if at(&["http://localhost"], uri).or_else(|| at(&LOOPBACK, uri)).is_some() => Ok(()),
        ("http", _) => Err(BadRedirect("http is allowed only for 127.0.0.1, [::1] and localhost")),
        _ if is_own_scheme(scheme) && !rest.is_empty() => Ok(()),
        _ => Err(BadRedirect(
            "the scheme of an app must be a reversed domain name, for example org.example.app:/back",
        )),
    }
}

fn has_plain_host(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@')
}

/// An app's own scheme must contain a dot. This excludes `javascript`, `data` and all other schemes that a browser handles itself.
fn is_own_scheme(scheme: &str) -> bool {
    scheme.contains('.')
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

/// Whether a redirect URI is the registered one. On a loopback address the app chooses the port (RFC 8252, section 7.3).
pub(super) fn matches(registered: &str, presented: &str) -> bool {
    registered == presented
        || at(&LOOPBACK, registered).is_some_and(|own| at(&LOOPBACK, presented) == Some(own))
}

/// Loopback addresses as numbers. The name `localhost` is missing, because it can resolve to another machine.
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// The host and the path of a URI that has one of these hosts and any port.
fn at<'a>(hosts: &[&'static str], uri: &'a str) -> Option<(&'static str, &'a str)> {
    let (host, rest) = hosts.iter().find_map(|host| Some((*host, uri.strip_prefix(host)?)))?;
    let path = match rest.strip_prefix(':') {
        Some(port) => {
            let end = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
            port.get(..end).filter(|digits| digits.len() <= 5)?.parse::<u16>().ok()?;
            &port[end..]
        }
        None => rest,
    };
    (path.is_empty() || path.starts_with(['/', '?'])).then_some((host, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_redirect_uris_can_be_registered() {
        for good in [
            "https://app.example.org/back",
            "https://app.example.org:8443/back?x=1",
            "https://app.example.org",
            "http://127.0.0.1/back",
            "http://127.0.0.1:8123/back",
            "http://[::1]:0/",
            "http://localhost:3000/back",
            "org.example.app:/back",
            "org.example.app://back",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/back",
            "https:/back",
            "https://",
            "https://:443/",
            "https://user@app.example.org/",
            "https://app.example.org/#x",
            "https://*.example.org/",
            "http://app.example.org/",
            "http://127.0.0.1.evil/",
            "http://127.0.0.1@evil/",
            "http://localhost.evil/",
            "http://localhost@evil/",
            "http://localhost:80@evil/",
            "javascript:alert(1)",
            "data:text/html,x",
            "myapp:/back",
            "HTTPS://app.example.org/",
            "org.example.app:",
            "https://app.example.org/\r\nx",
            "https://app.example.org/ä",
            &format!("https://app.example.org/{}", "x".repeat(1000)),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_redirect_uri_matches_exactly_except_for_a_loopback_port() {
        for (registered, presented, same) in [
            ("https://a.example/back", "https://a.example/back", true),
            ("https://a.example/back", "https://a.example/back/", false),
            ("https://a.example/back", "https://a.example/back?x", false),
            ("https://a.example/back", "https://a.example:443/back", false),
            ("https://a.example/back", "https://a.example/../back", false),
            ("http://127.0.0.1/back", "http://127.0.0.1:49152/back", true),
            ("http://127.0.0.1:1/back", "http://127.0.0.1:49152/back", true),
            ("http://[::1]/back", "http://[::1]:9/back", true),
            ("http://127.0.0.1/back", "http://[::1]:9/back", false),
            ("http://127.0.0.1/back", "http://127.0.0.1:9/other", false),
            ("http://127.0.0.1/back", "http://127.0.0.1:9@evil/back", false),
            ("http://127.0.0.1/back", "http://127.0.0.1:99999/back", false),
            ("http://127.0.0.1/back", "https://127.0.0.1/back", false),
            ("http://localhost:3000/back", "http://localhost:3001/back", false),
        ] {
            assert_eq!(matches(registered, presented), same, "{registered} {presented}");
        }
    }
}
