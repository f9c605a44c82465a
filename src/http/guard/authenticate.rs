//! Authenticates a request by trying the steps of docs/design/sessions.md in order until one succeeds.

use crate::{
    http::{
        Problem,
        bulla::Shared,
        wire::{
            cookies::{Ambiguous, CookieTokens, SetCookies},
            credentials::{self, Authorization},
            forgery,
            request::Request,
            request_log,
        },
    },
    login::is_jws,
    session::{Denied, Issued, Machine, Principal, Renewed},
    store::Transport,
};

/// An authenticated request, and the cookies to send with its answer.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) principal: Principal,
    /// The `Set-Cookie` lines; can be empty.
    pub(crate) cookies: SetCookies,
}

impl Shared {
    /// Tries step 1, the access token, without I/O. After an error, [`Self::authenticate_request`] continues. The error tells
    /// whether the token was already opened, because each token is opened and counted only once.
    pub(crate) fn authenticate_access_token(
        &self,
        request: &impl Request,
    ) -> Result<Principal, Option<Denied>> {
        // The forgery rule comes before the tokens, and `authenticate_request` applies it.
        if forgery::is_unsafe(request) {
            return Err(None);
        }
        match self.schemes.read(request) {
            Ok(Authorization::Absent) => {}
            // An ID token is for a later step, so it is not a failure of step 1.
            Ok(Authorization::Bearer(token)) if !is_jws(token) => {
                return self.sessions().authenticate(token).map_err(Some);
            }
            _ => return Err(None),
        }
        let access =
            self.cookies.read(request).ok().and_then(|cookie_tokens| cookie_tokens.access).ok_or(None)?;
        self.sessions().authenticate(access).map_err(Some)
    }

    /// The service token of a machine, if the request has a valid one. Does no I/O. Browsers never send a service token.
    pub(crate) fn machine(&self, request: &impl Request) -> Option<Machine> {
        let Ok(Authorization::Bearer(token)) = self.schemes.read(request) else { return None };
        self.sessions().authenticate_service(token).ok()
    }

    /// Tries all steps. `tried` is the result of step 1 if it has been tried.
    pub(crate) async fn authenticate_request(
        &self,
        request: &impl Request,
        tried: Option<Denied>,
    ) -> Result<Authenticated, Problem> {
        match self.schemes.read(request)? {
            Authorization::Bearer(token) if is_jws(token) => self.by_id_token(request, token).await,
            Authorization::Bearer(token) => Ok(without_cookies(self.open(token, tried)?)),
            Authorization::Basic { name, password } if !credentials::from_browser(request) => {
                let issued = self
                    .logins()
                    .by_password(&self.site.requester(request), &name, &password, Transport::Basic, None)
                    .await?;
                let mut cookies = SetCookies::default();
                self.set_session_cookies(&mut cookies, &issued);
                Ok(Authenticated { principal: issued.principal, cookies })
            }
            Authorization::Basic { .. } => Err(Problem::unauthorized()),
            Authorization::Absent => self.by_cookies(request, &self.cookie_tokens(request)??, tried).await,
        }
    }

    /// The tokens in the cookies of a request, if no other site caused it. A request with an `Authorization` header returns no
    /// tokens, because only that header counts. Such a request is not checked for forgery, because another site can't make a
    /// browser send this header.
    pub(crate) fn cookie_tokens<'a>(
        &self,
        request: &'a impl Request,
    ) -> Result<Result<CookieTokens<'a>, Ambiguous>, Problem> {
        if !matches!(self.schemes.read(request)?, Authorization::Absent) {
            return Ok(Ok(CookieTokens::default()));
        }
        let cookie_tokens = self.cookies.read(request);
        let has_cookies = cookie_tokens.as_ref().map_or(true, CookieTokens::any);
        self.site.refuse_forgery(request, has_cookies)?;
        Ok(cookie_tokens)
    }

    fn open(&self, access: &str, tried: Option<Denied>) -> Result<Principal, Denied> {
        tried.map_or_else(|| self.sessions().authenticate(access), Err)
    }

    async fn by_cookies(
        &self,
        request: &impl Request,
        cookie_tokens: &CookieTokens<'_>,
        tried: Option<Denied>,
    ) -> Result<Authenticated, Problem> {
        let denied = match cookie_tokens.access.map(|token| self.open(token, tried)) {
            Some(Ok(principal)) => return Ok(without_cookies(principal)),
            Some(Err(denied)) => denied,
            None => Denied::Session,
        };
        let Some(refresh) = cookie_tokens.refresh else { return Err(denied.into()) };
        let renewed = self.renew(request, refresh).await?;
        let mut cookies = SetCookies::default();
        self.set_renewed_cookies(&mut cookies, &renewed);
        Ok(Authenticated { principal: renewed.principal, cookies })
    }

    /// Step 2: renews by the refresh token. A request that another site caused uses no refresh token. A rotation would allow that
    /// site to cause rotations whose cookies the browser may not keep. An answer without a rotation would allow a stolen token to
    /// be used without a trace. A navigation is answered with a page that loads again by itself
    /// ([`ClientKind`](super::refusal::ClientKind)).
    pub(crate) async fn renew(&self, request: &impl Request, refresh: &str) -> Result<Renewed, Problem> {
        if forgery::is_cross_site(request) {
            return Err(Problem::cross_site());
        }
        Ok(self.sessions().renew(refresh, &self.site.device(request)).await?)
    }

    /// Sets the cookies of a session that has just begun. With transport `hybrid` the access token is not put into a cookie; with
    /// `body` neither token is.
    pub(crate) fn set_session_cookies(&self, cookies: &mut SetCookies, issued: &Issued) {
        request_log::speaks_for(|| issued.principal.id().to_string());
        let policy = &self.sessions().parts().policy;
        if matches!(issued.row.transport, Transport::Cookie | Transport::Basic) {
            self.cookies.set_access(cookies, issued.access.as_str(), policy.access_max_age);
        }
        if issued.row.transport != Transport::Body {
            let left = issued.row.ends_at().since(issued.row.rotated_at);
            self.cookies.set_refresh(cookies, issued.refresh.as_str(), policy.refresh_idle.min(left));
        }
    }

    /// The value of the header `Cookie` that a browser sends after a login.
    #[cfg(feature = "sqlite")]
    pub(crate) fn cookie_header(&self, issued: &Issued) -> String {
        let mut cookies = SetCookies::default();
        self.set_session_cookies(&mut cookies, issued);
        let pairs = cookies.lines().filter_map(|line| line.split(';').next());
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// Sets the cookies of a renewal. The refresh token came in a cookie, so the new tokens are sent in cookies.
    pub(crate) fn set_renewed_cookies(&self, cookies: &mut SetCookies, renewed: &Renewed) {
        request_log::speaks_for(|| renewed.principal.id().to_string());
        let policy = &self.sessions().parts().policy;
        if renewed.transport != Transport::Hybrid {
            self.cookies.set_access(cookies, renewed.access.as_str(), policy.access_max_age);
        }
        if let Some(refresh) = &renewed.refresh {
            self.cookies.set_refresh(cookies, refresh.as_str(), renewed.refresh_max_age);
        }
    }
}

#[cfg(not(feature = "openid"))]
impl Shared {
    /// Without the feature `openid` no provider is known, so no ID token is accepted.
    async fn by_id_token(&self, _: &impl Request, _: &str) -> Result<Authenticated, Problem> {
        Err(Problem::unauthorized())
    }
}

impl From<Ambiguous> for Problem {
    fn from(_: Ambiguous) -> Self {
        Self::unauthorized()
    }
}

fn without_cookies(principal: Principal) -> Authenticated {
    Authenticated { principal, cookies: SetCookies::default() }
}
