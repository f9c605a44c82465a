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

/// The users of an embedding program. The program implements this trait for its own table and passes it to the builder.
///
/// Bulla needs only these two methods. It calls [`check_password`](Self::check_password) twice in a login, so that a password
/// change during the login leaves no session. When the program disables or deletes a user, or changes a password, it must end the
/// user's sessions (`Bulla::end_sessions_of`); otherwise the user keeps access until the next renewal.
#[async_trait]
pub trait Users: Send + Sync + 'static {
    /// Returns the user with the present name, roles and claims. `None` if the user is disabled or does not exist: then no session
    /// begins, and none is renewed. Called when a session begins and at each renewal, never for a valid access token.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the source can't answer. The request is then answered with 503, and the session stays.
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError>;

    /// Returns the user who has this name and this password. An unknown name must take as long as a wrong password.
    ///
    /// A login calls this method a second time after it has begun the session, and ends the session if the password is no longer
    /// valid. Without the second call, a session could begin just after a password change had ended all sessions of the user.
    ///
    /// # Errors
    ///
    /// [`LoginError::Wrong`] if the name is unknown, the user is disabled or the password is wrong; [`LoginError::Store`] if the
    /// source can't answer; [`LoginError::Busy`] if too many passwords are waiting.
    async fn check_password(&self, name: &str, password: &SecretText) -> Result<User, LoginError>;
}

/// The source of users as sessions and logins use it: the table `users` (`identity::StoreUsers`), or the [`Users`] of an embedding
/// program (`EmbeddedUsers`).
#[async_trait]
pub trait UserSource: Send + Sync + 'static {
    /// Returns the user with the present data; `None` if deleted or disabled.
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

    /// Checks a name and password. In addition returns the value against which the password was checked: the stored hash, or an
    /// empty text if the source keeps its passwords elsewhere.
    async fn prove(&self, name: &str, password: &SecretText) -> Result<(User, SecretText), LoginError>;

    /// Whether [`Self::prove`] returns the `password_hash` of a row of `users` in the same store. If so, the transaction that
    /// begins a session requires that the row still has this hash, and [`Self::still_valid`] is not called.
    fn keeps_passwords_in_store(&self) -> bool;

    /// For other sources: called after a session has begun, to check that name and password are still those of the user. A password
    /// change ends all sessions, but it can't end a session that begins just after it.
    async fn still_valid(&self, _: &User, _name: &str, _: &SecretText) -> Result<bool, LoginError> {
        Ok(true)
    }
}

/// The users of an embedding program as a [`UserSource`].
pub(crate) struct EmbeddedUsers<U>(pub(crate) U);

#[async_trait]
impl<U: Users> UserSource for EmbeddedUsers<U> {
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        self.0.find(id).await
    }

    async fn prove(&self, name: &str, password: &SecretText) -> Result<(User, SecretText), LoginError> {
        Ok((self.0.check_password(name, password).await?, SecretText::default()))
    }

    fn keeps_passwords_in_store(&self) -> bool {
        false
    }

    /// Checks the same name and password again. A name that now belongs to another user counts as changed.
    async fn still_valid(&self, user: &User, name: &str, password: &SecretText) -> Result<bool, LoginError> {
        match self.0.check_password(name, password).await {
            Ok(found) => Ok(found.id == user.id),
            Err(LoginError::Wrong) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
