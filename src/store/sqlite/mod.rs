//! The store on SQLite, inside the program. One writer thread commits queued changes in groups; several threads read
//! (docs/architecture.md).

mod audit;
mod bad;
mod callers;
mod checkpoint;
mod clients;
mod clock_mark;
mod export;
mod feeds;
mod guards;
mod identities;
mod look;
mod nodes;
mod open;
mod readers;
mod sessions;
mod state;
mod users;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

pub(super) use self::export::export;
use self::{
    checkpoint::Checkpointer,
    feeds::Feeds,
    readers::Readers,
    state::State,
    writer::{
        Statements::{One, Several},
        Writer,
    },
};
use super::{
    AuditEvent, AuditRow, BadRow, ClientChange, ClientRow, ClockMark, Device, Feed, FollowHandle, Identity,
    LinkedIdentity, NewClient, NewSession, NewUser, NodeRow, Revocation, SessionChange, SessionEnd,
    SessionRow, Store, StoreError, Target, UserChange, UserRow, Written, look::Found, names,
};
use crate::{
    clock::{Clock, Timestamp},
    ids::{ClientId, Sid, UserId},
    secret::SecretText,
};

/// How many rows of a table one step of a sweep deletes, so that other writers do not wait long.
const SWEEP_STEP: u32 = 500;

/// Options for opening a database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The largest number of changes in one transaction. With 1, each change is a separate transaction.
    pub group_commit_max: usize,
    /// Whether the file's group may read the database.
    pub allow_group_read: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { group_commit_max: 1024, allow_group_read: false }
    }
}

/// A SQLite database of Bulla.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    writer: Writer,
    readers: Readers,
    feeds: Arc<Feeds>,
    state: Arc<State>,
    _checkpointer: Checkpointer,
}

impl SqliteStore {
    /// Opens the database, creates it if it is missing, migrates it, and starts the threads.
    ///
    /// # Errors
    ///
    /// Fails if the schema is newer than this program, or if SQLite is older than 3.51.3.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::open_with(path, clock, Options::default())
    }

    /// Like [`Self::open`], with options.
    pub fn open_with(path: &Path, clock: Arc<dyn Clock>, options: Options) -> Result<Self, StoreError> {
        let connection = open::open_and_migrate(path, options.allow_group_read)?;
        let state = Arc::new(State::of(path)?);
        let feeds = Arc::new(Feeds::default());
        let (turn, group) = (Arc::default(), options.group_commit_max);
        Ok(Self {
            path: path.to_owned(),
            writer: Writer::start(
                connection,
                Arc::clone(&clock),
                Arc::clone(&feeds),
                Arc::clone(&state),
                Arc::clone(&turn),
                group,
            )?,
            readers: Readers::open(path, Arc::clone(&state))?,
            _checkpointer: Checkpointer::start(path, Arc::clone(&state), turn)?,
            clock,
            feeds,
            state,
        })
    }

    /// Whether the file contains Bulla's tables. Writes nothing.
    pub(super) fn exists(path: &Path) -> Result<bool, StoreError> {
        look::is_ours(path)
    }

    /// Examines the file: its kind and its condition. Writes nothing.
    pub(super) fn look(path: &Path, clock: &dyn Clock) -> Result<Found, StoreError> {
        look::look(path, clock)
    }

    /// Returns how many transactions the writer has committed. Many changes share one transaction.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Makes a change that has an event, if the event's caller still has the right to make it.
    async fn write_as<T: Send + 'static>(
        &self,
        event: AuditEvent,
        change: impl FnOnce(&Connection, &AuditEvent, Timestamp) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let checked = move |c: &Connection, now| {
            callers::check(c, &event, now)?;
            change(c, &event, now)
        };
        self.writer.write(Several, checked).await
    }
}

impl From<rusqlite::Error> for StoreError {
    /// SQLite's error messages contain no values of rows.
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let extended = error.sqlite_error().map(|e| e.extended_code);
        let sync = [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC];
        if extended.is_some_and(|e| sync.contains(&e)) {
            tracing::error!(%error, "the database could not be synced to disk");
            return Self::Broken;
        }
        match code {
            Some(ErrorCode::ConstraintViolation) => Self::Conflict("a row with this name exists".into()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Unavailable("another process holds the database's lock".into())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

fn fingerprint_row(connection: &Connection) -> Result<Option<(u64, [u8; 32])>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT generation, fingerprint FROM ring")?;
    Ok(statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

#[async_trait]
impl Store for SqliteStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.state.check()?;
        Ok(self.clock.now())
    }

    async fn session(&self, sid: Sid) -> Result<(Option<SessionRow>, Timestamp), StoreError> {
        let clock = Arc::clone(&self.clock);
        self.readers.read(move |c| Ok((sessions::one(c, sid)?, clock.now()))).await
    }

    async fn session_and_user(
        &self,
        sid: Sid,
    ) -> Result<(Option<(SessionRow, Option<UserRow>)>, Timestamp), StoreError> {
        let clock = Arc::clone(&self.clock);
        self.readers.read(move |c| Ok((sessions::with_user(c, sid)?, clock.now()))).await
    }

    async fn begin_session(
        &self,
        new: NewSession,
        cap: u32,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        self.writer.write(Several, move |c, now| sessions::begin(c, &new, cap, &event, now)).await
    }

    async fn change_session(
        &self,
        judged: &SessionRow,
        change: SessionChange,
        event: Option<AuditEvent>,
    ) -> Result<Written, StoreError> {
        let judged = judged.clone();
        let Some(event) = event else {
            return self.writer.write(One, move |c, _| sessions::change(c, &judged, change)).await;
        };
        let change = move |c: &Connection, now| {
            let written = sessions::change(c, &judged, change)?;
            if written == Written::Applied {
                audit::write(c, &event, now)?;
            }
            Ok(written)
        };
        self.writer.write(Several, change).await
    }

    async fn move_session(
        &self,
        judged: &SessionRow,
        device: &Device,
        event: AuditEvent,
    ) -> Result<Written, StoreError> {
        let (judged, device) = (judged.clone(), device.clone());
        let change = move |c: &Connection, now| {
            let written = sessions::relocate(c, &judged, &device)?;
            if written == Written::Applied {
                audit::write(c, &event, now)?;
            }
            Ok(written)
        };
        self.writer.write(Several, change).await
    }

    async fn delete_judged(&self, judged: &SessionRow, event: AuditEvent) -> Result<Written, StoreError> {
        let judged = judged.clone();
        let change = move |c: &Connection, now| {
            let written = sessions::delete_judged(c, &judged)?;
            if written == Written::Applied {
                audit::write(c, &event, now)?;
            }
            Ok(written)
        };
        self.writer.write(Several, change).await
    }

    async fn end_sessions(&self, which: SessionEnd, event: AuditEvent) -> Result<Vec<Sid>, StoreError> {
        self.write_as(event, move |c, event, now| sessions::end(c, &which, event, now)).await
    }

    async fn sessions(
        &self,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<(Vec<SessionRow>, Timestamp), StoreError> {
        let (user, now) = (user.cloned(), self.clock.now());
        self.readers.read(move |c| Ok((sessions::live(c, user.as_ref(), now, limit)?, now))).await
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserRow>, StoreError> {
        let id = id.clone();
        self.readers.read(move |c| users::one(c, &id)).await
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>, StoreError> {
        let spellings = names::spellings(name);
        let rows = self.readers.read(move |c| users::spelled(c, spellings)).await?;
        Ok(names::pick(rows, name))
    }

    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserRow>, StoreError> {
        let after = after.cloned();
        self.readers.read(move |c| users::page(c, after.as_ref(), limit)).await
    }

    async fn add_user(&self, user: NewUser, event: AuditEvent) -> Result<UserRow, StoreError> {
        self.write_as(event, move |c, event, now| users::add(c, &user, event, now)).await
    }

    async fn change_user(
        &self,
        id: &UserId,
        change: UserChange,
        event: AuditEvent,
    ) -> Result<Option<UserRow>, StoreError> {
        let id = id.clone();
        self.write_as(event, move |c, event, now| users::change(c, &id, &change, event, now)).await
    }

    async fn change_password(
        &self,
        id: &UserId,
        password_hash: String,
        next: Option<NewSession>,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        let id = id.clone();
        let change = move |c: &Connection, event: &AuditEvent, now| {
            users::change_password(c, &id, &password_hash, next.as_ref(), event, now)
        };
        self.write_as(event, change).await
    }

    async fn rehash_password(&self, id: &UserId, was: &str, now: String) -> Result<bool, StoreError> {
        let (id, was) = (id.clone(), was.to_owned());
        self.writer.write(One, move |c, _| users::rehash(c, &id, &was, &now)).await
    }

    async fn delete_user(&self, id: &UserId, event: AuditEvent) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write_as(event, move |c, event, now| users::delete(c, &id, event, now)).await
    }

    async fn client(&self, id: &ClientId) -> Result<(Option<ClientRow>, Timestamp), StoreError> {
        let (id, clock) = (id.clone(), Arc::clone(&self.clock));
        self.readers.read(move |c| Ok((clients::one(c, &id)?, clock.now()))).await
    }

    async fn clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<ClientRow>, StoreError> {
        let after = after.cloned();
        self.readers.read(move |c| clients::page(c, after.as_ref(), limit)).await
    }

    async fn add_client(&self, client: NewClient, event: AuditEvent) -> Result<ClientRow, StoreError> {
        self.write_as(event, move |c, event, now| clients::add(c, client, event, now)).await
    }

    async fn change_client(
        &self,
        id: &ClientId,
        change: ClientChange,
        event: AuditEvent,
    ) -> Result<Option<ClientRow>, StoreError> {
        let id = id.clone();
        self.write_as(event, move |c, event, now| clients::change(c, &id, &change, event, now)).await
    }

    async fn delete_client(&self, id: &ClientId, event: AuditEvent) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write_as(event, move |c, event, now| clients::delete(c, &id, event, now)).await
    }

    async fn issue_to_client(
        &self,
        judged: &ClientRow,
        event: AuditEvent,
    ) -> Result<Option<Timestamp>, StoreError> {
        let judged = judged.clone();
        self.writer.write(Several, move |c, now| clients::issue(c, &judged, &event, now)).await
    }

    async fn revoke(&self, target: Target, until: Timestamp, event: AuditEvent) -> Result<bool, StoreError> {
        self.writer.write(Several, move |c, now| clients::revoke(c, &target, until, &event, now)).await
    }

    async fn identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError> {
        let identity = identity.clone();
        self.readers.read(move |c| identities::owner(c, &identity)).await
    }

    async fn linked_identities(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        let user = user.clone();
        self.readers.read(move |c| identities::of_user(c, &user)).await
    }

    async fn note_proof(
        &self,
        sid: Sid,
        user: &UserId,
        password_hash: Option<SecretText>,
    ) -> Result<bool, StoreError> {
        let user = user.clone();
        let note = move |c: &Connection, now| {
            sessions::note_proof(c, sid, &user, password_hash.as_ref().map(SecretText::expose), now)
        };
        self.writer.write(One, note).await
    }

    async fn link(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<(), StoreError> {
        let user = user.clone();
        self.write_as(event, move |c, event, now| identities::link(c, &user, &identity, event, now)).await
    }

    async fn unlink(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<bool, StoreError> {
        let user = user.clone();
        self.write_as(event, move |c, event, now| identities::unlink(c, &user, &identity, event, now)).await
    }

    async fn spend(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<bool, StoreError> {
        self.writer.write(One, move |c, _| identities::spend(c, &hash, expires_at)).await
    }

    async fn is_spent(&self, hash: [u8; 32]) -> Result<bool, StoreError> {
        self.readers.read(move |c| identities::is_spent(c, &hash)).await
    }

    async fn record(&self, event: AuditEvent) -> Result<(), StoreError> {
        self.writer.write(One, move |c, now| audit::write(c, &event, now)).await
    }

    async fn audit(&self, after: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.readers.read(move |c| audit::read(c, after, limit)).await
    }

    async fn login_addresses(
        &self,
        user: &UserId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let user = user.to_string();
        self.readers.read(move |c| audit::login_addresses(c, &user, since, limit)).await
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let now = self.clock.now();
        let all = self.readers.read(move |c| feeds::since(c, 0, now)).await?;
        Ok(all.into_iter().filter(|revocation| revocation.expires_at > now).collect())
    }

    async fn follow(&self, feed: Arc<dyn Feed>) -> Result<FollowHandle, StoreError> {
        self.feeds.follow(feed, &self.path, Arc::clone(&self.clock), Arc::clone(&self.state))
    }

    async fn sweep(&self, keep: Duration, audit_keep: Duration) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let step = move |c: &Connection, now| sessions::sweep(c, now, keep, audit_keep, SWEEP_STEP);
            match self.writer.write(Several, step).await? as u64 {
                0 => return Ok(deleted),
                some => deleted += some,
            }
        }
    }

    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        self.readers.read(fingerprint_row).await
    }

    async fn note_ring(&self, generation: u64, fingerprint: [u8; 32]) -> Result<(), StoreError> {
        let change = move |c: &Connection, _| {
            c.prepare_cached(
                "INSERT INTO ring (one, generation, fingerprint) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE
                 SET generation = excluded.generation, fingerprint = excluded.fingerprint
                 WHERE excluded.generation > ring.generation",
            )?
            .execute(params![generation, fingerprint])?;
            Ok(())
        };
        self.writer.write(One, change).await
    }

    async fn report_node(&self, name: &str, ring_generation: u64, version: &str) -> Result<(), StoreError> {
        let (name, version) = (name.to_owned(), version.to_owned());
        self.writer.write(One, move |c, now| nodes::report(c, &name, ring_generation, &version, now)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let now = self.clock.now();
        self.readers.read(move |c| nodes::live(c, now)).await
    }

    async fn missing_triggers(&self) -> Result<Vec<String>, StoreError> {
        self.readers.read(guards::missing).await
    }

    async fn restore_triggers(&self) -> Result<Vec<String>, StoreError> {
        self.writer.write(Several, |c, _| guards::restore(c)).await
    }

    async fn clock_mark(&self) -> Result<(Option<ClockMark>, Timestamp), StoreError> {
        let clock = Arc::clone(&self.clock);
        self.readers.read(move |c| Ok((clock_mark::read(c)?, clock.now()))).await
    }

    async fn note_clock(&self, was: Option<ClockMark>, mark: ClockMark) -> Result<Written, StoreError> {
        self.writer.write(One, move |c, _| clock_mark::write(c, was, mark)).await
    }

    async fn bad_rows(&self) -> Result<Vec<BadRow>, StoreError> {
        self.readers.read(bad::rows).await
    }

    async fn healthy(&self) -> Result<(), StoreError> {
        self.state.look()?;
        self.readers.read(|c| Ok(c.query_row("SELECT 1", [], |_| Ok(()))?)).await?;
        // Inserts a row and deletes it again. This changes a page, so it fails if the disk is full or read-only. Setting a row to
        // its present value would write nothing.
        let write = |c: &Connection, _| {
            c.prepare_cached("INSERT INTO used (hash, expires_at) VALUES (x'', 0)")?.execute([])?;
            c.prepare_cached("DELETE FROM used WHERE hash = x''")?.execute([])?;
            Ok(())
        };
        self.writer.write(Several, write).await
    }
}
