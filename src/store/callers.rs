//! Who asks for a change, and whether they still may. Pure: a store reads in its transaction, asks here, writes.

use super::{Caller, ClientRow, LinkedIdentity, SessionRow, StoreError, UserRow};
use crate::clock::Timestamp;

impl Caller {
    /// Whether the person of these rows may still ask. Without a row of `users` (an embedding program's user) the session
    /// alone decides: the roles are not in the store.
    pub(super) fn person_may(
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

    /// Whether the client of this row may still ask.
    pub(super) fn client_may(scope: &str, client: Option<&ClientRow>) -> Result<(), StoreError> {
        match client.is_some_and(|row| !row.disabled && row.scopes.contains(scope)) {
            true => Ok(()),
            false => Err(StoreError::Ended),
        }
    }
}

impl LinkedIdentity {
    /// As the audit and programs see it.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "issuer": self.identity.issuer, "subject": self.identity.subject, "linked_at": self.linked_at,
        })
    }
}
