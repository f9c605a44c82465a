//! The routes for the identities of a signed-in person: show, link, unlink.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::{
    http::{
        Bulla, Problem,
        actix::add_cookies,
        bulla::Shared,
        guard::session_proof::{CurrentPassword, PresentedSession},
        pages,
        routes::{
            account,
            body::{self, Kind},
        },
        wire::answer::Answer,
    },
    login::openid::Intent,
    session::Principal,
    store::{AuditEvent, Event, Identity, LinkedIdentity, StoreError},
};

/// `GET /auth/identities`
pub(crate) async fn list(bulla: web::Data<Bulla>, principal: Principal) -> Result<HttpResponse, Problem> {
    let all = bulla.sessions().parts().store.linked_identities(&principal.user_id()).await?;
    let all: Vec<_> = all.iter().map(LinkedIdentity::to_json).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({"identities": all})))
}

/// `POST /auth/provider/{name}/link`: sends a signed-in person to the provider, to link another identity. Requires the session and
/// a recent proof of identity, now and again when the browser comes back.
pub(crate) async fn link(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let shared = &bulla.0;
    let (current, kind) = body::read::<CurrentPassword>(&request, &body)?;
    let provider = shared.logins().providers().named(&name).ok_or_else(Problem::not_found)?;
    let shown = match (may_change(shared, &request, &principal, &current).await, kind) {
        (Err(problem), Kind::Form) if problem.asks_for_a_login() => {
            return Ok(shared.new_login_page(&principal, &problem).await.into());
        }
        (shown, _) => shown?,
    };
    let intent = Intent::Link(shown.row.sid.to_string());
    let (url, cookies) = shared.send_to(&request, provider, "", intent).await?;
    let mut response = match kind {
        Kind::Json => HttpResponse::Ok().json(serde_json::json!({"location": url})),
        Kind::Form => {
            let page = shared.pages.onward(&provider.settings().label, &url);
            Answer::page(page).header("refresh", format!("0; url={url}")).into()
        }
    };
    add_cookies(response.headers_mut(), &cookies);
    Ok(response)
}

/// The session of a person who may change their login methods.
async fn may_change(
    shared: &Shared,
    request: &HttpRequest,
    principal: &Principal,
    current: &CurrentPassword,
) -> Result<PresentedSession, Problem> {
    let shown = shared.presented_session(request, principal).await?;
    shared.require_recent_proof(request, &shown, current).await?;
    Ok(shown)
}

#[derive(Deserialize)]
pub(crate) struct Which {
    issuer: String,
    subject: String,
    #[serde(flatten)]
    current: CurrentPassword,
}

/// `POST /auth/identities/unlink`: unlinks an identity, but never the last login method. An identity of another user is answered
/// with "not found".
pub(crate) async fn unlink(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (Which { issuer, subject, current }, kind) = body::read::<Which>(&request, &body)?;
    let shown = match (may_change(&bulla.0, &request, &principal, &current).await, kind) {
        (Err(problem), Kind::Form) if problem.asks_for_a_login() => {
            return Ok(bulla.0.new_login_page(&principal, &problem).await.into());
        }
        (shown, _) => shown?,
    };
    let PresentedSession { row, user, .. } = &shown;
    let identity = Identity { issuer, subject };
    let event = AuditEvent::new(Event::IdentityUnlinked, &user.id, "")
        .with(serde_json::json!({"issuer": identity.issuer, "subject": identity.subject}))
        .by(row.as_caller());
    let unlinked = bulla.sessions().parts().store.unlink(&user.id, identity, event).await;
    match (unlinked, kind) {
        (Ok(true), Kind::Json) => Ok(HttpResponse::NoContent().finish()),
        (Ok(true), Kind::Form) => Ok(body::see_other(&bulla.0.pages.at("/account"))),
        (Ok(false), _) => Err(Problem::not_found()),
        (Err(error @ StoreError::LastWayIn), Kind::Form) => {
            let problem = Problem::from(error);
            account::show(&bulla, row, user, Some(pages::Message::Error(&problem))).await
        }
        (Err(error), _) => Err(error.into()),
    }
}
