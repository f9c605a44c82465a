//! Step 3: a name and a password become a session.

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web};
use serde::Deserialize;

use super::{
    Bulla,
    body::{self, Kind},
    bulla::Inner,
    credentials::Authorization,
    guard::add_cookies,
    pages,
};
use crate::{
    http::Problem,
    secret::SecretText,
    session::Issued,
    store::{AuditEvent, LoginError, Transport},
};

/// A failed login is written down up to this often for an account; what follows is counted by the throttle alone.
const NAME_MAX: usize = 128;

#[derive(Deserialize)]
pub(super) struct Login {
    username: String,
    password: SecretText,
    #[serde(default)]
    transport: Option<String>,
    #[serde(default)]
    rd: String,
}

#[derive(Deserialize)]
pub(super) struct Return {
    #[serde(default)]
    rd: String,
}

/// `GET /auth/login`
pub(super) async fn page(bulla: web::Data<Bulla>, query: web::Query<Return>) -> HttpResponse {
    let rd = if query.rd.is_empty() { String::new() } else { bulla.0.site.return_to(&query.rd) };
    let app = bulla.0.app(&rd).await;
    let page = pages::Login { rd: &rd, error: None, name: "", app: app.as_deref() };
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
    let carried = inner.cookies.read(&request).unwrap_or_default();
    if matches!(Authorization::of(&request)?, Authorization::Absent) {
        inner.site.refuse_forgery(&request, carried.access.is_some() || carried.refresh.is_some())?;
    }
    let transport = transport(kind, input.transport.as_deref())?;
    let done =
        with_password(inner, &request, &input.username, &input.password, transport, carried.refresh).await;
    let rd = if input.rd.is_empty() { "/auth/account".into() } else { inner.site.return_to(&input.rd) };
    match (done, kind) {
        (Ok(issued), Kind::Form) => Ok(inner.with_cookies(body::see_other(&rd), &issued)),
        (Ok(issued), Kind::Json) => Ok(inner.with_cookies(inner.tokens(&issued), &issued)),
        (Err(problem), Kind::Json) => Err(problem),
        (Err(problem), Kind::Form) => {
            let app = inner.app(&rd).await;
            let error = Some(problem.detail());
            let page = pages::Login { rd: &rd, error, name: &input.username, app: app.as_deref() };
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

/// Checks a password, throttled, and begins a session. `presented` is the refresh token of the same request.
pub(super) async fn with_password(
    inner: &Inner,
    request: &HttpRequest,
    name: &str,
    password: &SecretText,
    transport: Transport,
    presented: Option<&str>,
) -> Result<Issued, Problem> {
    let parts = inner.sessions.parts();
    let (address, now) = (inner.site.address(request), parts.clock.now());
    inner
        .throttle
        .check(name, address, now)
        .map_err(|throttled| Problem::throttled(throttled.retry_after))?;
    let device = inner.site.device(request);
    match parts.users.log_in(name, password).await {
        Ok(user) => {
            inner.throttle.succeeded(name, address);
            Ok(inner.sessions.begin(&user, transport, device, presented).await?)
        }
        Err(LoginError::Wrong) => {
            inner.throttle.failed(name, address, now);
            let shown: String = name.chars().take(NAME_MAX).collect();
            let event = AuditEvent::new("login.failed", "", shown).with(serde_json::json!(device));
            parts.store.record(event).await?;
            Err(Problem::wrong_credentials())
        }
        Err(LoginError::Busy) => Err(Problem::busy()),
        Err(LoginError::Store(error)) => Err(error.into()),
    }
}

impl Inner {
    /// A program's answer: who, and the tokens that travel in bodies (named as in RFC 6749, 5.1).
    pub(super) fn tokens(&self, issued: &Issued) -> HttpResponse {
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
        HttpResponse::Ok().json(answer)
    }

    pub(super) fn with_cookies(&self, mut response: HttpResponse, issued: &Issued) -> HttpResponse {
        let mut cookies = HeaderMap::new();
        self.hand_out(&mut cookies, issued);
        add_cookies(response.headers_mut(), cookies);
        response
    }
}
