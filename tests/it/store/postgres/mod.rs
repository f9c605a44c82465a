//! Tests of behavior that only PostgreSQL has: commits out of order, connections that break or stop answering, many nodes that
//! start at the same time, TLS, and passwords from files.

mod audit;
mod connecting;
mod feed;
mod identities;
mod isolation;
mod nodes;
mod outages;
mod start;

use std::{sync::Arc, time::Duration};

use bulla::internals::{
    ids::{Sid, UserId},
    session::Denylist,
    store::{
        Actor, AuditEvent, Event, NewSession, SessionChange, SessionEnd, SessionRow, Store, StoreError,
        Written,
        postgres::{PostgresStore, PostgresUrl},
    },
};

use crate::support::{
    cluster::{self, Created},
    installation::{self, secs},
    server::eventually,
};

/// Creates a new database on the shared server; returns `None` if there is no server.
fn database() -> Option<Created> {
    Some(cluster::shared()?.create())
}

async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(PostgresStore::open(&PostgresUrl::new(url)).await?))
}

fn user() -> UserId {
    UserId::new("crew-1").unwrap()
}

async fn begin(store: &Arc<dyn Store>) -> SessionRow {
    let login = AuditEvent::new(Event::Login, Actor::read("tests"), "");
    store.begin_session(new_session(), 1000, login).await.unwrap().unwrap()
}

fn new_session() -> NewSession {
    installation::new_session(&user())
}

async fn end(store: &Arc<dyn Store>, sid: Sid) -> Result<Vec<Sid>, StoreError> {
    store.end_sessions(SessionEnd::One(sid), AuditEvent::new(Event::Logout, Actor::read("tests"), "")).await
}

async fn rotate(store: &Arc<dyn Store>, row: &SessionRow) -> Result<Written, StoreError> {
    let now = row.rotated_at.plus(secs(60));
    let change = SessionChange::Rotate { to: row.generation + 1, idle: secs(1800), now };
    store.change_session(row, change, None).await
}

async fn hears(list: &Denylist, sid: Sid) -> Duration {
    eventually("the feed hears of it", || async { list.denies(sid) }).await
}

fn unavailable<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}
