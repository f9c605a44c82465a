//! The store on PostgreSQL, shared by any number of nodes (docs/architecture.md). It changes single rows by conditional
//! statements, and sends many rotations in one statement. Triggers write the revocations, and a feed delivers each of them to
//! every node.
//!
//! No code here relies on a strict isolation level. Locks and conditions prevent the anomalies that READ COMMITTED allows, and a
//! transaction that a stricter level aborts is repeated. All times are the database's, from its function `bulla_now()`.

mod audit;
mod bad;
mod callers;
mod clients;
mod clock_mark;
mod connect;
mod failure;
mod feeds;
mod fitness;
mod guards;
mod home;
mod identities;
mod import;
mod look;
mod mend;
mod migrate;
mod nodes;
mod parameters;
mod passfile;
mod pool;
mod revocations;
mod rotations;
mod sessions;
mod sweep;
mod tls;
mod url;
mod users;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::FutureExt as _;

pub(super) use self::import::{Import, Target};
pub use self::url::PostgresUrl;
use self::{
    connect::Connector,
    feeds::Feeds,
    home::Home,
    pool::{LONG_PATIENCE, Pool},
    rotations::Rotations,
};
use super::{
    AuditEvent, AuditRow, BadRow, ClientChange, ClientRow, ClockMark, Device, Feed, FollowHandle, Found,
    Identity, LinkedIdentity, NewClient, NewSession, NewUser, NodeRow, Revocation, SessionChange, SessionEnd,
    SessionRow, Store, StoreError, UserChange, UserRow, Written, names,
};
use crate::{
    clock::Timestamp,
    ids::{ClientId, Sid, UserId},
    secret::SecretText,
};

/// Options for the use of a database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The largest number of connections, without the feed's.
    pub connections: usize,
    /// The largest number of rotations in one statement. With 1, each rotation is a separate statement on a separate connection.
    pub rotations_together: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 16, rotations_together: 1024 }
    }
}

/// A PostgreSQL database of Bulla.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Arc<Pool>,
    rotations: Option<Rotations>,
    feeds: Arc<Feeds>,
    connector: Connector,
    home: Home,
}

impl PostgresStore {
    /// Connects and migrates the schema.
    ///
    /// # Errors
    ///
    /// Fails if the schema is newer than this program, or if the server is older than PostgreSQL 14.
    pub async fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        Self::open_with(url, Options::default()).await
    }

    /// Like [`Self::open`], with options.
    pub async fn open_with(url: &PostgresUrl, options: Options) -> Result<Self, StoreError> {
        let home = Home::start()?;
        let connector = Connector::new(url.target()?, home.handle());
        migrate::bring_up_to_date(&connector).await?;
        let feeds = Arc::new(Feeds::default());
        let pool = Arc::new(Pool::new(connector.clone(), options.connections, Arc::clone(&feeds))?);
        let together = options.rotations_together;
        let rotations = (together > 1).then(|| Rotations::start(Arc::clone(&pool), home.handle(), together));
        Ok(Self { pool, rotations, feeds, connector, home })
    }

    /// Whether the database contains Bulla's tables.
    pub async fn exists(url: &PostgresUrl) -> Result<bool, StoreError> {
        let home = Home::start()?;
        migrate::exists(&Connector::new(url.target()?, home.handle())).await
    }
}

impl PostgresStore {
    /// Examines the database: its kind and its condition. Writes nothing.
    pub(super) async fn look(url: &PostgresUrl) -> Result<Found, StoreError> {
        let home = Home::start()?;
        look::look(Connector::new(url.target()?, home.handle())).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        sessions::now(&self.pool).await
    }

    async fn session(&self, sid: Sid) -> Result<(Option<SessionRow>, Timestamp), StoreError> {
        sessions::one(&self.pool, sid).await
    }

    async fn session_and_user(
        &self,
        sid: Sid,
    ) -> Result<(Option<(SessionRow, Option<UserRow>)>, Timestamp), StoreError> {
        sessions::with_user(&self.pool, sid).await
    }

    async fn begin_session(
        &self,
        new: NewSession,
        cap: u32,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        self.pool.transaction(None, |t| sessions::begin(t, new.clone(), cap, event.clone()).boxed()).await
    }

    async fn change_session(
        &self,
        judged: &SessionRow,
        change: SessionChange,
        event: Option<AuditEvent>,
    ) -> Result<Written, StoreError> {
        match (&self.rotations, change, &event) {
            (Some(rotations), SessionChange::Rotate { .. }, None) => {
                rotations.rotate(judged.clone(), change).await
            }
            _ => sessions::change(&self.pool, judged, change, event.as_ref()).await,
        }
    }

    async fn move_session(
        &self,
        judged: &SessionRow,
        device: &Device,
        event: AuditEvent,
    ) -> Result<Written, StoreError> {
        sessions::relocate(&self.pool, judged, device, &event).await
    }

    async fn delete_judged(&self, judged: &SessionRow, event: AuditEvent) -> Result<Written, StoreError> {
        self.pool
            .transaction(None, |t| sessions::delete_judged(t, judged.clone(), event.clone()).boxed())
            .await
    }

    async fn end_sessions(&self, which: SessionEnd, event: AuditEvent) -> Result<Vec<Sid>, StoreError> {
        let longer = (which == SessionEnd::Everyones).then_some(LONG_PATIENCE);
        self.pool.transaction(longer, |t| sessions::end(t, which.clone(), event.clone()).boxed()).await
    }

    async fn sessions(
        &self,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<(Vec<SessionRow>, Timestamp), StoreError> {
        sessions::live(&self.pool, user, limit).await
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserRow>, StoreError> {
        users::one(&self.pool, id).await
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>, StoreError> {
        users::by_name(&self.pool, name).await
    }

    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserRow>, StoreError> {
        users::page(&self.pool, after, limit).await
    }

    async fn add_user(&self, user: NewUser, event: AuditEvent) -> Result<UserRow, StoreError> {
        names::check(&user.name)?;
        self.pool.transaction(None, |t| users::add(t, user.clone(), event.clone()).boxed()).await
    }

    async fn change_user(
        &self,
        id: &UserId,
        change: UserChange,
        event: AuditEvent,
    ) -> Result<Option<UserRow>, StoreError> {
        self.pool
            .transaction(None, |t| users::change(t, id.clone(), change.clone(), event.clone()).boxed())
            .await
    }

    async fn change_password(
        &self,
        id: &UserId,
        password_hash: String,
        next: Option<NewSession>,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        self.pool
            .transaction(None, |t| {
                users::change_password(t, id.clone(), password_hash.clone(), next.clone(), event.clone())
                    .boxed()
            })
            .await
    }

    async fn rehash_password(&self, id: &UserId, was: &str, now: String) -> Result<bool, StoreError> {
        users::rehash(&self.pool, id, was, &now).await
    }

    async fn delete_user(&self, id: &UserId, event: AuditEvent) -> Result<bool, StoreError> {
        self.pool.transaction(None, |t| users::delete(t, id.clone(), event.clone()).boxed()).await
    }

    async fn client(&self, id: &ClientId) -> Result<(Option<ClientRow>, Timestamp), StoreError> {
        clients::one(&self.pool, id).await
    }

    async fn clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<ClientRow>, StoreError> {
        clients::page(&self.pool, after, limit).await
    }

    async fn add_client(&self, client: NewClient, event: AuditEvent) -> Result<ClientRow, StoreError> {
        self.pool.transaction(None, |t| clients::add(t, client.clone(), event.clone()).boxed()).await
    }

    async fn change_client(
        &self,
        id: &ClientId,
        change: ClientChange,
        event: AuditEvent,
    ) -> Result<Option<ClientRow>, StoreError> {
        self.pool
            .transaction(None, |t| clients::change(t, id.clone(), change.clone(), event.clone()).boxed())
            .await
    }

    async fn delete_client(&self, id: &ClientId, event: AuditEvent) -> Result<bool, StoreError> {
        self.pool.transaction(None, |t| clients::delete(t, id.clone(), event.clone()).boxed()).await
    }

    async fn issue_to_client(
        &self,
        judged: &ClientRow,
        event: AuditEvent,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.pool.transaction(None, |t| clients::issue(t, judged.clone(), event.clone()).boxed()).await
    }

    async fn revoke(
        &self,
        target: super::Target,
        until: Timestamp,
        event: AuditEvent,
    ) -> Result<bool, StoreError> {
        self.pool
            .transaction(None, |t| clients::revoke(t, target.clone(), until, event.clone()).boxed())
            .await
    }

    async fn identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError> {
        identities::owner(&self.pool, identity).await
    }

    async fn linked_identities(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        identities::of_user(&self.pool, user).await
    }

    async fn note_proof(
        &self,
        sid: Sid,
        user: &UserId,
        password_hash: Option<SecretText>,
    ) -> Result<bool, StoreError> {
        sessions::note_proof(&self.pool, sid, user, password_hash.as_ref().map(SecretText::expose)).await
    }

    async fn link(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<(), StoreError> {
        self.pool
            .transaction(None, |t| identities::link(t, user.clone(), identity.clone(), event.clone()).boxed())
            .await
    }

    async fn unlink(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<bool, StoreError> {
        self.pool
            .transaction(None, |t| {
                identities::unlink(t, user.clone(), identity.clone(), event.clone()).boxed()
            })
            .await
    }

    async fn spend(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<bool, StoreError> {
        identities::spend(&self.pool, &hash, expires_at).await
    }

    async fn is_spent(&self, hash: [u8; 32]) -> Result<bool, StoreError> {
        identities::is_spent(&self.pool, &hash).await
    }

    async fn record(&self, event: AuditEvent) -> Result<(), StoreError> {
        audit::record(&self.pool, &event).await
    }

    async fn audit(&self, after: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        audit::read(&self.pool, after, limit).await
    }

    async fn login_addresses(
        &self,
        user: &UserId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        audit::login_addresses(&self.pool, user, since, limit).await
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        revocations::in_force(&self.pool).await
    }

    async fn follow(&self, feed: Arc<dyn Feed>) -> Result<FollowHandle, StoreError> {
        self.feeds.follow(feed, self.connector.clone(), self.home.handle()).await
    }

    async fn sweep(&self, keep: Duration, audit_keep: Duration) -> Result<u64, StoreError> {
        sweep::sweep(&self.pool, keep, audit_keep).await
    }

    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        nodes::ring_mark(&self.pool).await
    }

    async fn note_ring(&self, generation: u64, fingerprint: [u8; 32]) -> Result<(), StoreError> {
        nodes::note_ring(&self.pool, generation, fingerprint).await
    }

    async fn report_node(&self, name: &str, ring_generation: u64, version: &str) -> Result<(), StoreError> {
        nodes::report(&self.pool, name, ring_generation, version).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        nodes::live(&self.pool).await
    }

    async fn missing_triggers(&self) -> Result<Vec<String>, StoreError> {
        guards::missing(&self.pool).await
    }

    async fn restore_triggers(&self) -> Result<Vec<String>, StoreError> {
        let wrong = guards::missing(&self.pool).await?;
        if !wrong.is_empty() {
            guards::restore(&self.connector).await?;
        }
        Ok(wrong)
    }

    async fn clock_mark(&self) -> Result<(Option<ClockMark>, Timestamp), StoreError> {
        clock_mark::read(&self.pool).await
    }

    async fn note_clock(&self, was: Option<ClockMark>, mark: ClockMark) -> Result<Written, StoreError> {
        clock_mark::write(&self.pool, was, mark).await
    }

    async fn bad_rows(&self) -> Result<Vec<BadRow>, StoreError> {
        bad::rows(&self.pool).await
    }

    /// Does not write: a database with a full disk still serves requests that only read.
    async fn healthy(&self) -> Result<(), StoreError> {
        let rows = self.pool.rows("SELECT current_setting('transaction_read_only')", &[]).await?;
        let writable = rows.first().is_some_and(|row| row.try_get(0).is_ok_and(|only: &str| only == "off"));
        if !writable {
            return Err(StoreError::Unavailable("the database takes no writes".into()));
        }
        self.pool.check_sessions().await
    }
}
