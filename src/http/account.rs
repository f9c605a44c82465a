//! Who am I, my devices, my password: behind the guard, changes by the store and not by the token.

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web};
use serde::Deserialize;

use super::{
    Bulla,
    body::{self, Kind},
    guard::add_cookies,
    pages,
};
use crate::{
    http::Problem,
    identity::HashError,
    ids::Sid,
    secret::SecretText,
    session::Principal,
    store::{AuditEvent, LoginError, SessionRow, Transport, User},
};

/// Row and user of somebody who changes something about themselves: in person, never by an app's token.
async fn confirm(bulla: &Bulla, principal: &Principal) -> Result<(SessionRow, User), Problem> {
    match principal.grant() {
        None => Ok(bulla.sessions().confirm(principal).await?),
        Some(_) => Err(Problem::forbidden()),
    }
}

/// `GET /auth/session`: who am I.
pub(super) async fn who(bulla: web::Data<Bulla>, principal: Principal) -> Result<HttpResponse, Problem> {
    let user = bulla.sessions().parts().users.find(principal.user_id()).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({
        "id": principal.id(),
        "name": user.map(|user| user.name).unwrap_or_default(),
        "sid": principal.sid().to_string(),
        "roles": principal.roles(),
        "claims": principal.claims(),
    })))
}

/// `GET /auth/account`: the page of it.
pub(super) async fn page(bulla: web::Data<Bulla>, principal: Principal) -> Result<HttpResponse, Problem> {
    let (row, user) = bulla.sessions().confirm(&principal).await?;
    account(&bulla, &row, &user, None).await
}

async fn account(
    bulla: &Bulla,
    row: &SessionRow,
    user: &User,
    message: Option<pages::Message<'_>>,
) -> Result<HttpResponse, Problem> {
    let (sessions, now) = bulla.sessions().parts().store.sessions(Some(&user.id), 100).await?;
    let page = pages::account(&pages::Account { user, sessions: &sessions, this: row.sid, now, message });
    Ok(pages::answer(&mut HttpResponse::Ok(), page))
}

/// `GET /auth/sessions`: my devices.
pub(super) async fn sessions(bulla: web::Data<Bulla>, principal: Principal) -> Result<HttpResponse, Problem> {
    let (rows, _) = bulla.sessions().parts().store.sessions(Some(principal.user_id()), 100).await?;
    let rows: Vec<_> = rows.iter().map(|row| describe(row, Some(principal.sid()))).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({"sessions": rows})))
}

/// A session as it is shown: nothing that could be presented.
pub(super) fn describe(row: &SessionRow, this: Option<Sid>) -> serde_json::Value {
    let mut shown = serde_json::json!({
        "sid": row.sid.to_string(), "user_id": row.user_id.to_string(), "generation": row.generation,
        "created_at": row.created_at, "rotated_at": row.rotated_at, "idle_expires_at": row.idle_expires_at,
        "expires_at": row.expires_at, "transport": row.transport.as_str(),
        "user_agent": row.device.user_agent, "ip": row.device.ip,
    });
    if let Some(grant) = &row.grant {
        shown["client_id"] = grant.client.as_str().into();
        shown["scope"] = grant.scope.to_string().into();
    }
    if let Some(this) = this {
        shown["current"] = (row.sid == this).into();
    }
    shown
}

/// `DELETE /auth/sessions/{sid}`, and `POST …/end` for forms: ends one of mine. Another's is not found.
pub(super) async fn end(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    sid: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (_, kind) = body::read::<serde_json::Map<String, serde_json::Value>>(&request, &body)?;
    let (row, user) = confirm(&bulla, &principal).await?;
    let sid: Sid = sid.parse().map_err(|_| Problem::not_found())?;
    let event = AuditEvent::new("session.revoked", user.id.to_string(), "");
    if !bulla.sessions().end_own(&user.id, sid, event).await? {
        return Err(Problem::not_found());
    }
    let mut response = match kind {
        Kind::Form => body::see_other(if sid == row.sid { "/auth/login" } else { "/auth/account" }),
        Kind::Json => HttpResponse::NoContent().finish(),
    };
    if sid == row.sid {
        let mut cookies = HeaderMap::new();
        bulla.0.cookies.clear(&mut cookies);
        add_cookies(response.headers_mut(), cookies);
    }
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct Change {
    current: SecretText,
    new: SecretText,
}

/// `POST /auth/password`: ends all sessions, and begins a new one for the caller.
pub(super) async fn password(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (input, kind) = body::read::<Change>(&request, &body)?;
    let (row, user) = confirm(&bulla, &principal).await?;
    match (change(&bulla, &request, &row, &user, input).await, kind) {
        (Ok(issued), Kind::Json) => Ok(bulla.0.with_cookies(bulla.0.tokens(&issued), &issued)),
        (Ok(issued), Kind::Form) => Ok(bulla.0.with_cookies(body::see_other("/auth/account"), &issued)),
        (Err(problem), Kind::Form) if problem.retry_after_is_none() => {
            account(&bulla, &row, &user, Some(pages::Message::Error(problem.detail()))).await
        }
        (Err(problem), _) => Err(problem),
    }
}

async fn change(
    bulla: &Bulla,
    request: &HttpRequest,
    row: &SessionRow,
    user: &User,
    input: Change,
) -> Result<crate::session::Issued, Problem> {
    let (inner, parts) = (&bulla.0, bulla.sessions().parts());
    let (address, now) = (inner.site.address(request), parts.clock.now());
    inner.throttle.check(&user.name, address, now).map_err(|t| Problem::throttled(t.retry_after))?;
    match parts.users.log_in(&user.name, &input.current).await {
        Ok(found) if found.id == user.id => {}
        Ok(_) | Err(LoginError::Wrong) => {
            inner.throttle.failed(&user.name, address, now);
            return Err(Problem::wrong_password());
        }
        Err(LoginError::Busy) => return Err(Problem::busy()),
        Err(LoginError::Store(error)) => return Err(error.into()),
    }
    inner
        .password
        .check(&input.new)
        .map_err(|why| Problem::unprocessable(format!("The new password won't do: {why}.")))?;
    let hash = inner.hasher.hash(&input.new).await.map_err(|error| match error {
        HashError::Busy => Problem::busy(),
        HashError::BadHash | HashError::Failed => Problem::unavailable(),
    })?;
    let transport = if row.transport == Transport::Basic { Transport::Cookie } else { row.transport };
    Ok(inner.sessions.change_password(user, hash, transport, inner.site.device(request)).await?)
}
