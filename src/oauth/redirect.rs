//! Where a client may have people sent back to: addresses registered letter by letter (RFC 9700, section 2.1).

/// Bytes of the longest address.
const LONGEST: usize = 1000;

/// An address that can't be registered: why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a redirect URI: {0}")]
pub(super) struct BadRedirect(&'static str);

/// Whether an address may be registered: `https`, `http` on loopback, or an app's own scheme with a dot in it (RFC 8252,
/// section 7); no fragment, no user, no wildcard.
pub(super) fn check(uri: &str) -> Result<(), BadRedirect> {
    if uri.len() > LONGEST || !uri.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#*".contains(&b)) {
        return Err(BadRedirect("at most 1000 characters of a URI, without a fragment or a wildcard"));
    }
    let (scheme, rest) =
        uri.split_once(':').ok_or(BadRedirect("it must be absolute, as https://app.example.org/back"))?;
    match (scheme, rest.strip_prefix("//")) {
        ("https", Some(rest)) if has_plain_host(rest) => Ok(()),
        ("https", _) => Err(BadRedirect("after https:// there must be a host, and no user")),
        ("http", _) if at(&["http://localhost"], uri).or_else(|| at(&LOOPBACK, uri)).is_some() => Ok(()),
        ("http", _) => Err(BadRedirect("plain http is for 127.0.0.1, [::1] and localhost only")),
        _ if is_own_scheme(scheme) && !rest.is_empty() => Ok(()),
        _ => Err(BadRedirect("an app's own scheme is a domain turned round, as org.example.app:/back")),
    }
}

fn has_plain_host(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@')
}

/// With a dot, and so neither `javascript` nor `data` nor any other scheme that a browser knows.
fn is_own_scheme(scheme: &str) -> bool {
    scheme.contains('.')
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

/// Whether an address is the registered one; at a loopback address the port is the app's choice (RFC 8252, section 7.3).
pub(super) fn matches(registered: &str, presented: &str) -> bool {
    registered == presented
        || at(&LOOPBACK, registered).is_some_and(|own| at(&LOOPBACK, presented) == Some(own))
}

/// Loopback by number: `localhost` may be another machine's name.
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// Host and path of an address at one of these hosts, whatever its port.
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
    fn what_may_be_registered() {
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
    fn an_address_matches_letter_by_letter_but_for_a_loopback_port() {
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
