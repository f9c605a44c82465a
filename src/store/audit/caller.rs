//! The caller of a change, and the check that the caller still has the right to make it. Pure functions: a store reads the rows in
//! its transaction, calls these functions, then writes.

use crate::{
    clock::Timestamp,
    ids::{ClientId, Sid, UserId},
    store::{ClientRow, SessionRow, StoreError, UserRow},
};

/// The caller of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person. The session must be live, and its user must have the role.
    Person {
        /// The caller's session.
        sid: Sid,
        /// The user of the session.
        user: UserId,
        /// The role that the change requires, if any.
        role: Option<&'static str>,
    },
    /// A machine. The client must be enabled and must have the scope.
    Client {
        /// The client.
        id: ClientId,
        /// The scope that the change requires.
        scope: &'static str,
    },
}

impl Caller {
    /// Checks that a person still has the right to make the change: the session is live, the user is enabled and has `role`. If
    /// the user has no row in `users` (the user of an embedding program), only the session is checked, because the store does not
    /// know the roles.
    pub(in crate::store) fn person_may(
        role: Option<&str>,
        session: Option<&SessionRow>,
        user: Option<&UserRow>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let lives = session.is_some_and(|row| now < row.ends_at());
        let has = |row: &UserRow| role.is_none_or(|role| row.roles.iter().any(|one| one == role));
        match lives && user.is_none_or(|row| !row.disabled && has(row)) {
            true => Ok(()),
            false => Err(StoreError::Ended),
        }
    }

    /// Checks that a client still has the right to make the change: it is enabled and has `scope`.
    pub(in crate::store) fn client_may(scope: &str, client: Option<&ClientRow>) -> Result<(), StoreError> {
        match client.is_some_and(|row| !row.disabled && row.scopes.contains(scope)) {
            true => Ok(()),
            false => Err(StoreError::Ended),
        }
    }
}
