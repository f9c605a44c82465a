//! Selects the audience of a token from `audience` (RFC 8693, section 2.1) and `resource` (RFC 8707) in the request. The audience
//! must be registered for the client.

use crate::{
    ids::Audience,
    oauth::{Form, Refusal},
    store::ClientRow,
};

/// The audience that a request names; `None` if it names none. The server itself is the empty audience and is named by its own
/// address. A token has one audience, so several names must mean the same one.
///
/// A `resource` is the absolute URL (http or https) of a resource server. Its host is the name of the audience.
pub(super) fn requested(client: &ClientRow, form: &Form, issuer: &str) -> Result<Option<Audience>, Refusal> {
    let audiences = form.audiences.iter().map(|name| (name.expose() == issuer, Some(name.expose())));
    let resources = form.resources.iter().map(|address| {
        let (origin, host) = origin(address.expose()).unzip();
        (origin.is_some_and(|origin| origin.eq_ignore_ascii_case(issuer)), host)
    });
    let mut asked = None;
    for (is_own, name) in audiences.chain(resources) {
        let registered = || {
            let known = client.audiences.iter().filter(|known| **known != Audience::own());
            let named =
                |known: &&Audience| name.is_some_and(|name| name.eq_ignore_ascii_case(known.as_str()));
            known.clone().find(named).cloned()
        };
        let audience = if is_own { Some(Audience::own()) } else { registered() };
        let audience = audience.ok_or(Refusal::Target)?;
        if asked.replace(audience.clone()).is_some_and(|before| before != audience) {
            return Err(Refusal::Target);
        }
    }
    Ok(asked)
}

/// The audience of a new token. `granted` is the audience of the person's sign-in, if it had one; then `asked` must be the same.
pub(super) fn select(
    granted: Option<Audience>,
    asked: Option<Audience>,
    client: &ClientRow,
) -> Result<Audience, Refusal> {
    let audience = match (granted, asked) {
        (Some(granted), Some(asked)) if granted != asked => return Err(Refusal::Target),
        (Some(audience), _) | (None, Some(audience)) => audience,
        (None, None) => Audience::own(),
    };
    // The client may have lost the audience meanwhile.
    let holds = audience == Audience::own() || client.audiences.contains(&audience);
    if holds { Ok(audience) } else { Err(Refusal::Target) }
}

/// Splits an absolute URL without a fragment: scheme, host and port together, and the host alone.
fn origin(address: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    let plain = address.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\\@".contains(&byte));
    if !plain || !(scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")) {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, port) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
    let port = port.is_empty() && !rest[..end].ends_with(':') || port.parse::<u16>().is_ok();
    (port && !host.is_empty()).then(|| (&address[..scheme.len() + 3 + end], host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_without_origin_and_host_is_refused() {
        for (address, expected) in [
            ("https://billing.example/v1?x=y", Some(("https://billing.example", "billing.example"))),
            ("HTTP://billing:8080", Some(("HTTP://billing:8080", "billing"))),
            ("https://billing?x", Some(("https://billing", "billing"))),
            ("billing", None),
            ("https:billing", None),
            ("urn:billing", None),
            ("https://", None),
            ("https://:1/", None),
            ("https://billing:/", None),
            ("https://billing:x/", None),
            ("https://billing/#top", None),
            ("https://ada@billing/", None),
            ("https://evil\\@billing/", None),
            ("https://billing/ x", None),
            ("ftp://billing/", None),
        ] {
            assert_eq!(origin(address), expected, "{address}");
        }
    }
}
