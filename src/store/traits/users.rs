//! The interface to the rows of `users`.

use async_trait::async_trait;

use crate::{
    ids::UserId,
    store::{
        AuditEvent, NewSession, NewUser, SessionRow, StoreError, UserChange, UserPage, UserQuery, UserRow,
    },
};

/// Reads and writes the rows of `users`.
#[async_trait]
pub trait UserRows: Send + Sync {
    /// Returns a user by id, even if disabled.
    async fn user(&self, id: &UserId) -> Result<Option<UserRow>, StoreError>;

    /// Returns a user by name. Case and Unicode composition (NFKC) make no difference; names that only look alike are different.
    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>, StoreError>;

    /// Whether a user has this name or one that looks like it, so that no other user can get it.
    async fn is_name_taken(&self, name: &str) -> Result<bool, StoreError>;

    /// Returns at most `limit` users in the order of their ids, beginning after `after`.
    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserRow>, StoreError>;

    /// Returns one page of the users that the query selects, in the order of their ids.
    async fn user_page(&self, query: &UserQuery) -> Result<UserPage, StoreError>;

    /// Adds a user, together with the identity in `user` if there is one.
    ///
    /// # Errors
    ///
    /// `Conflict` if the name differs from a taken name only by case or by homoglyphs, or if the identity is already linked.
    async fn add_user(&self, user: NewUser, event: AuditEvent) -> Result<UserRow, StoreError>;

    /// Changes a user. Returns `Ok(None)` if the user does not exist. A new name ends all sessions of the user (by trigger).
    ///
    /// # Errors
    ///
    /// - `LastAdmin` if the change disables the last enabled administrator or takes the role `admin` from them.
    /// - `Conflict` if the new name breaks [`NAME_RULE`](crate::store::NAME_RULE), or differs from the name of another user only by
    ///   case or by homoglyphs.
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
    /// With `next`: `Stale` if the row no longer has the hash in `next.proof`, and `CallerEnded` if the session of the caller that
    /// `event` names has ended.
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
}
