//! The `/admin/clients` routes: the programs that may request tokens. A secret is shown only once, when it is created.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    http::{
        Bulla, Problem,
        routes::{administrator::Administrator, body},
    },
    ids::ClientId,
    oauth::registration::{self, Registration, describe},
    store::{ClientChange, Event, NewSecret, Store},
    token::Object,
};

/// The number of rows of one page.
const PAGE: u32 = 100;
/// How long the previous secret remains valid by default, in seconds.
const OVERLAP: f64 = 86_400.0;
/// The longest time for which the previous secret can remain valid, in seconds.
const MOST_OVERLAP: f64 = 30.0 * OVERLAP;

fn client_id(text: &str) -> Result<ClientId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

fn store(bulla: &Bulla) -> &dyn Store {
    &*bulla.sessions().parts().store
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    after: Option<String>,
}

/// `GET /admin/clients?after=`
pub(crate) async fn list(
    bulla: web::Data<Bulla>,
    _: Administrator,
    query: web::Query<After>,
) -> Result<HttpResponse, Problem> {
    let after = query.after.as_deref().map(client_id).transpose()?;
    let rows = store(&bulla).clients(after.as_ref(), PAGE).await?;
    let rows: Vec<_> = rows.iter().map(describe).collect();
    Ok(HttpResponse::Ok().json(json!({"clients": rows})))
}

/// `POST /admin/clients`
pub(crate) async fn add(
    bulla: web::Data<Bulla>,
    by: Administrator,
    input: web::Json<Object<Registration>>,
) -> Result<HttpResponse, Problem> {
    let (new, secret) =
        input.into_inner().0.client().map_err(|bad| Problem::unprocessable(bad.to_string()))?;
    let event = by.event(Event::ClientAdded);
    let row = store(&bulla).add_client(new, event).await?;
    let mut shown = describe(&row);
    if let Some(secret) = secret {
        shown["client_secret"] = secret.expose().into();
    }
    Ok(HttpResponse::Created().json(shown))
}

/// `GET /admin/clients/{id}`
pub(crate) async fn show(
    bulla: web::Data<Bulla>,
    _: Administrator,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (row, _) = store(&bulla).client(&client_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(describe(&row.ok_or_else(Problem::not_found)?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientChangeBody {
    scopes: Option<Vec<String>>,
    audiences: Option<Vec<String>>,
    redirect_uris: Option<Vec<String>>,
    jwks: Option<Value>,
    disabled: Option<bool>,
}

/// `PATCH /admin/clients/{id}`
pub(crate) async fn change(
    bulla: web::Data<Bulla>,
    by: Administrator,
    id: web::Path<String>,
    input: web::Json<Object<ClientChangeBody>>,
) -> Result<HttpResponse, Problem> {
    let Object(ClientChangeBody { scopes, audiences, redirect_uris, jwks, disabled }) = input.into_inner();
    let bad = |bad: registration::BadClient| Problem::unprocessable(bad.to_string());
    let change = ClientChange {
        scopes: scopes.map(registration::scopes).transpose().map_err(bad)?,
        audiences: audiences.map(registration::audiences).transpose().map_err(bad)?,
        redirect_uris: redirect_uris.map(registration::redirect_uris).transpose().map_err(bad)?,
        jwks: jwks.map(registration::jwks).transpose().map_err(bad)?,
        disabled,
        secret: None,
    };
    let event = match disabled {
        Some(true) => Event::ClientDisabled,
        Some(false) => Event::ClientEnabled,
        None => Event::ClientChanged,
    };
    let event = by.event(event);
    let row = store(&bulla).change_client(&client_id(&id)?, change, event).await?;
    Ok(HttpResponse::Ok().json(describe(&row.ok_or_else(Problem::not_found)?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    /// How long the previous secret remains valid, in seconds.
    overlap: Option<f64>,
}

/// `POST /admin/clients/{id}/secret`: creates a new secret. The previous one remains valid for a while.
pub(crate) async fn rotate(
    bulla: web::Data<Bulla>,
    by: Administrator,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let (input, _) = body::read::<Rotate>(&request, &body)?;
    let overlap = input.overlap.unwrap_or(OVERLAP);
    if !(0.0..=MOST_OVERLAP).contains(&overlap) {
        return Err(Problem::unprocessable("overlap must be from 0 to 2592000 seconds (30 days)."));
    }
    let (secret, hash) = registration::generate_secret().map_err(|_| Problem::unavailable())?;
    let change = ClientChange {
        secret: Some(NewSecret { hash, overlap: Duration::from_secs_f64(overlap) }),
        ..ClientChange::default()
    };
    let event = by.event(Event::ClientSecret).with(json!({ "overlap": overlap }));
    let row = store(&bulla).change_client(&client_id(&id)?, change, event).await?;
    let mut shown = describe(&row.ok_or_else(Problem::not_found)?);
    shown["client_secret"] = secret.expose().into();
    Ok(HttpResponse::Ok().json(shown))
}

/// `DELETE /admin/clients/{id}`
pub(crate) async fn delete(
    bulla: web::Data<Bulla>,
    by: Administrator,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let event = by.event(Event::ClientDeleted);
    match store(&bulla).delete_client(&client_id(&id)?, event).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(Problem::not_found()),
    }
}
