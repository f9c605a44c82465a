//! Whether the cookies of a login come back: on plain HTTP some browsers drop them, and a login that shows its form
//! again without a word is a riddle.

use actix_web::HttpRequest;

use super::bulla::Inner;

/// What the page says. WebKit keeps `Secure` cookies over TLS alone, for `localhost` too.
pub(super) const COOKIES_LOST: &str = "Name and password are right, but your browser did not send the cookies of the login back. Safari and other WebKit \
     browsers keep no Secure cookies from http://localhost: use Chrome, Edge or Firefox here, or serve over https \
     (tls_cert and tls_key). Other browsers do this when cookies are blocked.";

impl Inner {
    /// Where a login by the form leads: over TLS to `rd`, on plain HTTP past the page that looks for the cookies. An app's
    /// authorization request is resumed as it is.
    pub(super) fn after_login(&self, rd: String) -> String {
        if self.site.is_tls() || rd.starts_with("/auth/authorize?") {
            return rd;
        }
        let rd: String = form_urlencoded::byte_serialize(rd.as_bytes()).collect();
        format!("/auth/login?signed-in&rd={rd}")
    }

    /// Whether a request has the cookies of a login; names that stand twice have come back as well.
    pub(super) fn has_come_back(&self, request: &HttpRequest) -> bool {
        self.cookies
            .read(request)
            .map_or(true, |carried| carried.access.is_some() || carried.refresh.is_some())
    }
}
