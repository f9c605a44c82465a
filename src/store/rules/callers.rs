//! Checks whether the caller of a change still has the right to make it.

use crate::{
    clock::Timestamp,
    store::{Caller, ClientRow, SessionRow, StoreError, UserRow},
};

impl Caller {
    /// Checks that a person still has the right to make the change: the session is live, the user is enabled and has `role`. If
    /// the user has no row in `users` (the user of an embedding program), only the session is checked, because the store does not
    /// know the roles.
    pub(in crate::store) fn check_person(
        role: Option<&str>,
        session: Option<&SessionRow>,
        user: Option<&UserRow>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let lives = session.is_some_and(|row| now < row.ends_at());
        let has = |row: &UserRow| role.is_none_or(|role| row.roles.iter().any(|one| one == role));
        match lives && user.is_none_or(|row| !row.disabled && has(row)) {
            true => Ok(()),
            false => Err(StoreError::CallerEnded),
        }
    }

    /// Checks that a client still has the right to make the change: it is enabled and has `scope`.
    pub(in crate::store) fn check_client(scope: &str, client: Option<&ClientRow>) -> Result<(), StoreError> {
        match client.is_some_and(|row| !row.disabled && row.scopes.contains(scope)) {
            true => Ok(()),
            false => Err(StoreError::CallerEnded),
        }
    }
}
