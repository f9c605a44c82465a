//! The store: rows of users, sessions, revocations and audit, behind one trait (docs/design/sessions.md).
//!
//! Knows no token and no HTTP. Decisions live above: the store reads a row and its own time, and writes
//! only if the row is still the one that was judged.

mod bad;
mod callers;
mod clients;
mod database;
mod feed;
pub mod leap;
mod look;
mod names;
mod patience;
pub mod postgres;
mod rows;
mod rules;
pub mod sqlite;
mod trail;
mod transfer;
mod users;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use bad::BadRow;
pub use clients::{ClientChange, ClientRow, FormerSecret, NewClient, NewSecret};
pub use database::{BadDatabase, Database};
pub use feed::{Feed, FollowHandle, Revocation, Target};
pub use leap::{ClockMark, Leap};
pub(crate) use look::{Facts, Found};
pub use names::{NAME_RULE, is_good_name};
pub(crate) use patience::patiently;
pub use rows::{
    AuditEvent, AuditRow, Caller, Device, Grant, Identity, LinkedIdentity, NewSession, NewUser, NodeRow,
    Proof, ProvenAt, SessionChange, SessionEnd, SessionRow, Transport, UserChange, UserRow,
};

pub use postgres::PostgresUrl;
pub use transfer::{Moved, transfer};
pub use users::{LoginError, User, Users};

use crate::{
    clock::Timestamp,
    ids::{ClientId, Sid, UserId},
    secret::SecretText,
};

/// A server that hasn't reported for so long counts as gone.
pub const NODE_LIVES: Duration = Duration::from_secs(10);

/// What a store can answer besides data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It can't tell at present: away, locked, exhausted, full, failing. Nothing was acknowledged.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A sync failed, or the file was replaced: until a restart has recovered, nothing is acknowledged.
    #[error("the store can't vouch for what is on the disk; restart to recover")]
    Broken,
    /// The schema is newer than this program.
    #[error("{0}")]
    Schema(String),
    /// Something is in the way: a name is taken (or can't be told apart from a taken one), a database isn't empty.
    #[error("{0}")]
    Conflict(String),
    /// The last administrator can't go.
    #[error("the last administrator can't be removed; give another user the role `admin` first")]
    LastAdmin,
    /// A user keeps one way in.
    #[error("this is the last way in; set a password or link another identity first")]
    LastWayIn,
    /// What the change was decided by has changed since it was read (another password, say). Nothing was written.
    #[error("the row has changed since it was read; nothing was written, try again")]
    Moved,
    /// The session (or the client) that asked for the change has ended, or lost what the change needs. Nothing was written.
    #[error("the session that asked for this has ended; nothing was written")]
    Ended,
}

impl StoreError {
    /// The same error for one more of those who waited for one commit.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Unavailable(why) => Self::Unavailable(why.clone()),
            Self::Broken => Self::Broken,
            Self::Schema(why) => Self::Schema(why.clone()),
            Self::Conflict(why) => Self::Conflict(why.clone()),
            Self::LastAdmin => Self::LastAdmin,
            Self::LastWayIn => Self::LastWayIn,
            Self::Moved => Self::Moved,
            Self::Ended => Self::Ended,
        }
    }
}

/// A conditional write either found the row as it was judged, or lost to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// Committed, durably.
    Applied,
    /// The row was no longer the one that was judged; nothing was written. Read again, judge anew.
    Lost,
}

/// Every store of Bulla. Each method is one transaction; what it returns as done is durable.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync + 'static {
    /// The store's own time.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// A session's row, with the store's time of the read. Expired rows are returned as well: the rule judges.
    async fn session(&self, sid: Sid) -> Result<(Option<SessionRow>, Timestamp), StoreError>;

    /// The same with the row's user, disabled ones too: all that a renewal reads, at once where a store can do that.
    async fn session_and_user(
        &self,
        sid: Sid,
    ) -> Result<(Option<(SessionRow, Option<UserRow>)>, Timestamp), StoreError> {
        let (row, now) = self.session(sid).await?;
        let Some(row) = row else { return Ok((None, now)) };
        let user = self.user(&row.user_id).await?;
        Ok((Some((row, user)), now))
    }

    /// Begins a session: `created_at` and `rotated_at` are the store's now, the expiries are now plus what `new` says.
    /// `Moved` if the user's row no longer has the hash that `new.proof` was checked against.
    /// In the same transaction: ends `replaces` (an earlier session of the same browser), ends the user's oldest live sessions beyond `cap`
    /// (this one counted), writes `event`. Refuses (`Ok(None)`) when a row of `users` with that id is disabled, or the client
    /// it is granted to is disabled, gone or may no longer have that scope, the login it goes back to has ended, or the
    /// identity it was proven by is no longer linked to the user.
    async fn begin_session(
        &self,
        new: NewSession,
        cap: u32,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError>;

    /// Rotates, pardons or sets forward: only if the row still has `judged`'s secret_hash, generation, rotated_at and pardoned_*.
    /// Many of these queue up and commit together.
    async fn change_session(
        &self,
        judged: &SessionRow,
        change: SessionChange,
        event: Option<AuditEvent>,
    ) -> Result<Written, StoreError>;

    /// Gives a row another device, and writes `event`: only if it still has `judged`'s device and key. Nothing else of the row
    /// changes.
    async fn move_session(
        &self,
        judged: &SessionRow,
        device: &Device,
        event: AuditEvent,
    ) -> Result<Written, StoreError>;

    /// Deletes a row if it is still the one judged (reuse).
    async fn delete_judged(&self, judged: &SessionRow, event: AuditEvent) -> Result<Written, StoreError>;

    /// Ends sessions; returns the sids that were ended. One audit event per session: `event`'s `subject` is replaced by the sid.
    async fn end_sessions(&self, which: SessionEnd, event: AuditEvent) -> Result<Vec<Sid>, StoreError>;

    /// Live sessions, newest first: all of a user's, or (`None`) of everyone's, at most `limit`.
    async fn sessions(
        &self,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<(Vec<SessionRow>, Timestamp), StoreError>;

    /// A user by id; disabled ones too.
    async fn user(&self, id: &UserId) -> Result<Option<UserRow>, StoreError>;

    /// A user by name, compared as names are folded (NFKC, case).
    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>, StoreError>;

    /// Users in order of id, after `after`, at most `limit`.
    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserRow>, StoreError>;

    /// Adds a user, with an identity if `user` has one. A name that differs from a taken one by case or homoglyph only is a
    /// conflict; so is an identity that is linked already.
    async fn add_user(&self, user: NewUser, event: AuditEvent) -> Result<UserRow, StoreError>;

    /// Changes a user; `Ok(None)` if there is none. Taking `admin` from, or disabling, the last enabled administrator is `LastAdmin`.
    async fn change_user(
        &self,
        id: &UserId,
        change: UserChange,
        event: AuditEvent,
    ) -> Result<Option<UserRow>, StoreError>;

    /// A new password: in one transaction sets the hash, ends *all* of the user's sessions, and begins `next` for the caller if given.
    /// `Ok(None)` without `next`, which sets a disabled user's password too; with it if the user is disabled or gone: then nothing is done.
    /// With `next` the row must still have the hash of `next.proof` (else `Moved`), and the caller that `event` names must
    /// still be signed in (else `Ended`). The event lists the identities that were linked in the last 30 days.
    async fn change_password(
        &self,
        id: &UserId,
        password_hash: String,
        next: Option<NewSession>,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError>;

    /// Replaces a stored hash by one of the same password with stronger parameters; ends nothing. Only if the hash is still `was`;
    /// false if it is not.
    async fn rehash_password(&self, id: &UserId, was: &str, now: String) -> Result<bool, StoreError>;

    /// Deletes a user and so all sessions; false if there was none. The last enabled administrator is `LastAdmin`.
    async fn delete_user(&self, id: &UserId, event: AuditEvent) -> Result<bool, StoreError>;

    /// A client by id, disabled ones too, with the store's time of the read.
    async fn client(&self, id: &ClientId) -> Result<(Option<ClientRow>, Timestamp), StoreError>;

    /// Clients in order of id, after `after`, at most `limit`.
    async fn clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<ClientRow>, StoreError>;

    /// Adds a client. A name or an id that is taken is a conflict.
    async fn add_client(&self, client: NewClient, event: AuditEvent) -> Result<ClientRow, StoreError>;

    /// Changes a client; `Ok(None)` if there is none.
    async fn change_client(
        &self,
        id: &ClientId,
        change: ClientChange,
        event: AuditEvent,
    ) -> Result<Option<ClientRow>, StoreError>;

    /// Deletes a client, and so all sessions it holds; false if there was none.
    async fn delete_client(&self, id: &ClientId, event: AuditEvent) -> Result<bool, StoreError>;

    /// Writes down that a client is given a token, if its row is still the one that was judged. The store's time of it: whatever
    /// revokes this client's tokens from now on is later, on any node.
    async fn issue_to_client(
        &self,
        judged: &ClientRow,
        event: AuditEvent,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Revokes what has no row of its own (a service token), until nothing it concerns can live; false if that was done before.
    async fn revoke(&self, target: Target, until: Timestamp, event: AuditEvent) -> Result<bool, StoreError>;

    /// Whose an identity is.
    async fn identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError>;

    /// A user's identities, in order.
    async fn identities(&self, user: &UserId) -> Result<Vec<Identity>, StoreError> {
        Ok(self.linked_identities(user).await?.into_iter().map(|linked| linked.identity).collect())
    }

    /// The same, with the times at which they were linked.
    async fn linked_identities(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError>;

    /// Those that were linked in the last 30 days, or at a time that is not known.
    async fn newly_linked(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        Ok(rules::newly_linked(self.linked_identities(user).await?, self.now().await?))
    }

    /// Notes that the person of a session has just proven who they are: `auth_time` becomes the store's now. False, and
    /// nothing is written, unless the session is this user's and lives, and the user's row still has this hash, if one is given.
    async fn note_proof(
        &self,
        sid: Sid,
        user: &UserId,
        password_hash: Option<SecretText>,
    ) -> Result<bool, StoreError>;

    /// Links an identity to a user; `event` is written if it wasn't linked before. Another user's is a conflict.
    async fn link(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<(), StoreError>;

    /// Unlinks an identity; false if this user has none such. The last way in (no password, no other identity) is `LastWayIn`.
    async fn unlink(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<bool, StoreError>;

    /// Spends a nonce, known by its hash, and remembers it until `expires_at`; false if it was spent before.
    async fn spend(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<bool, StoreError>;

    /// Whether a nonce is spent.
    async fn is_spent(&self, hash: [u8; 32]) -> Result<bool, StoreError>;

    /// Writes an event that records no change (a failed login).
    async fn record(&self, event: AuditEvent) -> Result<(), StoreError>;

    /// Audit rows with `seq` above `after`, in order, at most `limit`. `after = None`: the newest `limit`, in order.
    async fn audit(&self, after: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError>;

    /// The addresses of a user's logins since `since`, as the audit has them: of the newest `limit` logins, those of an OAuth
    /// client's session left out, for there the address is the client's.
    async fn login_addresses(
        &self,
        user: &UserId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError>;

    /// The revocations in force, in order of `seq`.
    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError>;

    /// Loads every revocation in force into `feed`, then follows the table until the handle is dropped. Returns after the first load.
    /// In this process a revocation reaches `feed` before the call that made it returns.
    async fn follow(&self, feed: Arc<dyn Feed>) -> Result<FollowHandle, StoreError>;

    /// Deletes what has expired: sessions past their end by `keep` (the ceiling plus twice the skew), revocations, spent nonces, audit older than `audit_keep`, nodes gone for an hour. Returns rows deleted.
    /// In small transactions, so that nobody waits behind it.
    async fn sweep(&self, keep: Duration, audit_keep: Duration) -> Result<u64, StoreError>;

    /// The highest ring generation this database has recorded, with that `ring.json`'s fingerprint.
    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError>;

    /// Records a ring generation in force; never lowers it.
    async fn note_ring(&self, generation: u64, fingerprint: [u8; 32]) -> Result<(), StoreError>;

    /// Says that a server lives, and which ring it has in force: `seen_at` becomes the store's now.
    async fn report_node(&self, name: &str, ring_generation: u64, version: &str) -> Result<(), StoreError>;

    /// The servers that have reported within [`NODE_LIVES`], by name.
    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;

    /// The names of triggers that are missing, disabled or changed: without them a session can end unrevoked. Of a schema that a
    /// newer program has brought up to date only the names are checked.
    async fn missing_triggers(&self) -> Result<Vec<String>, StoreError>;

    /// Makes the triggers that are missing, disabled or changed again (on PostgreSQL: as the tables' owner); returns their names.
    async fn restore_triggers(&self) -> Result<Vec<String>, StoreError>;

    /// What is remembered of the clock, and the store's time of the read.
    async fn clock_mark(&self) -> Result<(Option<ClockMark>, Timestamp), StoreError>;

    /// Remembers it, if nobody has since `was` was read.
    async fn note_clock(&self, was: Option<ClockMark>, mark: ClockMark) -> Result<Written, StoreError>;

    /// Every row that can't be read. Reads all tables.
    async fn bad_rows(&self) -> Result<Vec<BadRow>, StoreError>;

    /// Checks that it answers and can write.
    async fn healthy(&self) -> Result<(), StoreError>;
}
