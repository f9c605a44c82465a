//! The `/admin` routes for users, sessions, revocations and keys (read only). `admin_lists` has the lists of users and sessions,
//! `audit` the audit log.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::{
    http::{Bulla, Problem, routes::administrator::Administrator},
    ids::{Sid, UserId},
    secret::SecretText,
    session::check_size,
    store::{Event, NAME_RULE, NewUser, SessionEnd, UserChange, UserRow, is_good_name},
    token::Object,
};

fn user_id(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

fn not_accepted(why: String) -> Problem {
    Problem::unprocessable(format!("The user is not accepted: {why}."))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Add {
    name: String,
    password: Option<SecretText>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    claims: serde_json::Map<String, serde_json::Value>,
}

/// `POST /admin/users`
pub(crate) async fn add_user(
    bulla: web::Data<Bulla>,
    by: Administrator,
    input: web::Json<Object<Add>>,
) -> Result<HttpResponse, Problem> {
    let Object(input) = input.into_inner();
    if !is_good_name(&input.name) {
        return Err(Problem::unprocessable(format!("The name is not accepted: {NAME_RULE}.")));
    }
    check_size(&input.roles, &input.claims).map_err(not_accepted)?;
    let password_hash = match &input.password {
        Some(password) => {
            let rule = bulla.0.installation.password.ok_or_else(Problem::not_found)?;
            rule.check(password)
                .map_err(|why| Problem::unprocessable(format!("The password is not accepted: {why}.")))?;
            Some(bulla.hasher().hash(password).await.map_err(|_| Problem::busy())?)
        }
        None => None,
    };
    let user = NewUser {
        name: input.name,
        password_hash,
        roles: input.roles,
        claims: input.claims,
        ..NewUser::default()
    };
    let event = by.event(Event::UserAdded);
    let row = bulla.sessions().parts().store.add_user(user, event).await?;
    Ok(HttpResponse::Created().json(row.to_json()))
}

/// `GET /admin/users/{id}`
pub(crate) async fn user(
    bulla: web::Data<Bulla>,
    _: Administrator,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let row = bulla.sessions().parts().store.user(&user_id(&id)?).await?.ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().json(row.to_json()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChangeBody {
    roles: Option<Vec<String>>,
    claims: Option<serde_json::Map<String, serde_json::Value>>,
    disabled: Option<bool>,
}

/// `PATCH /admin/users/{id}`: changes roles, claims or `disabled`.
pub(crate) async fn change_user(
    bulla: web::Data<Bulla>,
    by: Administrator,
    id: web::Path<String>,
    input: web::Json<Object<UserChangeBody>>,
) -> Result<HttpResponse, Problem> {
    let Object(UserChangeBody { roles, claims, disabled }) = input.into_inner();
    if let Some(claims) = &claims {
        check_size(roles.as_deref().unwrap_or_default(), claims).map_err(not_accepted)?;
    }
    let event = match disabled {
        Some(true) => Event::UserDisabled,
        Some(false) => Event::UserEnabled,
        None => Event::UserChanged,
    };
    let event = by.event(event);
    let change = UserChange { roles, claims, disabled, ..UserChange::default() };
    let row = bulla.sessions().parts().store.change_user(&user_id(&id)?, change, event).await?;
    Ok(HttpResponse::Ok().json(UserRow::to_json(&row.ok_or_else(Problem::not_found)?)))
}

/// `DELETE /admin/users/{id}`
pub(crate) async fn delete_user(
    bulla: web::Data<Bulla>,
    by: Administrator,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let event = by.event(Event::UserDeleted);
    match bulla.sessions().parts().store.delete_user(&user_id(&id)?, event).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(Problem::not_found()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    user: Option<String>,
}

/// `DELETE /admin/sessions/{sid}`
pub(crate) async fn end_session(
    bulla: web::Data<Bulla>,
    by: Administrator,
    sid: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let sid: Sid = sid.parse().map_err(|_| Problem::not_found())?;
    match bulla.sessions().end(sid, by.event(Event::SessionRevoked)).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(Problem::not_found()),
    }
}

/// `DELETE /admin/sessions?user=`: ends all sessions of a user or, without `user`, of all users. An unknown parameter is refused,
/// because a misspelt `user` must not end the sessions of all users.
pub(crate) async fn end_sessions(
    bulla: web::Data<Bulla>,
    by: Administrator,
    query: web::Query<Whose>,
) -> Result<HttpResponse, Problem> {
    let which = match &query.user {
        Some(user) => SessionEnd::AllOfUser(user_id(user)?),
        None => SessionEnd::All,
    };
    let event = by.event(Event::SessionRevoked);
    let ended = bulla.sessions().parts().store.end_sessions(which, event).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({"ended": ended.len()})))
}

/// `GET /admin/revocations`
pub(crate) async fn revocations(bulla: web::Data<Bulla>, _: Administrator) -> Result<HttpResponse, Problem> {
    let rows = bulla.sessions().parts().store.revocations().await?;
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "seq": row.seq, "target": row.target.to_string(), "revoked_at": row.revoked_at, "expires_at": row.expires_at,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({"revocations": rows})))
}

/// `GET /admin/keys`: the kids and states of the keys, never a key.
pub(crate) async fn keys(bulla: web::Data<Bulla>, _: Administrator) -> Result<HttpResponse, Problem> {
    let mut shown = bulla.sessions().parts().tokens.ring().to_json();
    shown["good"] = bulla.ring_is_good().into();
    Ok(HttpResponse::Ok().json(shown))
}
