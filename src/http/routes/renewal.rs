//! The routes that use the refresh token without the guard: refresh, continue and logout.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::{
    http::{
        Bulla, Problem,
        actix::add_cookies,
        bulla::Shared,
        routes::{
            body::{self, Kind},
            login::SIGNED_OUT,
        },
        wire::{cookies::SetCookies, request_log},
    },
    session::Renewed,
    store::Transport,
};

#[derive(Deserialize)]
pub(crate) struct Refresh {
    #[serde(default)]
    refresh_token: Option<crate::secret::SecretText>,
}

/// `POST /auth/refresh`: renews by the cookie, or by `{"refresh_token"}` in the body. The session's transport decides the form of
/// the answer.
pub(crate) async fn refresh(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let shared = &bulla.0;
    let (input, _) = body::read::<Refresh>(&request, &body)?;
    let device = shared.site.device(&request);
    // The cookies are checked for forgery first, even if the body has a token. Otherwise another site could log the browser in as
    // another user, with a refresh token of that user in the body.
    let cookie_tokens = shared.cookie_tokens(&request)?;
    if let Some(token) = input.refresh_token {
        let renewed = shared.sessions().renew(token.expose(), &device).await?;
        return Ok(shared.answer(renewed, TokenSource::InBody));
    }
    let token = cookie_tokens?.refresh.ok_or_else(Problem::unauthorized)?;
    let renewed = shared.sessions().renew(token, &device).await?;
    Ok(shared.answer(renewed, TokenSource::InCookie))
}

/// How the refresh token was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenSource {
    InBody,
    InCookie,
}

impl Shared {
    /// If the refresh token came in a cookie, the body of the answer contains no token, except the access token of transport
    /// `hybrid`.
    fn answer(&self, renewed: Renewed, source: TokenSource) -> HttpResponse {
        request_log::speaks_for(|| renewed.principal.id().to_string());
        let mut answer =
            serde_json::json!({"expires_in": self.sessions().parts().policy.access_max_age.as_secs()});
        let by_body = source == TokenSource::InBody && renewed.transport == Transport::Body;
        if by_body || renewed.transport == Transport::Hybrid {
            answer["access_token"] = renewed.access.as_str().into();
            answer["token_type"] = "Bearer".into();
        }
        if let Some(refresh) = renewed.refresh.as_ref().filter(|_| by_body) {
            answer["refresh_token"] = refresh.as_str().into();
        }
        let mut response = HttpResponse::Ok().json(answer);
        if !by_body {
            let mut cookies = SetCookies::default();
            self.set_renewed_cookies(&mut cookies, &renewed);
            add_cookies(response.headers_mut(), &cookies);
        }
        response
    }
}

#[derive(Deserialize)]
pub(crate) struct Return {
    #[serde(default)]
    rd: String,
}

/// `GET /auth/continue?rd=`: for navigations. If the refresh token is valid, renews the session and goes back to `rd`; otherwise
/// shows the login page.
pub(crate) async fn continue_to(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    query: web::Query<Return>,
) -> Result<HttpResponse, Problem> {
    let shared = &bulla.0;
    let rd = shared.site.return_to(&query.rd);
    let cookie_tokens = shared.cookie_tokens(&request)?.unwrap_or_default();
    let to_login = || {
        let query = percent_encode(&rd);
        body::see_other(&shared.pages.at(&format!("/login?rd={query}")))
    };
    let Some(refresh) = cookie_tokens.refresh else { return Ok(to_login()) };
    match shared.renew(&request, refresh).await {
        Ok(renewed) => {
            let mut cookies = SetCookies::default();
            shared.set_renewed_cookies(&mut cookies, &renewed);
            let mut response = body::see_other(&rd);
            add_cookies(response.headers_mut(), &cookies);
            Ok(response)
        }
        Err(problem) if problem.code() == "unauthorized" && !problem.is_cross_site() => Ok(to_login()),
        Err(problem) => Err(problem),
    }
}

/// Percent-encodes a checked address for use in a query.
fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~/".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[derive(Deserialize)]
pub(crate) struct Logout {
    everywhere: Option<Choice>,
}

/// Yes or no, in JSON or in a form.
#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Json(bool),
    Form(String),
}

impl Choice {
    fn is_yes(&self, said_by: Kind) -> Result<bool, Problem> {
        match (self, said_by) {
            (Self::Json(yes), _) => Ok(*yes),
            (Self::Form(text), Kind::Form) if matches!(text.as_str(), "true" | "on") => Ok(true),
            (Self::Form(text), Kind::Form) if matches!(text.as_str(), "false" | "off" | "") => Ok(false),
            _ => Err(Problem::bad_request("The parameter everywhere must be true or false.")),
        }
    }
}

/// `POST /auth/logout`: ends this session, or all sessions of the user.
pub(crate) async fn logout(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let shared = &bulla.0;
    let (input, kind) = body::read::<Logout>(&request, &body)?;
    let everywhere = input.everywhere.unwrap_or(Choice::Json(false)).is_yes(kind)?;
    shared.log_out(&request, everywhere).await?;
    let mut response = match kind {
        Kind::Form => body::see_other(&shared.pages.at(SIGNED_OUT)),
        Kind::Json => HttpResponse::NoContent().finish(),
    };
    shared.forget_cookies(&request, &mut response);
    Ok(response)
}

impl Shared {
    /// Clears the cookies after the request has explicitly ended its own session. With an `Authorization` header the cookies can
    /// belong to another session and stay.
    pub(crate) fn forget_cookies(&self, request: &HttpRequest, response: &mut HttpResponse) {
        add_cookies(response.headers_mut(), &self.cleared(request));
    }
}
