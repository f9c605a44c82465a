//! The headers that protect an answer in a browser: no scripts, no framing, no storing.

use crate::http::Site;

/// Allows only styles, pictures and forms of this server: no scripts, no framing.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
                   form-action 'self'";

/// The protective headers of one installation.
#[derive(Clone, Debug)]
pub(crate) struct Protection {
    content_policy: String,
    is_tls: bool,
}

impl Protection {
    pub(crate) fn new(site: &Site) -> Self {
        Self { content_policy: content_policy(site), is_tls: site.is_tls() }
    }

    /// The headers for an answer. They replace headers of the same name.
    pub(crate) fn headers(&self, is_page: bool) -> impl Iterator<Item = (&'static str, &str)> {
        let tls = self.is_tls.then_some(("strict-transport-security", "max-age=31536000"));
        [
            ("content-security-policy", self.content_policy.as_str()),
            ("x-content-type-options", "nosniff"),
            // With `no-referrer`, the forms of a page would send `Origin: null`.
            ("referrer-policy", if is_page { "same-origin" } else { "no-referrer" }),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
        ]
        .into_iter()
        .chain(tls)
    }
}

/// The content security policy (CSP) of the pages. Browsers apply `form-action` also to the redirect after a form, so the policy
/// contains the origins to which a login may return. IPv6 addresses are left out, because a policy can't contain them (CSP 3,
/// section 2.3.1).
fn content_policy(site: &Site) -> String {
    let fits = |origin: &&str| origin.bytes().all(|b| b.is_ascii_graphic() && !b";,[".contains(&b));
    site.allowed().filter(fits).fold(String::from(CSP), |policy, origin| policy + " " + origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_lets_forms_redirect_to_the_origins_of_return_addresses() {
        let policy = |allowed: &[&str]| {
            let site = Site::public("https://app.example").allow(allowed.iter().map(|o| (*o).into()));
            content_policy(&site)
        };
        assert_eq!(policy(&[]), CSP);
        assert_eq!(
            policy(&["https://a.example", "https://b.example:8443/"]),
            format!("{CSP} https://a.example https://b.example:8443")
        );
        assert_eq!(policy(&["http://[::1]:1", "https://a; script-src *", "https://ä.example"]), CSP);
    }
}
