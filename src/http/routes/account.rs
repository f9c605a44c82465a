//! The routes of a signed-in person's account: who they are, their devices, their password. All are behind the guard. Changes are
//! checked against the store, not only against the token.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::{
    http::{
        Bulla, Problem,
        guard::session_proof::PresentedSession,
        pages,
        routes::{
            body::{self, Kind},
            login::SIGNED_OUT,
        },
        wire::{answer::Answer, credentials::Authorization},
    },
    identity::{HashError, PasswordRule},
    ids::Sid,
    secret::SecretText,
    session::{Issued, Principal},
    store::{AuditEvent, Event, LinkedIdentity, SessionRow, User},
};

/// Row and user of a person. Refuses a token of an app, whatever its scope.
pub(crate) async fn confirm(bulla: &Bulla, principal: &Principal) -> Result<(SessionRow, User), Problem> {
    let (row, user) = bulla.sessions().confirm(principal).await?;
    match principal.grant().is_none() && row.grant.is_none() {
        true => Ok((row, user)),
        false => Err(Problem::forbidden()),
    }
}

/// `GET /auth/session`: describes the caller. All data except the name come from the token. The name is null while the store is
/// unavailable. For a token of an app the answer has the client and the scope instead of roles.
pub(crate) async fn who(bulla: web::Data<Bulla>, principal: Principal) -> HttpResponse {
    let user = bulla.sessions().parts().users.find(&principal.user_id()).await;
    let mut answer = serde_json::json!({
        "id": principal.id(),
        "name": user.map(|user| user.map(|user| user.name).unwrap_or_default()).ok(),
        "sid": principal.sid().to_string(),
        "roles": principal.roles(),
        "claims": principal.claims(),
    });
    if let Some(grant) = principal.grant() {
        answer["client_id"] = grant.client.as_str().into();
        answer["scope"] = grant.scope.to_string().into();
    }
    HttpResponse::Ok().json(answer)
}

/// The query of the account page after a password change. The redirect to it keeps a reload from sending the password again.
const PASSWORD_CHANGED: &str = "password-changed";

/// `GET /auth/account`: the account page.
pub(crate) async fn page(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
) -> Result<HttpResponse, Problem> {
    let (row, user) = bulla.sessions().confirm(&principal).await?;
    let changed = request.query_string() == PASSWORD_CHANGED;
    let message = changed.then_some(pages::Message::PasswordChanged);
    show(&bulla, &row, &user, message).await
}

/// The account page, with a message at the top.
pub(crate) async fn show(
    bulla: &Bulla,
    row: &SessionRow,
    user: &User,
    message: Option<pages::Message<'_>>,
) -> Result<HttpResponse, Problem> {
    let store = &bulla.sessions().parts().store;
    let (sessions, now) = store.sessions(Some(&user.id), 100).await?;
    let identities = store.linked_identities(&user.id).await?;
    let lately = match &message {
        Some(pages::Message::PasswordChanged) => store.newly_linked(&user.id).await?,
        _ => Vec::new(),
    };
    // Users of an embedding program change their passwords there. Users who came from a provider may have no password.
    let has_password = bulla.0.installation.password.is_some()
        && store.user(&user.id).await?.is_some_and(|row| row.password_hash.is_some());
    let (sessions, identities) = (&sessions[..], &identities[..]);
    let (this, lately) = (row.sid, &lately[..]);
    let page = pages::Account { user, sessions, this, now, message, identities, lately, has_password };
    let html = bulla.0.pages.account(&page);
    Ok(match &page.message {
        Some(pages::Message::Error(problem)) => Answer::problem_page(problem, html).into(),
        Some(pages::Message::PasswordChanged) | None => Answer::page(html).into(),
    })
}

/// `GET /auth/sessions`: the devices of the caller.
pub(crate) async fn sessions(bulla: web::Data<Bulla>, principal: Principal) -> Result<HttpResponse, Problem> {
    let (rows, _) = bulla.sessions().parts().store.sessions(Some(&principal.user_id()), 100).await?;
    let rows: Vec<_> = rows.iter().map(|row| describe(row, Some(principal.sid()))).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({"sessions": rows})))
}

/// The description of a session. Contains no token or key.
pub(crate) fn describe(row: &SessionRow, this: Option<Sid>) -> serde_json::Value {
    let mut shown = row.to_json();
    if let Some(this) = this {
        shown["current"] = (row.sid == this).into();
    }
    shown
}

/// `DELETE /auth/sessions/{sid}`, and `POST …/end` for forms: ends a session of the caller. A session of another user is answered
/// like an unknown one: not found.
pub(crate) async fn end(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    sid: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (_, kind) = body::read::<serde_json::Map<String, serde_json::Value>>(&request, &body)?;
    let PresentedSession { row, user, .. } = match bulla.0.presented_session(&request, &principal).await {
        Err(problem) if kind == Kind::Form && problem.asks_for_a_login() => {
            return Ok(bulla.0.new_login_page(&principal, &problem).await.into());
        }
        shown => shown?,
    };
    let sid: Sid = sid.parse().map_err(|_| Problem::no_such_session())?;
    let event = AuditEvent::new(Event::SessionRevoked, &user.id, "").by(row.as_caller());
    if !bulla.sessions().end_own(&user.id, sid, event).await? {
        let problem = Problem::no_such_session();
        return match kind {
            // The session was ended elsewhere while the page was open.
            Kind::Form => show(&bulla, &row, &user, Some(pages::Message::Error(&problem))).await,
            Kind::Json => Err(problem),
        };
    }
    let mut response = match kind {
        Kind::Form => {
            body::see_other(&bulla.0.pages.at(if sid == row.sid { SIGNED_OUT } else { "/account" }))
        }
        Kind::Json => HttpResponse::NoContent().finish(),
    };
    if sid == row.sid {
        bulla.0.forget_cookies(&request, &mut response);
    }
    Ok(response)
}

#[derive(Deserialize)]
pub(crate) struct PasswordChangeBody {
    #[serde(default)]
    current: Option<SecretText>,
    new: SecretText,
}

/// `POST /auth/password`: changes the password, ends all sessions, and begins a new one for the caller.
pub(crate) async fn password(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    principal: Principal,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (input, kind) = body::read::<PasswordChangeBody>(&request, &body)?;
    let rule = bulla.0.installation.password.ok_or_else(Problem::not_found)?;
    let shown = match bulla.0.presented_session(&request, &principal).await {
        Err(problem) if kind == Kind::Form && problem.asks_for_a_login() => {
            return Ok(bulla.0.new_login_page(&principal, &problem).await.into());
        }
        shown => shown?,
    };
    match (change(&bulla, &request, &shown, rule, input).await, kind) {
        (Ok(issued), Kind::Json) => {
            let lately = bulla.sessions().parts().store.newly_linked(&shown.user.id).await?;
            let mut answer = bulla.0.token_answer(&issued);
            answer["recently_linked"] = lately.iter().map(LinkedIdentity::to_json).collect();
            Ok(bulla.0.with_cookies(HttpResponse::Ok().json(answer), &issued))
        }
        (Ok(issued), Kind::Form) => {
            let changed = bulla.0.pages.at(&format!("/account?{PASSWORD_CHANGED}"));
            Ok(bulla.0.with_cookies(body::see_other(&changed), &issued))
        }
        (Err(problem), Kind::Form) if problem.code() != "unauthorized" => {
            show(&bulla, &shown.row, &shown.user, Some(pages::Message::Error(&problem))).await
        }
        (Err(problem), _) => Err(problem),
    }
}

/// Changes the password. The write requires that the stored hash is still the one against which the current password was checked,
/// and that the caller's session is live.
async fn change(
    bulla: &Bulla,
    request: &HttpRequest,
    shown: &PresentedSession,
    rule: PasswordRule,
    input: PasswordChangeBody,
) -> Result<Issued, Problem> {
    let shared = &bulla.0;
    // HTTP Basic contains the current password, so the body need not repeat it.
    let verified = match (&input.current, shared.schemes.read(request)?) {
        (Some(current), _) => {
            shared
                .logins()
                .check_current_password(&shared.site.requester(request), &shown.user, current)
                .await?
        }
        (None, Authorization::Basic { password, .. }) => {
            shared
                .logins()
                .check_current_password(&shared.site.requester(request), &shown.user, &password)
                .await?
        }
        (None, _) => return Err(body::malformed()),
    };
    rule.check(&input.new)
        .map_err(|why| Problem::unprocessable(format!("The new password is not accepted: {why}.")))?;
    let hash = shared.installation.hasher.hash(&input.new).await.map_err(|error| match error {
        HashError::Busy => Problem::busy(),
        HashError::BadHash | HashError::Failed => Problem::unavailable(),
    })?;
    let device = shared.site.device(request);
    Ok(shared.sessions().change_password(&shown.user, &shown.row, verified, hash, device).await?)
}
