//! Where users come from: the table `users`, or the embedding program's own.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::SecretText,
    store::{SessionRow, Store, StoreError},
};

/// A user as a session needs one: present name, roles and claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What becomes the token's `id`.
    pub id: UserId,
    /// The name shown.
    pub name: String,
    /// Present roles.
    pub roles: Vec<String>,
    /// Claims that access tokens carry beside `id`, `sid`, `roles`.
    pub claims: serde_json::Map<String, serde_json::Value>,
}

/// Why a name and password gave no user.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown, disabled, or the wrong password: one answer for all, after the same time.
    #[error("name or password is wrong")]
    Wrong,
    /// Too many passwords wait to be checked.
    #[error("too many logins at once")]
    Busy,
    /// The source can't tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A source of users. An embedding program implements this over its own table; [`crate::identity`] does over `users`.
#[async_trait]
pub trait Users: Send + Sync + 'static {
    /// The user as it is now; `None` if deleted or disabled. Asked at every rotation, never for an access token.
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError>;

    /// A session's row and its user, both as they are now, with the time of `store`. Users who lie in the same store are
    /// read along with the row.
    async fn of_session(
        &self,
        store: &dyn Store,
        sid: Sid,
    ) -> Result<(Option<(SessionRow, Option<User>)>, Timestamp), StoreError> {
        let (row, now) = store.session(sid).await?;
        let Some(row) = row else { return Ok((None, now)) };
        let user = self.find(&row.user_id).await?;
        Ok((Some((row, user)), now))
    }

    /// Checks a name and password.
    async fn log_in(&self, name: &str, password: &SecretText) -> Result<User, LoginError>;

    /// The same, with what the password was checked against: whatever [`Self::still`] needs, or nothing.
    async fn prove(&self, name: &str, password: &SecretText) -> Result<(User, SecretText), LoginError> {
        Ok((self.log_in(name, password).await?, SecretText::default()))
    }

    /// Whether [`Self::prove`] returns the `password_hash` of a row of `users` in the same store. Then the transaction that
    /// begins a session requires that the row still has this hash, and [`Self::still`] is not asked.
    fn keeps_passwords_in_store(&self) -> bool {
        false
    }

    /// For other sources: asked after a session has begun, whether the password is still valid. A change of the password ends
    /// all sessions, but can't end one that begins just after it. A source that can't tell answers yes.
    async fn still(&self, _: &User, _: &SecretText, _against: &SecretText) -> Result<bool, LoginError> {
        Ok(true)
    }
}
