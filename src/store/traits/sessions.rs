//! The interface to the rows of `sessions`.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::SecretText,
    store::{
        AuditEvent, Device, NewSession, SessionChange, SessionEnd, SessionPage, SessionQuery, SessionRow,
        StoreError, UserRow, Written,
    },
};

/// Reads and writes the rows of `sessions`.
#[async_trait]
pub trait SessionRows: Send + Sync {
    /// Returns the row of a session, with the store's time of the read. Expired rows are returned as well: the caller judges
    /// them.
    async fn session(&self, sid: Sid) -> Result<(Option<SessionRow>, Timestamp), StoreError>;

    /// Returns the row of a session and its user's row, even if the user is disabled. This is all the data that a renewal needs.
    /// A store reads both at once if it can.
    async fn session_and_user(
        &self,
        sid: Sid,
    ) -> Result<(Option<(SessionRow, Option<UserRow>)>, Timestamp), StoreError>;

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
    /// `Stale` if the user's row no longer has the password hash in `new.proof`.
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
    async fn change_device(
        &self,
        judged: &SessionRow,
        device: &Device,
        event: AuditEvent,
    ) -> Result<Written, StoreError>;

    /// Deletes the row of a session if it still is as in `judged`. Used when a refresh token was reused.
    async fn delete_session_if_unchanged(
        &self,
        judged: &SessionRow,
        event: AuditEvent,
    ) -> Result<Written, StoreError>;

    /// Ends sessions and returns the sids of the ended ones. Writes one audit event per session: `event` with the sid as its
    /// `subject`.
    async fn end_sessions(&self, which: SessionEnd, event: AuditEvent) -> Result<Vec<Sid>, StoreError>;

    /// Returns live sessions, newest first, at most `limit`: all sessions of `user`, or with `None` those of all users.
    async fn sessions(
        &self,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<(Vec<SessionRow>, Timestamp), StoreError>;

    /// Returns one page of the live sessions that the query selects, each with the name of its user. The sessions are ordered by
    /// the time at which they began, newest first, and by their sids.
    async fn session_page(&self, query: &SessionQuery) -> Result<SessionPage, StoreError>;

    /// Returns the number of live sessions of `user`, or with `None` of all users.
    async fn count_sessions(&self, user: Option<&UserId>) -> Result<u64, StoreError>;

    /// Records that the person of a session has just authenticated: sets `auth_time` to the store's present time. Returns false
    /// and writes nothing unless the session belongs to `user` and is live, and the user's row still has `password_hash`, if one
    /// is given.
    async fn record_authentication(
        &self,
        sid: Sid,
        user: &UserId,
        password_hash: Option<SecretText>,
    ) -> Result<bool, StoreError>;
}
