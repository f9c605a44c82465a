//! The source of users: the table `users`, or the users of an embedding program.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::SecretText,
    store::{SessionRow, Store, StoreError},
};

/// The data of a user that a session needs: present name, roles and claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The id, which becomes the token's claim `id`.
    pub id: UserId,
    /// The name to display.
    pub name: String,
    /// The present roles.
    pub roles: Vec<String>,
    /// The claims that access tokens carry in addition to `id`, `sid` and `roles`.
    pub claims: serde_json::Map<String, serde_json::Value>,
}

/// The reason why a name and a password gave no user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The user is unknown or disabled, or the password is wrong. All cases give the same answer after the same time.
    #[error("name or password is wrong")]
    Wrong,
    /// Too many passwords are waiting to be checked.
    #[error("too many logins are waiting")]
    Busy,
    /// The source of users can't answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A source of users. An embedding program implements this trait over its own table. `StoreUsers` implements it over the
/// table `users`.
#[async_trait]
pub trait Users: Send + Sync + 'static {
    /// Returns the user with the present data; `None` if deleted or disabled. Called at every rotation, never for an access
    /// token.
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError>;

    /// Returns the row of a session and its user, both with their present data, and the time of `store`. If the users are in the
    /// same store, both are read together.
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

    /// Checks a name and password. In addition returns the value against which the password was checked, if [`Self::still_valid`] needs
    /// it.
    async fn prove(&self, name: &str, password: &SecretText) -> Result<(User, SecretText), LoginError> {
        Ok((self.log_in(name, password).await?, SecretText::default()))
    }

    /// Whether [`Self::prove`] returns the `password_hash` of a row of `users` in the same store. If so, the transaction that
    /// begins a session requires that the row still has this hash, and [`Self::still_valid`] is not called.
    fn keeps_passwords_in_store(&self) -> bool {
        false
    }

    /// For other sources: called after a session has begun, to check that the password is still valid. A password change ends all
    /// sessions, but it can't end a session that begins just after it. A source that can't tell returns true.
    async fn still_valid(&self, _: &User, _: &SecretText, _against: &SecretText) -> Result<bool, LoginError> {
        Ok(true)
    }
}
