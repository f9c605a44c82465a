//! Login on a provider's pages: sends the browser there, and handles its return.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::{
    http::{
        Bulla, Problem,
        actix::add_cookies,
        bulla::Shared,
        guard::login_cookies::login_id,
        routes::{body, login::Return},
        wire::{
            answer::Answer,
            cookies::{CookieJar, CookieTokens, SetCookies},
        },
    },
    identity::openid::Provider,
    login::openid::{Intent, Pending, ProviderLogin, Returned, same},
    problem::known,
};

/// `GET /auth/provider/{name}`: sends a browser to the provider's pages.
pub(crate) async fn start(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    name: web::Path<String>,
    query: web::Query<Return>,
) -> Result<HttpResponse, Problem> {
    let shared = &bulla.0;
    let provider = shared.logins().providers().named(&name).ok_or_else(Problem::not_found)?;
    let rd = query.rd(shared);
    let intent = match query.is_again() {
        true => Intent::LogInAgain(shared.presented_user(&request).await?),
        false => Intent::LogIn,
    };
    match shared.send_to(&request, provider, &rd, intent).await {
        Ok((url, cookies)) => {
            let mut response = body::see_other(&url);
            add_cookies(response.headers_mut(), &cookies);
            Ok(response)
        }
        Err(problem) => Ok(shared.login_page_with_error(provider, &problem, &rd)),
    }
}

/// `GET /auth/provider/{name}/callback`: the browser comes back from the provider. This is a cross-site navigation, but it still
/// gets cookies.
pub(crate) async fn callback(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    name: web::Path<String>,
    query: web::Query<Returned>,
) -> Result<HttpResponse, Problem> {
    let shared = &bulla.0;
    let logins = shared.logins();
    let provider = logins.providers().named(&name).ok_or_else(Problem::not_found)?;
    let cookie_tokens = shared.cookies.read(&request).unwrap_or_default();
    // Only the browser that was sent to the provider has the cookie with this state. A browser that opens another person's link
    // does not.
    let flow = match cookie_tokens.login(&query.state).and_then(|token| logins.open_pending(token)) {
        Some(Pending::Provider(flow)) if flow.provider == *name && same(&flow.state, &query.state) => flow,
        Some(Pending::Finished { provider, state, rd })
            if provider == *name
                && same(&state, &query.state)
                && shared.is_signed_in(&cookie_tokens).await? =>
        {
            return Ok(body::see_other(&shared.pages.or_account(&rd)));
        }
        _ => return Ok(shared.login_page_with_error(provider, &Problem::unauthorized(), "")),
    };
    let turn = logins.callbacks().wait_for_turn(&flow.state).await;
    // Another request of this browser has finished the login; its answer has the cookies. If this request has no session, it was
    // sent before that answer arrived, or the answer was lost.
    let sent_before = turn.waited || cookie_tokens.refresh.is_none();
    if logins.is_finished(&flow).await? {
        return Ok(shared.already_finished(&flow, sent_before));
    }
    let requester = shared.site.requester(&request);
    let done = async {
        let callback = shared.callback_url(&request, provider);
        let proven = logins.redeem(&requester, provider, &flow, &query, &callback).await?;
        let Some(proven) = proven else { return Ok(None) };
        let response = match &flow.link {
            Some(sid) => {
                let refresh = cookie_tokens.refresh.ok_or_else(Problem::unauthorized)?;
                logins.link(&requester, provider, &proven, refresh, sid).await?;
                body::see_other(&shared.pages.at("/account"))
            }
            None => {
                let issued =
                    logins.by_provider(&requester, provider, &proven, &flow, cookie_tokens.refresh).await?;
                shared.with_cookies(body::see_other(&shared.pages.or_account(&flow.rd)), &issued)
            }
        };
        Ok(Some(response))
    };
    let done = match logins.callbacks().refusal(request.query_string()) {
        Some(problem) => Err(problem),
        None => done.await,
    };
    if let Err(problem) = &done {
        logins.callbacks().refused(request.query_string(), problem);
    }
    match done {
        Ok(None) => Ok(shared.already_finished(&flow, sent_before)),
        Ok(Some(mut response)) => {
            logins.note_finished(&flow).await;
            add_cookies(response.headers_mut(), &shared.cookies_at_end(&request, &flow));
            Ok(response)
        }
        // The person pressed "Cancel" at the provider. This is not an error, and nothing is linked.
        Err(_) if flow.link.is_some() && query.is_cancelled() => {
            Ok(body::see_other(&shared.pages.or_account(&flow.rd)))
        }
        Err(problem) if flow.link.is_some() && !problem.asks_for_a_login() => {
            Ok(Answer::problem_page(&problem, shared.pages.error(&problem)).into())
        }
        Err(problem) => Ok(shared.login_page_with_error(provider, &problem, &flow.rd)),
    }
}

impl Shared {
    /// The address at the provider, and the cookie of this login.
    pub(crate) async fn send_to(
        &self,
        request: &HttpRequest,
        provider: &Provider,
        rd: &str,
        intent: Intent,
    ) -> Result<(String, SetCookies), Problem> {
        let started =
            self.logins().start(provider, &self.callback_url(request, provider), rd, intent).await?;
        let mut cookies = SetCookies::default();
        self.keep(request, &mut cookies, &started.state, started.pending)?;
        Ok((started.url, cookies))
    }

    /// The cookies at the end of a login. The login's cookie is replaced by one that records that this browser has finished it.
    fn cookies_at_end(&self, request: &HttpRequest, flow: &ProviderLogin) -> SetCookies {
        let mut cookies = SetCookies::default();
        if self.keep(request, &mut cookies, &flow.state, flow.finished()).is_err() {
            CookieJar::clear_login(&mut cookies, &login_id(&flow.state));
        }
        cookies
    }

    /// Whether the refresh cookie belongs to a live session. Renews nothing.
    async fn is_signed_in(&self, cookie_tokens: &CookieTokens<'_>) -> Result<bool, Problem> {
        match cookie_tokens.refresh {
            Some(refresh) => Ok(known(self.sessions().identify(refresh).await)?.flatten().is_some()),
            None => Ok(false),
        }
    }

    fn callback_url(&self, request: &HttpRequest, provider: &Provider) -> String {
        callback_url(self.site.origin_of(request), self.pages.prefix(), &provider.settings().name)
    }

    /// The user whose session the request presents. `None` if it presents none.
    async fn presented_user(&self, request: &HttpRequest) -> Result<Option<String>, Problem> {
        let Some(refresh) = self.cookie_tokens(request)?.unwrap_or_default().refresh else { return Ok(None) };
        let row = known(self.sessions().identify(refresh).await)?.flatten();
        Ok(row.map(|row| row.user_id.to_string()))
    }
}

/// The address to which a provider sends people back. It must be registered at the provider exactly in this form.
pub(crate) fn callback_url(origin: &str, prefix: &str, provider: &str) -> String {
    format!("{origin}{prefix}/provider/{provider}/callback")
}
