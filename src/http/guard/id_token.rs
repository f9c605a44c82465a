//! Step 3 on any request: an ID token of a provider as `Authorization: Bearer`.

use crate::http::{
    Problem,
    bulla::Shared,
    guard::{authenticate::Authenticated, login_cookies::login_id},
    wire::{
        cookies::{CookieJar, SetCookies},
        request::Request,
    },
};

impl Shared {
    /// Begins a session by the ID token. Reads only one cookie of the request, that of the nonce, and clears it.
    pub(crate) async fn by_id_token(
        &self,
        request: &impl Request,
        id_token: &str,
    ) -> Result<Authenticated, Problem> {
        let cookie_tokens = self.cookies.read(request).unwrap_or_default();
        let requester = self.site.requester(request);
        let (issued, nonce) =
            self.logins().by_bearer(&requester, id_token, |nonce| cookie_tokens.login(nonce)).await?;
        let mut cookies = SetCookies::default();
        self.set_session_cookies(&mut cookies, &issued);
        CookieJar::clear_login(&mut cookies, &login_id(&nonce));
        Ok(Authenticated { principal: issued.principal, cookies })
    }
}
