//! Detects a browser that does not return the cookies of a login. Some browsers drop them on plain HTTP. Without a message, the
//! login form would appear again for no visible reason.

use actix_web::HttpRequest;

use crate::http::bulla::Shared;

/// The message on the page. WebKit accepts `Secure` cookies over TLS only, even for `localhost`.
pub(crate) const COOKIES_LOST: &str = "Name and password are right, but your browser did not send the cookies of the \
    sign-in back. Safari and other WebKit browsers don't store Secure cookies from http://localhost: use Chrome, \
    Edge or Firefox, or serve over https (tls_cert and tls_key). Other browsers do this if cookies are blocked.";

impl Shared {
    /// The address after a login by the form: over TLS `rd`, on plain HTTP first the page that checks for the cookies. The
    /// authorization request of an app is resumed without this check.
    pub(crate) fn redirect_after_login(&self, rd: String) -> String {
        if self.site.is_tls() || rd.starts_with(&self.pages.at("/authorize?")) {
            return rd;
        }
        let rd: String = form_urlencoded::byte_serialize(rd.as_bytes()).collect();
        self.pages.at(&format!("/login?signed-in&rd={rd}"))
    }

    /// Whether a request has the cookies of a login. Ambiguous cookies count too.
    pub(crate) fn has_login_cookies(&self, request: &HttpRequest) -> bool {
        self.cookies
            .read(request)
            .map_or(true, |cookie_tokens| cookie_tokens.access.is_some() || cookie_tokens.refresh.is_some())
    }
}
