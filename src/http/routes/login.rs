//! Step 3 of authentication: begins a session by name and password, or by an ID token.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

#[cfg(feature = "openid")]
use crate::{http::routes::presented, login::openid::PresentedToken};
use crate::{
    http::{
        Bulla, Problem,
        actix::add_cookies,
        bulla::Shared,
        pages,
        routes::{
            body::{self, Kind},
            cookie_check::COOKIES_LOST,
        },
        wire::{answer::Answer, cookies::SetCookies},
    },
    secret::SecretText,
    session::Issued,
    store::Transport,
};

#[derive(Deserialize)]
pub(crate) struct Login {
    username: Option<String>,
    password: Option<SecretText>,
    transport: Option<String>,
    #[serde(default)]
    rd: String,
    #[cfg(feature = "openid")]
    #[serde(flatten)]
    presented: PresentedToken,
}

#[derive(Deserialize)]
pub(crate) struct Return {
    #[serde(default)]
    rd: String,
    #[serde(rename = "signed-out")]
    signed_out: Option<String>,
    #[serde(rename = "signed-in")]
    signed_in: Option<String>,
    /// Present if a person who is signed in logs in again.
    again: Option<String>,
}

#[cfg(not(feature = "oauth"))]
impl Shared {
    /// Without the feature `oauth` no login is made for an app.
    async fn app(&self, _: &str) -> Option<String> {
        None
    }
}

/// The address after a logout, below the prefix.
pub(crate) const SIGNED_OUT: &str = "/login?signed-out";

impl Return {
    /// Whether a person who is signed in proves their identity again.
    pub(crate) fn is_again(&self) -> bool {
        self.again.is_some()
    }

    /// The address to which the login returns, checked. Empty if none was given.
    pub(crate) fn rd(&self, shared: &Shared) -> String {
        if self.rd.is_empty() { String::new() } else { shared.site.return_to(&self.rd) }
    }
}

/// `GET /auth/login`
pub(crate) async fn page(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    query: web::Query<Return>,
) -> HttpResponse {
    let (rd, pages) = (query.rd(&bulla.0), &bulla.0.pages);
    let signed_in = query.signed_in.is_some();
    if signed_in && bulla.0.has_login_cookies(&request) {
        return body::see_other(&pages.or_account(&rd));
    }
    let error = signed_in.then_some(COOKIES_LOST);
    let app = bulla.0.app(&rd).await;
    let (app, signed_out) = (app.as_deref(), query.signed_out.is_some());
    let content = pages::Login { rd: &rd, app, signed_out, error, ..Default::default() };
    Answer::page(pages.login(&content)).into()
}

/// `POST /auth/login`
pub(crate) async fn login(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let shared = &bulla.0;
    let (input, kind) = body::read::<Login>(&request, &body)?;
    // Contradictory cookies must not keep a person with a password from logging in.
    let cookie_tokens = shared.cookie_tokens(&request)?.unwrap_or_default();
    let transport = transport(kind, input.transport.as_deref())?;
    #[cfg(feature = "openid")]
    if kind == Kind::Json && !input.presented.provider.is_empty() {
        return presented::login(shared, &request, &input.presented, transport).await;
    }
    let (Some(username), Some(password)) = (input.username, input.password) else {
        return Err(body::malformed());
    };
    let requester = shared.site.requester(&request);
    let done =
        shared.logins().by_password(&requester, &username, &password, transport, cookie_tokens.refresh).await;
    let rd = match input.rd.as_str() {
        "" => shared.pages.at("/account"),
        rd => shared.site.return_to(rd),
    };
    match (done, kind) {
        (Ok(issued), Kind::Form) => {
            Ok(shared.with_cookies(body::see_other(&shared.redirect_after_login(rd)), &issued))
        }
        (Ok(issued), Kind::Json) => Ok(shared.with_cookies(shared.tokens(&issued), &issued)),
        (Err(problem), Kind::Json) => Err(problem),
        (Err(problem), Kind::Form) => {
            let app = shared.app(&rd).await;
            let (error, name, app) = (Some(problem.detail()), username.as_str(), app.as_deref());
            let page = pages::Login { rd: &rd, error, name, app, ..Default::default() };
            Ok(Answer::problem_page(&problem, shared.pages.login(&page)).into())
        }
    }
}

fn transport(kind: Kind, named: Option<&str>) -> Result<Transport, Problem> {
    match (kind, named) {
        (Kind::Form, _) | (_, None | Some("cookie")) => Ok(Transport::Cookie),
        (_, Some("body")) => Ok(Transport::Body),
        (_, Some("hybrid")) => Ok(Transport::Hybrid),
        _ => Err(Problem::bad_request("The parameter transport must be cookie, body or hybrid.")),
    }
}

impl Shared {
    /// The answer to a program: the user, and the tokens that are sent in bodies (names as in RFC 6749, 5.1).
    pub(crate) fn tokens(&self, issued: &Issued) -> HttpResponse {
        HttpResponse::Ok().json(self.token_answer(issued))
    }

    /// The JSON object of this answer.
    pub(crate) fn token_answer(&self, issued: &Issued) -> serde_json::Value {
        let expires_in = self.sessions().parts().policy.access_max_age.as_secs();
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

    pub(crate) fn with_cookies(&self, mut response: HttpResponse, issued: &Issued) -> HttpResponse {
        let mut cookies = SetCookies::default();
        self.set_session_cookies(&mut cookies, issued);
        add_cookies(response.headers_mut(), &cookies);
        response
    }
}
