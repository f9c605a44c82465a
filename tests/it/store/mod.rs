//! The test suite that every store passes: SQLite, PostgreSQL, and PostgreSQL with SERIALIZABLE transactions. It shows that all
//! stores follow the same rules.

mod audit_filters;
mod clients;
mod feed;
mod identities;
mod lists;
mod moved_ends;
mod postgres;
mod proofs;
mod retention;
mod session_triggers;
mod sessions;
mod shell_statements;
mod sqlite;
mod user_and_client_triggers;
mod users;

use std::sync::Arc;

use bulla::internals::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::Digest,
    session::Denylist,
    store::{
        Actor, AuditEvent, Event, FollowHandle, NewSession, NewUser, SessionChange, SessionEnd, SessionRow,
        Store, StoreError, Transport, UserChange, UserRow, Written,
    },
};

use crate::support::installation::{Installation, device, new_session, secs};

/// A store, its database and clock, and a denylist that follows its feed.
struct Fixture {
    installation: Installation,
    store: Arc<dyn Store>,
    list: Arc<Denylist>,
    _following: FollowHandle,
}

fn event(name: &'static str) -> AuditEvent {
    AuditEvent::new(Event::read(name), Actor::read("tests"), "")
}

impl Fixture {
    async fn new() -> Self {
        let installation = Installation::new();
        let store = installation.store().await;
        let list = Arc::new(Denylist::default());
        let following = store.follow(list.clone()).await.unwrap();
        Self { installation, store, list, _following: following }
    }

    /// Opens the same database as another process does.
    async fn another(&self) -> Self {
        let store = self.installation.store().await;
        let list = Arc::new(Denylist::default());
        let following = store.follow(list.clone()).await.unwrap();
        Self { installation: self.installation.clone(), store, list, _following: following }
    }

    async fn user(&self, name: &str) -> UserRow {
        self.user_with(name, &[]).await
    }

    async fn user_with(&self, name: &str, roles: &[&str]) -> UserRow {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let new = NewUser { name: name.into(), roles, ..NewUser::default() };
        self.store.add_user(new, event("user.added")).await.unwrap()
    }

    async fn begin(&self, user: &UserId) -> SessionRow {
        self.begin_as(new_session(user), 20).await
    }

    async fn begin_as(&self, new: NewSession, cap: u32) -> SessionRow {
        self.store.begin_session(new, cap, event("login")).await.unwrap().expect("an enabled user")
    }

    async fn row(&self, sid: Sid) -> Option<SessionRow> {
        self.store.session(sid).await.unwrap().0
    }

    async fn now(&self) -> Timestamp {
        self.store.now().await.unwrap()
    }

    async fn rotate(&self, judged: &SessionRow) -> Result<Written, StoreError> {
        let change =
            SessionChange::Rotate { to: judged.generation + 1, idle: secs(1800), now: self.now().await };
        self.store.change_session(judged, change, None).await
    }

    async fn change(&self, id: &UserId, change: UserChange) -> Result<Option<UserRow>, StoreError> {
        self.store.change_user(id, change, event("user.changed")).await
    }

    async fn live(&self, user: &UserId) -> Vec<Sid> {
        self.store.sessions(Some(user), 1000).await.unwrap().0.into_iter().map(|row| row.sid).collect()
    }

    async fn events(&self, name: &str) -> Vec<bulla::internals::store::AuditRow> {
        let all = self.store.audit(None, 10_000).await.unwrap();
        all.into_iter().filter(|row| row.event == name).collect()
    }

    /// Sets the end of a session to `then`, as if time had passed. The change by hand is recorded as a revocation, so this
    /// deletes the revocation.
    fn idle_since(&self, sid: Sid, then: i64) {
        self.installation.shell().run(&format!(
            "UPDATE sessions SET idle_expires_at = {then} WHERE sid = '{sid}';
             DELETE FROM revocations WHERE target = '{sid}'"
        ));
    }

    /// The targets in the revocations table, in the order of their numbers.
    fn revoked(&self) -> Vec<String> {
        let rows = self.installation.shell().run("SELECT target FROM revocations ORDER BY seq");
        rows.into_iter().flatten().collect()
    }

    /// Whether the feed delivers the revocation within a second, as it guarantees.
    async fn hears(&self, sid: Sid) -> bool {
        crate::support::server::eventually("the feed hears of it", || async { self.list.denies(sid) }).await
            < secs(1)
    }
}

/// Removes the checks, as in a database from an earlier version or one where a person has dropped them.
fn without_checks(shell: &crate::support::stores::Shell) {
    let names = match crate::support::stores::kind() {
        crate::support::stores::Kind::Sqlite => shell.run(
            "SELECT 'DROP TRIGGER ' || name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%unreadable'",
        ),
        _ => shell.run(
            "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
             WHERE contype = 'c' AND NOT convalidated OR conname LIKE '% must be %'",
        ),
    };
    for drop in names.iter().flatten() {
        shell.run(drop);
    }
}

fn disabled(disabled: bool) -> UserChange {
    UserChange { disabled: Some(disabled), ..UserChange::default() }
}

fn roles(roles: &[&str]) -> UserChange {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    UserChange { roles: Some(roles), ..UserChange::default() }
}
