//! Step 3 of authentication: begins a session by name and password, or by an ID token.

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web};
use serde::Deserialize;

use super::{
    Bulla, attempts,
    body::{self, Kind},
    bulla::Inner,
    cookies::CookieJar,
    guard::add_cookies,
    login_cookies::login_id,
    pages,
    presented::Presented,
    signed_in::COOKIES_LOST,
};
use crate::{
    http::Problem,
    identity::Account,
    secret::SecretText,
    session::{Denied, Issued},
    store::{AuditEvent, Device, LoginError, Proof, ProvenAt, StoreError, Transport},
};

/// How often a password is checked again because its hash was replaced meanwhile.
const MOST_PROOFS: u32 = 3;

#[derive(Deserialize)]
pub(super) struct Login {
    username: Option<String>,
    password: Option<SecretText>,
    transport: Option<String>,
    #[serde(default)]
    rd: String,
    #[serde(flatten)]
    presented: Presented,
}

#[derive(Deserialize)]
pub(super) struct Return {
    #[serde(default)]
    rd: String,
    #[serde(rename = "signed-out")]
    signed_out: Option<String>,
    #[serde(rename = "signed-in")]
    signed_in: Option<String>,
    /// Present if a person who is signed in logs in again.
    again: Option<String>,
}

/// The address after a logout.
pub(super) const SIGNED_OUT: &str = "/auth/login?signed-out";

impl Return {
    /// Whether a person who is signed in proves their identity again.
    pub(super) fn is_again(&self) -> bool {
        self.again.is_some()
    }

    /// The address to which the login returns, checked. Empty if none was given.
    pub(super) fn rd(&self, inner: &Inner) -> String {
        if self.rd.is_empty() { String::new() } else { inner.site.return_to(&self.rd) }
    }
}

/// `GET /auth/login`
pub(super) async fn page(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    query: web::Query<Return>,
) -> HttpResponse {
    let (rd, ways) = (query.rd(&bulla.0), &bulla.0.ways[..]);
    let signed_in = query.signed_in.is_some();
    if signed_in && bulla.0.has_come_back(&request) {
        return body::see_other(if rd.is_empty() { "/auth/account" } else { &rd });
    }
    let error = signed_in.then_some(COOKIES_LOST);
    let app = bulla.0.app(&rd).await;
    let (app, signed_out) = (app.as_deref(), query.signed_out.is_some());
    let page = pages::Login { rd: &rd, app, signed_out, error, ways, ..Default::default() };
    pages::answer(&mut HttpResponse::Ok(), pages::login(&page))
}

/// `POST /auth/login`
pub(super) async fn login(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let inner = &bulla.0;
    let (input, kind) = body::read::<Login>(&request, &body)?;
    // Contradictory cookies must not keep a person with a password from logging in.
    let carried = inner.carried(&request)?.unwrap_or_default();
    let transport = transport(kind, input.transport.as_deref())?;
    if kind == Kind::Json && !input.presented.provider.is_empty() {
        let issued = inner.with_presented(&request, &input.presented, transport).await?;
        let mut response = inner.with_cookies(inner.tokens(&issued), &issued);
        if transport != Transport::Body {
            let mut cookies = HeaderMap::new();
            CookieJar::clear_login(&mut cookies, &login_id(&input.presented.nonce));
            add_cookies(response.headers_mut(), cookies);
        }
        return Ok(response);
    }
    let (Some(username), Some(password)) = (input.username, input.password) else {
        return Err(body::malformed());
    };
    let done = with_password(inner, &request, &username, &password, transport, carried.refresh).await;
    let rd = if input.rd.is_empty() { "/auth/account".into() } else { inner.site.return_to(&input.rd) };
    match (done, kind) {
        (Ok(issued), Kind::Form) => Ok(inner.with_cookies(body::see_other(&inner.after_login(rd)), &issued)),
        (Ok(issued), Kind::Json) => Ok(inner.with_cookies(inner.tokens(&issued), &issued)),
        (Err(problem), Kind::Json) => Err(problem),
        (Err(problem), Kind::Form) => {
            let app = inner.app(&rd).await;
            let (error, name, app) = (Some(problem.detail()), username.as_str(), app.as_deref());
            let page = pages::Login { rd: &rd, error, name, app, ways: &inner.ways, ..Default::default() };
            Ok(pages::answer(&mut problem.head(), pages::login(&page)))
        }
    }
}

fn transport(kind: Kind, named: Option<&str>) -> Result<Transport, Problem> {
    match (kind, named) {
        (Kind::Form, _) | (_, None | Some("cookie")) => Ok(Transport::Cookie),
        (_, Some("body")) => Ok(Transport::Body),
        (_, Some("hybrid")) => Ok(Transport::Hybrid),
        _ => Err(Problem::bad_request("transport is cookie, body or hybrid.")),
    }
}

/// Checks a password under the throttle and begins a session. `presented` is the refresh token of the same request.
pub(super) async fn with_password(
    inner: &Inner,
    request: &HttpRequest,
    name: &str,
    password: &SecretText,
    transport: Transport,
    presented: Option<&str>,
) -> Result<Issued, Problem> {
    let (name, account) = (attempts::typed(name), Account::User(name));
    let charge = inner.admit(account, request).await?;
    let device = inner.site.device(request);
    let mut proofs = 1;
    let begun = loop {
        match inner.prove_and_begin(name, password, transport, device.clone(), presented).await {
            // The new hash can belong to the same password: the hash was strengthened, or the password was set to the same value
            // again.
            Err(LoginError::Store(StoreError::Moved)) if proofs < MOST_PROOFS => proofs += 1,
            begun => break begun,
        }
    };
    match begun {
        Ok(issued) => {
            charge.succeeded();
            Ok(issued)
        }
        Err(LoginError::Wrong) => {
            charge.failed();
            inner.failed_attempt(account, request, "wrong name or password").await?;
            Err(Problem::wrong_credentials())
        }
        Err(LoginError::Busy) => {
            charge.undecided();
            Err(Problem::busy())
        }
        Err(LoginError::Store(error)) => {
            charge.undecided();
            Err(error.into())
        }
    }
}

impl Inner {
    /// Checks a password once, and begins a session only if the check still holds.
    async fn prove_and_begin(
        &self,
        name: &str,
        password: &SecretText,
        transport: Transport,
        device: Device,
        presented: Option<&str>,
    ) -> Result<Issued, LoginError> {
        let users = &self.sessions.parts().users;
        let (user, against) = users.prove(name, password).await?;
        let in_store = users.keeps_passwords_in_store();
        let password_hash = in_store.then(|| against.clone());
        let proof = Proof { at: ProvenAt::Now, password_hash, identity: None };
        let issued = match self.sessions.begin_by(&user, proof, transport, device, presented).await {
            Ok(issued) => issued,
            Err(Denied::CannotTell(error)) => return Err(error.into()),
            Err(Denied::Seal(error)) => {
                tracing::error!(%error, "a token could not be sealed");
                return Err(StoreError::Unavailable("a token could not be sealed".into()).into());
            }
            // The user was disabled or deleted after the password was checked.
            Err(Denied::Session | Denied::Token(_) | Denied::Reuse) => return Err(LoginError::Wrong),
        };
        match in_store {
            true => Ok(issued),
            false => self.stands(issued, users.still(&user, password, &against).await).await,
        }
    }

    /// For users whose passwords are not in the store: checks the password again after the session has begun. If it is no longer
    /// valid, the session ends before its tokens are issued.
    async fn stands(&self, issued: Issued, still: Result<bool, LoginError>) -> Result<Issued, LoginError> {
        let why = match still {
            Ok(true) => return Ok(issued),
            Ok(false) => LoginError::Wrong,
            Err(error) => error,
        };
        let event = AuditEvent::new("session.revoked", "system", "")
            .with(serde_json::json!({"reason": "the password was changed meanwhile"}));
        self.sessions.end(issued.row.sid, event).await?;
        Err(why)
    }

    /// The answer to a program: the user, and the tokens that are sent in bodies (names as in RFC 6749, 5.1).
    pub(super) fn tokens(&self, issued: &Issued) -> HttpResponse {
        HttpResponse::Ok().json(self.token_answer(issued))
    }

    /// The JSON object of this answer.
    pub(super) fn token_answer(&self, issued: &Issued) -> serde_json::Value {
        let expires_in = self.sessions.parts().policy.access_max_age.as_secs();
        let mut answer = serde_json::json!({
            "id": issued.principal.id(), "sid": issued.principal.sid().to_string(), "expires_in": expires_in,
            "other_sessions": issued.others,
        });
        if matches!(issued.row.transport, Transport::Body | Transport::Hybrid) {
            answer["access_token"] = issued.access.as_str().into();
            answer["token_type"] = "Bearer".into();
        }
        if issued.row.transport == Transport::Body {
            answer["refresh_token"] = issued.refresh.as_str().into();
        }
        answer
    }

    pub(super) fn with_cookies(&self, mut response: HttpResponse, issued: &Issued) -> HttpResponse {
        let mut cookies = HeaderMap::new();
        self.hand_out(&mut cookies, issued);
        add_cookies(response.headers_mut(), cookies);
        response
    }
}
