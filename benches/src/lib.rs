//! Shared by the benchmarks: prints a table, and begins a session.

pub mod table;

use bulla::internals::{
    http::Bulla,
    store::{Actor, AuditEvent, Device, Event, NewUser, Transport, User},
};

/// Begins a session for a user with two roles and returns its access cookie.
pub async fn access_cookie(bulla: &Bulla) -> String {
    let roles = vec!["reader".to_owned(), "editor".to_owned()];
    let claims = serde_json::Map::new();
    let new = NewUser {
        name: "ada".to_owned(),
        roles: roles.clone(),
        claims: claims.clone(),
        ..NewUser::default()
    };
    let store = &bulla.sessions().parts().store;
    let row = store
        .add_user(new, AuditEvent::new(Event::UserAdded, Actor::read("bench"), "ada"))
        .await
        .expect("a user");
    let user = User { id: row.id, name: row.name, roles, claims };
    let device = Device { user_agent: "bench".to_owned(), ip: "127.0.0.1".to_owned() };
    let issued = bulla.sessions().begin(&user, Transport::Cookie, device, None).await.expect("a session");
    format!("__Host-Http-bulla-access={}", issued.access.as_str())
}

/// The median of an odd number of figures.
pub fn median(runs: &[f64]) -> f64 {
    let mut runs = runs.to_vec();
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}
