//! The routes for the identities of a signed-in person: show, link, unlink.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Deserialize;

use super::{
    Bulla, account,
    again::Errand,
    body::{self, Kind},
    bulla::Inner,
    guard::add_cookies,
    pages,
    proof::{Current, Shown},
};
use crate::{
    http::Problem,
    session::Principal,
    store::{AuditEvent, Identity, LinkedIdentity, StoreError},
};

/// `GET /auth/identities`
pub(super) async fn list(bulla: web::Data<Bulla>, principal: Principal) -> Result<HttpResponse, Problem> {
    let all = bulla.sessions().parts().store.linked_identities(&principal.user_id()).await?;
    let all: Vec<_> = all.iter().map(LinkedIdentity::to_json).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({"identities": all})))
}

/// `POST /auth/provider/{name}/link`: sends a signed-in person to the provider, to link another identity. Requires the session and
/// a recent proof of identity, now and again when the browser comes back.
pub(super) async fn link(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let inner = &bulla.0;
    let (current, kind) = body::read::<Current>(&request, &body)?;
    let provider = inner.providers.named(&name).ok_or_else(Problem::not_found)?;
    let shown = match (may_change(inner, &request, &principal, &current).await, kind) {
        (Err(problem), Kind::Form) if problem.asks_for_a_login() => {
            return Ok(inner.log_in_again(&principal, &problem).await);
        }
        (shown, _) => shown?,
    };
    let purpose = Errand::Link(shown.row.sid.to_string());
    let (url, cookies) = inner.send_to(&request, provider, "", purpose).await?;
    let mut response = match kind {
        Kind::Json => HttpResponse::Ok().json(serde_json::json!({"location": url})),
        Kind::Form => {
            let page = pages::Onward { label: &provider.settings().label, url: &url };
            let refresh = (header::REFRESH, format!("0; url={url}"));
            pages::answer(HttpResponse::Ok().insert_header(refresh), pages::onward(&page))
        }
    };
    add_cookies(response.headers_mut(), cookies);
    Ok(response)
}

/// The session of a person who may change their login methods.
async fn may_change(
    inner: &Inner,
    request: &HttpRequest,
    principal: &Principal,
    current: &Current,
) -> Result<Shown, Problem> {
    let shown = inner.in_session(request, principal).await?;
    inner.recently(request, &shown, current).await?;
    Ok(shown)
}

#[derive(Deserialize)]
pub(super) struct Which {
    issuer: String,
    subject: String,
    #[serde(flatten)]
    current: Current,
}

/// `POST /auth/identities/unlink`: unlinks an identity, but never the last login method. An identity of another user is answered
/// with "not found".
pub(super) async fn unlink(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (Which { issuer, subject, current }, kind) = body::read::<Which>(&request, &body)?;
    let shown = match (may_change(&bulla.0, &request, &principal, &current).await, kind) {
        (Err(problem), Kind::Form) if problem.asks_for_a_login() => {
            return Ok(bulla.0.log_in_again(&principal, &problem).await);
        }
        (shown, _) => shown?,
    };
    let Shown { row, user, .. } = &shown;
    let identity = Identity { issuer, subject };
    let event = AuditEvent::new("identity.unlinked", user.id.to_string(), "")
        .with(serde_json::json!({"issuer": identity.issuer, "subject": identity.subject}))
        .by(row.as_caller());
    let unlinked = bulla.sessions().parts().store.unlink(&user.id, identity, event).await;
    match (unlinked, kind) {
        (Ok(true), Kind::Json) => Ok(HttpResponse::NoContent().finish()),
        (Ok(true), Kind::Form) => Ok(body::see_other("/auth/account")),
        (Ok(false), _) => Err(Problem::not_found()),
        (Err(error @ StoreError::LastWayIn), Kind::Form) => {
            let problem = Problem::from(error);
            account::show(&bulla, row, user, Some(pages::Message::Error(&problem))).await
        }
        (Err(error), _) => Err(error.into()),
    }
}
