//! Login on a provider's pages: sends the browser there, and handles its return.

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web};
use serde::Deserialize;

use super::{
    Bulla,
    again::{Again, Errand},
    body,
    bulla::Inner,
    cookies::{Carried, CookieJar},
    guard::add_cookies,
    login::Return,
    login_cookies::login_id,
    pages,
    proof::proven_at,
    regret::{refused, spent, told},
    renewal::known,
    under_way::{Flow, UnderWay, same},
};
use crate::{
    http::Problem,
    identity::{
        Account, Charge,
        openid::{Freshness, NoUser, OpenIdError, Proven, Provider},
    },
    session::Present,
    store::{Proof, Transport, User},
};

/// `GET /auth/provider/{name}`: sends a browser to the provider's pages.
pub(super) async fn go(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    name: web::Path<String>,
    query: web::Query<Return>,
) -> Result<HttpResponse, Problem> {
    let inner = &bulla.0;
    let provider = inner.providers.named(&name).ok_or_else(Problem::not_found)?;
    let rd = query.rd(inner);
    let errand = match query.is_again() {
        true => Errand::Again(inner.who_is_here(&request).await?),
        false => Errand::LogIn,
    };
    match inner.send_to(&request, provider, &rd, errand).await {
        Ok((url, cookies)) => {
            let mut response = body::see_other(&url);
            add_cookies(response.headers_mut(), cookies);
            Ok(response)
        }
        Err(problem) => Ok(inner.sorry(provider, &problem, &rd)),
    }
}

/// The parameters with which a provider sends the browser back.
#[derive(Deserialize)]
pub(super) struct Returned {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    iss: Option<String>,
    error: Option<String>,
}

impl Returned {
    fn is_cancelled(&self) -> bool {
        self.error.as_deref() == Some("access_denied")
    }
}

/// `GET /auth/provider/{name}/callback`: the browser comes back from the provider. This is a cross-site navigation, but it still
/// gets cookies.
pub(super) async fn back(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    name: web::Path<String>,
    query: web::Query<Returned>,
) -> Result<HttpResponse, Problem> {
    let inner = &bulla.0;
    let provider = inner.providers.named(&name).ok_or_else(Problem::not_found)?;
    let carried = inner.cookies.read(&request).unwrap_or_default();
    // Only the browser that was sent to the provider has the cookie with this state. A browser that opens another person's link
    // does not.
    let flow = match carried.login(&query.state).and_then(|token| inner.open_under_way(token)) {
        Some(UnderWay::Provider(flow)) if flow.provider == *name && same(&flow.state, &query.state) => flow,
        Some(UnderWay::Finished { provider, state, rd })
            if provider == *name && same(&state, &query.state) && inner.is_signed_in(&carried).await? =>
        {
            return Ok(body::see_other(&rd));
        }
        _ => return Ok(inner.sorry(provider, &Problem::unauthorized(), "")),
    };
    let turn = inner.turns.take(&flow.state).await;
    // Another request of this browser has finished the login; its answer has the cookies. If this request has no session, it was
    // sent before that answer arrived, or the answer was lost.
    let sent_before = turn.waited || carried.refresh.is_none();
    if inner.is_finished(&flow).await? {
        return Ok(spent(&flow, sent_before));
    }
    let done = async {
        let Some(proven) = inner.proven(&request, provider, &flow, &query).await? else {
            return Ok(None);
        };
        let response = match &flow.link {
            Some(sid) => inner.link(&request, provider, &proven, sid).await,
            None => inner.begin_for(&request, provider, &proven, carried.refresh, &flow).await,
        };
        response.map(Some)
    };
    let done = match inner.turns.refusal(request.query_string()) {
        Some(problem) => Err(problem),
        None => done.await,
    };
    if let Err(problem) = &done {
        inner.turns.refused(request.query_string(), problem);
    }
    match done {
        Ok(None) => Ok(spent(&flow, sent_before)),
        Ok(Some(mut response)) => {
            inner.note_finished(&flow).await;
            add_cookies(response.headers_mut(), inner.ended(&request, &flow));
            Ok(response)
        }
        // The person pressed "Cancel" at the provider. This is not an error, and nothing is linked.
        Err(_) if flow.link.is_some() && query.is_cancelled() => Ok(body::see_other(flow.leads_to())),
        Err(problem) if flow.link.is_some() && !problem.asks_for_a_login() => {
            Ok(pages::answer(&mut problem.head(), pages::error(&problem)))
        }
        Err(problem) => Ok(inner.sorry(provider, &problem, &flow.rd)),
    }
}

impl Inner {
    /// The address at the provider, and the cookie of this login.
    pub(super) async fn send_to(
        &self,
        request: &HttpRequest,
        provider: &Provider,
        rd: &str,
        errand: Errand,
    ) -> Result<(String, HeaderMap), Problem> {
        let freshness = match errand {
            Errand::Again(_) => Freshness::Now,
            Errand::LogIn | Errand::Link(_) => Freshness::Any,
        };
        let since = self.sessions.parts().clock.now();
        let (link, again) = match errand {
            Errand::LogIn => (None, None),
            Errand::Link(sid) => (Some(sid), None),
            Errand::Again(user) => (None, Some(Again { user, since })),
        };
        let invitation = provider.invite(&self.way_back(request, provider), freshness).await;
        let invitation = invitation.map_err(|error| refused(provider, error))?;
        let flow = UnderWay::Provider(Flow {
            provider: provider.settings().name.clone(),
            state: invitation.state.to_string(),
            nonce: invitation.nonce.to_string(),
            verifier: invitation.verifier.to_string(),
            rd: rd.to_owned(),
            link,
            again,
        });
        let mut cookies = HeaderMap::new();
        self.keep(request, &mut cookies, &invitation.state, flow)?;
        Ok((invitation.url, cookies))
    }

    /// The cookies at the end of a login. The login's cookie is replaced by one that records that this browser has finished it.
    fn ended(&self, request: &HttpRequest, flow: &Flow) -> HeaderMap {
        let mut cookies = HeaderMap::new();
        if self.keep(request, &mut cookies, &flow.state, flow.finished()).is_err() {
            CookieJar::clear_login(&mut cookies, &login_id(&flow.state));
        }
        cookies
    }

    /// Whether the refresh cookie belongs to a live session. Renews nothing.
    async fn is_signed_in(&self, carried: &Carried<'_>) -> Result<bool, Problem> {
        match carried.refresh {
            Some(refresh) => Ok(known(self.sessions.identify(refresh).await)?.flatten().is_some()),
            None => Ok(false),
        }
    }

    fn way_back(&self, request: &HttpRequest, provider: &Provider) -> String {
        way_back(self.site.origin_of(request), &provider.settings().name)
    }

    /// Redeems the code with which the browser came back. `None` if the code is used up because another node has finished this
    /// login meanwhile.
    async fn proven(
        &self,
        request: &HttpRequest,
        provider: &Provider,
        flow: &Flow,
        returned: &Returned,
    ) -> Result<Option<Proven>, Problem> {
        // RFC 9207: an answer that names another issuer was mixed up with this provider's.
        let issuer = returned.iss.as_ref().is_none_or(|iss| provider.settings().issuers.contains(iss));
        if !issuer {
            return Err(Problem::unauthorized());
        }
        if let Some(error) = &returned.error {
            return Err(refused(provider, told(error)));
        }
        if returned.code.is_empty() {
            return Err(Problem::unauthorized());
        }
        let now = self.sessions.parts().clock.now();
        let charge = self.admit(Account::Provider(&provider.settings().name), request).await?;
        let redirect = self.way_back(request, provider);
        match provider.redeem(&returned.code, &flow.verifier, &flow.nonce, &redirect, now).await {
            Ok(proven) => {
                charge.succeeded();
                match self.spend(&flow.nonce).await {
                    Ok(()) => Ok(Some(proven)),
                    Err(_) if self.finishes(flow).await? => Ok(None),
                    Err(problem) => Err(problem),
                }
            }
            Err(OpenIdError::Refused("code")) if self.finishes(flow).await? => {
                charge.undecided();
                Ok(None)
            }
            Err(error) => Err(self.failed(request, provider, charge, error).await?),
        }
    }

    /// Counts and records a failed proof. Returns the problem to answer.
    pub(super) async fn failed(
        &self,
        request: &HttpRequest,
        provider: &Provider,
        charge: Charge<'_>,
        error: OpenIdError,
    ) -> Result<Problem, Problem> {
        match &error {
            OpenIdError::Refused(reason) => {
                charge.failed();
                let account = Account::Provider(&provider.settings().name);
                self.failed_attempt(account, request, reason).await?;
            }
            // No proof was found to be wrong.
            OpenIdError::Away(_) | OpenIdError::NoAccount => charge.undecided(),
        }
        Ok(refused(provider, error))
    }

    /// The user who has the identity.
    pub(super) async fn user_of(&self, provider: &Provider, proven: &Proven) -> Result<User, Problem> {
        self.providers.user(provider, proven).await.map_err(|none| match none {
            NoUser::OpenId(error) => refused(provider, error),
            NoUser::Store(error) => error.into(),
        })
    }

    async fn begin_for(
        &self,
        request: &HttpRequest,
        provider: &Provider,
        proven: &Proven,
        presented: Option<&str>,
        flow: &Flow,
    ) -> Result<HttpResponse, Problem> {
        let user = self.user_of(provider, proven).await?;
        let at = proven_at(proven, self.sessions.parts().clock.now());
        if let Some(again) = &flow.again {
            again.is_met_by(&user, at).map_err(Problem::not_again)?;
        }
        let proof = Proof { at, password_hash: None, identity: Some(proven.identity.clone()) };
        let device = self.site.device(request);
        let issued = self.sessions.begin_by(&user, proof, Transport::Cookie, device, presented).await?;
        Ok(self.with_cookies(body::see_other(flow.leads_to()), &issued))
    }

    /// The user whose session the request presents. `None` if it presents none.
    async fn who_is_here(&self, request: &HttpRequest) -> Result<Option<String>, Problem> {
        let Some(refresh) = self.carried(request)?.unwrap_or_default().refresh else { return Ok(None) };
        let row = known(self.sessions.identify(refresh).await)?.flatten();
        Ok(row.map(|row| row.user_id.to_string()))
    }

    /// Links the identity to the user of the session that asked for it. The returning browser must present that session again, and
    /// the proof of identity must still be recent. The write requires that the session is live.
    async fn link(
        &self,
        request: &HttpRequest,
        provider: &Provider,
        proven: &Proven,
        sid: &str,
    ) -> Result<HttpResponse, Problem> {
        let refresh = self.cookies.read(request)?.refresh.ok_or_else(Problem::unauthorized)?;
        let present = self.sessions.present(refresh, &self.site.device(request)).await?;
        let Present { row, now, .. } = present.ok_or_else(Problem::session_required)?;
        if row.sid.to_string() != sid {
            return Err(Problem::unauthorized());
        }
        if !self.is_recent(&row, now) {
            return Err(Problem::reauth_required());
        }
        self.providers.link(provider, proven, &row).await?;
        Ok(body::see_other("/auth/account"))
    }
}

/// The address to which a provider sends people back. It must be registered at the provider exactly in this form.
pub(crate) fn way_back(origin: &str, provider: &str) -> String {
    format!("{origin}/auth/provider/{provider}/callback")
}
