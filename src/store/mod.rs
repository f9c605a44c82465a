//! The store: the rows of users, sessions, clients, revocations and audit, behind one trait (docs/design/sessions.md).
//!
//! The store knows neither tokens nor HTTP. The code above it makes the decisions: the store reads a row together with its own
//! time, the caller judges the row, and the store writes only if the row has not changed since then.

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

/// The time after which a server that has not reported counts as gone.
pub const NODE_LIVES: Duration = Duration::from_secs(10);

/// The errors of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store can't answer at present: it is unreachable, locked, overloaded, full or failing. Nothing was acknowledged.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A sync to disk failed, or the database file was replaced. The store acknowledges nothing until a restart has recovered it.
    #[error("the store can't vouch for what is on the disk; restart to recover")]
    Broken,
    /// The schema is newer than this program.
    #[error("{0}")]
    Schema(String),
    /// The change conflicts with existing data: the name is taken or looks like a taken one, or the database is not empty.
    #[error("{0}")]
    Conflict(String),
    /// The last administrator can't be removed.
    #[error("the last administrator can't be removed; give another user the role `admin` first")]
    LastAdmin,
    /// The last way to log in can't be removed.
    #[error("this is the last way in; set a password or link another identity first")]
    LastWayIn,
    /// The data on which the change was based has changed since it was read, for example the password. Nothing was written.
    #[error("the row has changed since it was read; nothing was written, try again")]
    Moved,
    /// The session or the client that requested the change has ended, or has lost the role or scope that the change needs.
    /// Nothing was written.
    #[error("the session that asked for this has ended; nothing was written")]
    Ended,
}

impl StoreError {
    /// Returns the same error again. Several callers can wait for one commit, and each of them needs the error.
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

/// The outcome of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The write is committed durably.
    Applied,
    /// The row has changed since it was judged. Nothing was written; the caller must read and judge again.
    Lost,
}

/// The interface of every store. Each method is one transaction. A change is durable when the method returns.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync + 'static {
    /// Returns the store's own time.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Returns the row of a session, with the store's time of the read. Expired rows are returned as well: the caller judges
    /// them.
    async fn session(&self, sid: Sid) -> Result<(Option<SessionRow>, Timestamp), StoreError>;

    /// Returns the row of a session and its user's row, even if the user is disabled. This is all the data that a renewal needs.
    /// A store reads both at once if it can.
    async fn session_and_user(
        &self,
        sid: Sid,
    ) -> Result<(Option<(SessionRow, Option<UserRow>)>, Timestamp), StoreError> {
        let (row, now) = self.session(sid).await?;
        let Some(row) = row else { return Ok((None, now)) };
        let user = self.user(&row.user_id).await?;
        Ok((Some((row, user)), now))
    }

    /// Begins a session. `created_at` and `rotated_at` become the store's present time; the expiries are that time plus the
    /// durations in `new`.
    ///
    /// The same transaction ends the session `replaces` (an earlier session of the same browser), ends the user's oldest live
    /// sessions beyond `cap` (the new session counts), and writes `event`.
    ///
    /// Returns `Ok(None)` and begins nothing in these cases:
    /// - The user has a row in `users` and is disabled.
    /// - The client of the grant is disabled, is deleted, or no longer has the granted scope.
    /// - The login `new.login` has ended.
    /// - The identity in `new.proof` is no longer linked to the user.
    ///
    /// # Errors
    ///
    /// `Moved` if the user's row no longer has the password hash in `new.proof`.
    async fn begin_session(
        &self,
        new: NewSession,
        cap: u32,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError>;

    /// Rotates or pardons a session, if the row still has the `secret_hash`, `generation`, `rotated_at` and `pardoned_*` of
    /// `judged`. Many of these changes are queued and committed together.
    async fn change_session(
        &self,
        judged: &SessionRow,
        change: SessionChange,
        event: Option<AuditEvent>,
    ) -> Result<Written, StoreError>;

    /// Sets the device of a session and writes `event`, if the row still has the device and the key of `judged`. Changes no other
    /// column.
    async fn move_session(
        &self,
        judged: &SessionRow,
        device: &Device,
        event: AuditEvent,
    ) -> Result<Written, StoreError>;

    /// Deletes the row of a session if it still is as in `judged`. Used when a refresh token was reused.
    async fn delete_judged(&self, judged: &SessionRow, event: AuditEvent) -> Result<Written, StoreError>;

    /// Ends sessions and returns the sids of the ended ones. Writes one audit event per session: `event` with the sid as its
    /// `subject`.
    async fn end_sessions(&self, which: SessionEnd, event: AuditEvent) -> Result<Vec<Sid>, StoreError>;

    /// Returns live sessions, newest first, at most `limit`: all sessions of `user`, or with `None` those of all users.
    async fn sessions(
        &self,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<(Vec<SessionRow>, Timestamp), StoreError>;

    /// Returns a user by id, even if disabled.
    async fn user(&self, id: &UserId) -> Result<Option<UserRow>, StoreError>;

    /// Returns a user by name. Names are compared after folding (NFKC, case).
    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>, StoreError>;

    /// Returns at most `limit` users in the order of their ids, beginning after `after`.
    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserRow>, StoreError>;

    /// Adds a user, together with the identity in `user` if there is one.
    ///
    /// # Errors
    ///
    /// `Conflict` if the name differs from a taken name only by case or by homoglyphs, or if the identity is already linked.
    async fn add_user(&self, user: NewUser, event: AuditEvent) -> Result<UserRow, StoreError>;

    /// Changes a user. Returns `Ok(None)` if the user does not exist.
    ///
    /// # Errors
    ///
    /// `LastAdmin` if the change disables the last enabled administrator or takes the role `admin` from them.
    async fn change_user(
        &self,
        id: &UserId,
        change: UserChange,
        event: AuditEvent,
    ) -> Result<Option<UserRow>, StoreError>;

    /// Sets a new password. One transaction sets the hash, ends *all* sessions of the user, and begins the session `next` for the
    /// caller if it is given. The event lists the identities that were linked in the last 30 days.
    ///
    /// Without `next`, the password of a disabled user is set too, and the result is `Ok(None)`. With `next`, a user who is
    /// disabled or deleted gets no new password: the result is `Ok(None)` and nothing is written.
    ///
    /// # Errors
    ///
    /// With `next`: `Moved` if the row no longer has the hash in `next.proof`, and `Ended` if the caller that `event` names is no
    /// longer logged in.
    async fn change_password(
        &self,
        id: &UserId,
        password_hash: String,
        next: Option<NewSession>,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError>;

    /// Replaces a stored hash with a hash of the same password with stronger parameters. Ends no session. Returns false and
    /// writes nothing if the stored hash is no longer `was`.
    async fn rehash_password(&self, id: &UserId, was: &str, now: String) -> Result<bool, StoreError>;

    /// Deletes a user together with all their sessions. Returns false if the user does not exist.
    ///
    /// # Errors
    ///
    /// `LastAdmin` if the user is the last enabled administrator.
    async fn delete_user(&self, id: &UserId, event: AuditEvent) -> Result<bool, StoreError>;

    /// Returns a client by id, even if disabled, with the store's time of the read.
    async fn client(&self, id: &ClientId) -> Result<(Option<ClientRow>, Timestamp), StoreError>;

    /// Returns at most `limit` clients in the order of their ids, beginning after `after`.
    async fn clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<ClientRow>, StoreError>;

    /// Adds a client.
    ///
    /// # Errors
    ///
    /// `Conflict` if the name or the id is taken.
    async fn add_client(&self, client: NewClient, event: AuditEvent) -> Result<ClientRow, StoreError>;

    /// Changes a client. Returns `Ok(None)` if the client does not exist.
    async fn change_client(
        &self,
        id: &ClientId,
        change: ClientChange,
        event: AuditEvent,
    ) -> Result<Option<ClientRow>, StoreError>;

    /// Deletes a client together with all its sessions. Returns false if the client does not exist.
    async fn delete_client(&self, id: &ClientId, event: AuditEvent) -> Result<bool, StoreError>;

    /// Records that a client gets a token, if the client's row still is as in `judged`. Returns the store's time of the record.
    /// Every later revocation of this client's tokens has a later time, on any node.
    async fn issue_to_client(
        &self,
        judged: &ClientRow,
        event: AuditEvent,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Revokes a token that has no row of its own (a service token), until no token to which the revocation applies can still be
    /// valid. Returns false if it was revoked before.
    async fn revoke(&self, target: Target, until: Timestamp, event: AuditEvent) -> Result<bool, StoreError>;

    /// Returns the user to whom an identity is linked.
    async fn identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError>;

    /// Returns the identities of a user, in order.
    async fn identities(&self, user: &UserId) -> Result<Vec<Identity>, StoreError> {
        Ok(self.linked_identities(user).await?.into_iter().map(|linked| linked.identity).collect())
    }

    /// Returns the identities of a user with the times at which they were linked.
    async fn linked_identities(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError>;

    /// Returns the identities of a user that were linked in the last 30 days or at an unknown time.
    async fn newly_linked(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        Ok(rules::newly_linked(self.linked_identities(user).await?, self.now().await?))
    }

    /// Records that the person of a session has just authenticated: sets `auth_time` to the store's present time. Returns false
    /// and writes nothing unless the session belongs to `user` and is live, and the user's row still has `password_hash`, if one
    /// is given.
    async fn note_proof(
        &self,
        sid: Sid,
        user: &UserId,
        password_hash: Option<SecretText>,
    ) -> Result<bool, StoreError>;

    /// Links an identity to a user. Writes `event` if it was not linked before.
    ///
    /// # Errors
    ///
    /// `Conflict` if the identity is linked to another user.
    async fn link(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<(), StoreError>;

    /// Unlinks an identity from a user. Returns false if the identity is not linked to this user.
    ///
    /// # Errors
    ///
    /// `LastWayIn` if the user has no password and no other identity.
    async fn unlink(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<bool, StoreError>;

    /// Marks a nonce, given by its hash, as used, and remembers it until `expires_at`. Returns false if it was used before.
    async fn spend(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<bool, StoreError>;

    /// Whether a nonce was used.
    async fn is_spent(&self, hash: [u8; 32]) -> Result<bool, StoreError>;

    /// Writes an event that belongs to no change, for example a failed login.
    async fn record(&self, event: AuditEvent) -> Result<(), StoreError>;

    /// Returns at most `limit` audit rows with a `seq` above `after`, in order. With `None`: the newest `limit` rows, in order.
    async fn audit(&self, after: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError>;

    /// Returns the addresses of a user's logins since `since` from the audit, taken from the newest `limit` logins. Sessions of
    /// OAuth clients are left out, because the address in their event is the client's, not the person's.
    async fn login_addresses(
        &self,
        user: &UserId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError>;

    /// Returns the revocations in force, in the order of `seq`.
    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError>;

    /// Loads all revocations in force into `feed`, then follows the table until the handle is dropped. Returns after the first
    /// load. A revocation made in this process reaches `feed` before the call that made it returns.
    async fn follow(&self, feed: Arc<dyn Feed>) -> Result<FollowHandle, StoreError>;

    /// Deletes expired rows and returns their number: sessions that ended more than `keep` ago (the ceiling plus twice the skew),
    /// expired revocations and nonces, audit rows older than `audit_keep`, and nodes that have been gone for an hour. Uses small
    /// transactions, so that other writers do not have to wait.
    async fn sweep(&self, keep: Duration, audit_keep: Duration) -> Result<u64, StoreError>;

    /// Returns the highest ring generation that this database has recorded, with the fingerprint of that `ring.json`.
    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError>;

    /// Records the generation of the ring in force. Never lowers the recorded generation.
    async fn note_ring(&self, generation: u64, fingerprint: [u8; 32]) -> Result<(), StoreError>;

    /// Records that a server is running and which ring it has in force. `seen_at` becomes the store's present time.
    async fn report_node(&self, name: &str, ring_generation: u64, version: &str) -> Result<(), StoreError>;

    /// Returns the servers that have reported within [`NODE_LIVES`], ordered by name.
    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;

    /// Returns the names of triggers that are missing, disabled or changed. Without its trigger a session can end without a
    /// revocation. If a newer program has migrated the schema, only the names of the triggers are checked.
    async fn missing_triggers(&self) -> Result<Vec<String>, StoreError>;

    /// Creates the triggers again that are missing, disabled or changed, and returns their names. On PostgreSQL this is done as
    /// the owner of the tables.
    async fn restore_triggers(&self) -> Result<Vec<String>, StoreError>;

    /// Returns the remembered state of the clock, with the store's time of the read.
    async fn clock_mark(&self) -> Result<(Option<ClockMark>, Timestamp), StoreError>;

    /// Stores `mark`, if the stored state still is `was`.
    async fn note_clock(&self, was: Option<ClockMark>, mark: ClockMark) -> Result<Written, StoreError>;

    /// Returns every row that can't be read. Reads all tables.
    async fn bad_rows(&self) -> Result<Vec<BadRow>, StoreError>;

    /// Checks that the store answers and can write.
    async fn healthy(&self) -> Result<(), StoreError>;
}
