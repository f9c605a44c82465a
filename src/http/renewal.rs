//! Refresh, continue and logout: the routes that work by the refresh token, off the ladder.

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web};
use serde::Deserialize;

use super::{
    Bulla,
    body::{self, Kind},
    bulla::Inner,
    credentials::{self, Authorization},
    guard::{add_cookies, refusal},
};
use crate::{
    http::Problem,
    ids::{Sid, UserId},
    session::{Denied, RenewMode, Renewed},
    store::{AuditEvent, Transport},
};

#[derive(Deserialize)]
pub(super) struct Refresh {
    #[serde(default)]
    refresh_token: Option<crate::secret::SecretText>,
}

/// `POST /auth/refresh`: the cookie, or `{"refresh_token"}`. Answers by the session's transport.
pub(super) async fn refresh(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let inner = &bulla.0;
    let (input, _) = body::read::<Refresh>(&request, &body)?;
    let device = inner.site.device(&request);
    if let Some(token) = input.refresh_token {
        let renewed = inner.sessions.renew(token.expose(), &device, RenewMode::Rotate).await?;
        return Ok(inner.answer(renewed, Came::InBody));
    }
    let carried = inner.cookies.read(&request).map_err(|_| Problem::unauthorized())?;
    inner.site.refuse_forgery(&request, carried.access.is_some() || carried.refresh.is_some())?;
    let token = carried.refresh.ok_or_else(Problem::unauthorized)?;
    let renewed = inner.sessions.renew(token, &device, RenewMode::Rotate).await?;
    Ok(inner.answer(renewed, Came::InCookie))
}

/// How a refresh token came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    InBody,
    InCookie,
}

impl Inner {
    /// What came in a cookie never leaves in a body, a hybrid's access token aside.
    fn answer(&self, renewed: Renewed, came: Came) -> HttpResponse {
        let mut answer =
            serde_json::json!({"expires_in": self.sessions.parts().policy.access_max_age.as_secs()});
        let by_body = came == Came::InBody && renewed.transport == Transport::Body;
        let access = renewed.access.as_ref().filter(|_| by_body || renewed.transport == Transport::Hybrid);
        if let Some(access) = access {
            answer["access_token"] = access.as_str().into();
            answer["token_type"] = "Bearer".into();
        }
        if let Some(refresh) = renewed.refresh.as_ref().filter(|_| by_body) {
            answer["refresh_token"] = refresh.as_str().into();
        }
        let mut response = HttpResponse::Ok().json(answer);
        if !by_body {
            let mut cookies = HeaderMap::new();
            self.hand_on(&mut cookies, &renewed);
            add_cookies(response.headers_mut(), cookies);
        }
        response
    }
}

#[derive(Deserialize)]
pub(super) struct Return {
    #[serde(default)]
    rd: String,
}

/// `GET /auth/continue?rd=`: for navigations. Rotates when the refresh token holds and goes back, else shows the login.
pub(super) async fn go_on(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    query: web::Query<Return>,
) -> Result<HttpResponse, Problem> {
    let inner = &bulla.0;
    let rd = inner.site.return_to(&query.rd);
    let carried = inner.cookies.read(&request).unwrap_or_default();
    let to_login = || {
        let query = serde_urlencoded(&rd);
        body::see_other(&format!("/auth/login?rd={query}"))
    };
    let Some(refresh) = carried.refresh else { return Ok(to_login()) };
    let mode = if credentials::is_cross_site(&request) { RenewMode::ServeOnly } else { RenewMode::Rotate };
    match inner.sessions.renew(refresh, &inner.site.device(&request), mode).await {
        Ok(renewed) => {
            let mut cookies = HeaderMap::new();
            inner.hand_on(&mut cookies, &renewed);
            let mut response = body::see_other(&rd);
            add_cookies(response.headers_mut(), cookies);
            Ok(response)
        }
        Err(Denied::CannotTell(error)) => Ok(refusal(&request, &error.into())),
        Err(_) => Ok(to_login()),
    }
}

/// Percent-encodes a checked location for a query.
fn serde_urlencoded(text: &str) -> String {
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
pub(super) struct Logout {
    everywhere: Option<Choice>,
}

/// Yes or no, as JSON or as a form says it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Said(bool),
    Typed(String),
}

impl Choice {
    fn is_yes(&self) -> Result<bool, Problem> {
        match self {
            Self::Said(yes) => Ok(*yes),
            Self::Typed(text) => match text.as_str() {
                "true" | "on" => Ok(true),
                "false" | "off" | "" => Ok(false),
                _ => Err(Problem::bad_request("everywhere is true or false.")),
            },
        }
    }
}

/// `POST /auth/logout`: ends this session, or all of the user's. The only route that clears cookies.
pub(super) async fn logout(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let inner = &bulla.0;
    let (input, kind) = body::read::<Logout>(&request, &body)?;
    let everywhere = input.everywhere.unwrap_or(Choice::Said(false)).is_yes()?;
    let who = inner.whose(&request).await?;
    if let Some((user, sid)) = &who {
        let event = |name| AuditEvent::new(name, user.to_string(), sid.to_string());
        match everywhere {
            true => inner.sessions.end_all(user, event("logout.everywhere")).await.map(drop)?,
            false => inner.sessions.end(*sid, event("logout")).await.map(drop)?,
        }
    }
    let mut response = match kind {
        Kind::Form => body::see_other("/auth/login"),
        Kind::Json => HttpResponse::NoContent().finish(),
    };
    let mut cookies = HeaderMap::new();
    inner.cookies.clear(&mut cookies);
    add_cookies(response.headers_mut(), cookies);
    Ok(response)
}

impl Inner {
    /// Whose session a request carries, by either token, without renewing anything. A store that can't tell is an error:
    /// a logout that isn't durable must not look like one.
    async fn whose(&self, request: &HttpRequest) -> Result<Option<(UserId, Sid)>, Problem> {
        let authenticate = |token: &str| match self.sessions.authenticate(token) {
            Ok(principal) => Ok(Some((principal.user_id().clone(), principal.sid()))),
            Err(Denied::CannotTell(error)) => Err(Problem::from(error)),
            Err(_) => Ok(None),
        };
        match Authorization::of(request)? {
            Authorization::Bearer(token) => {
                return authenticate(token)?.ok_or_else(Problem::unauthorized).map(Some);
            }
            Authorization::Basic { .. } => return Err(Problem::unauthorized()),
            Authorization::Absent => {}
        }
        let carried = self.cookies.read(request).map_err(|_| Problem::unauthorized())?;
        self.site.refuse_forgery(request, carried.access.is_some() || carried.refresh.is_some())?;
        // The refresh token first: the row it names is the session, though an access token be gone or revoked.
        if let Some(refresh) = carried.refresh {
            match self.sessions.identify(refresh).await {
                Ok(Some(row)) => return Ok(Some((row.user_id, row.sid))),
                Err(Denied::CannotTell(error)) => return Err(error.into()),
                _ => {}
            }
        }
        carried.access.map_or(Ok(None), authenticate)
    }
}
