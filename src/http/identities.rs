//! The identities of who is signed in: show, link, unlink.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Deserialize;

use super::{
    Bulla, account,
    body::{self, Kind},
    guard::add_cookies,
    pages,
};
use crate::{
    http::Problem,
    session::Principal,
    store::{AuditEvent, Identity, StoreError},
};

/// `GET /auth/identities`
pub(super) async fn list(bulla: web::Data<Bulla>, principal: Principal) -> Result<HttpResponse, Problem> {
    let all = bulla.sessions().parts().store.identities(&principal.user_id()).await?;
    let shown = |one: &Identity| serde_json::json!({"issuer": one.issuer, "subject": one.subject});
    let all: Vec<_> = all.iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({"identities": all})))
}

/// `POST /auth/provider/{name}/link`: sends who is signed in to the provider, to come back with one identity more.
pub(super) async fn link(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let inner = &bulla.0;
    let (_, kind) = body::read::<serde_json::Map<String, serde_json::Value>>(&request, &body)?;
    let provider = inner.providers.named(&name).ok_or_else(Problem::not_found)?;
    let (row, _) = account::confirm(&bulla, &principal).await?;
    let (url, cookies) = inner.send_to(&request, provider, "", Some(row.sid.to_string())).await?;
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

#[derive(Deserialize)]
pub(super) struct Which {
    issuer: String,
    subject: String,
}

/// `POST /auth/identities/unlink`: never the last way in. Another's is not found.
pub(super) async fn unlink(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (input, kind) = body::read::<Which>(&request, &body)?;
    let (row, user) = account::confirm(&bulla, &principal).await?;
    let identity = Identity { issuer: input.issuer, subject: input.subject };
    let event = AuditEvent::new("identity.unlinked", user.id.to_string(), "")
        .with(serde_json::json!({"issuer": identity.issuer}));
    let unlinked = bulla.sessions().parts().store.unlink(&user.id, identity, event).await;
    match (unlinked, kind) {
        (Ok(true), Kind::Json) => Ok(HttpResponse::NoContent().finish()),
        (Ok(true), Kind::Form) => Ok(body::see_other("/auth/account")),
        (Ok(false), _) => Err(Problem::not_found()),
        (Err(error @ StoreError::LastWayIn), Kind::Form) => {
            let problem = Problem::from(error);
            account::show(&bulla, &row, &user, Some(pages::Message::Error(&problem))).await
        }
        (Err(error), _) => Err(error.into()),
    }
}
