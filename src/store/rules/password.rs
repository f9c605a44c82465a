//! Changes of a password: their conditions and events.

use crate::{
    ids::UserId,
    secret::SecretText,
    store::{Actor, AuditEvent, Event, LinkedIdentity, NewSession, StoreError, UserRow},
};

/// Whether a password may be set. With `next`, the verified password must still be the stored one. `Ok(false)` if the user does
/// not exist, or if the user is disabled and `next` is given.
pub(in crate::store) fn may_set_password(
    row: Option<&UserRow>,
    next: Option<&NewSession>,
) -> Result<bool, StoreError> {
    let Some(row) = row else { return Ok(false) };
    let Some(next) = next else { return Ok(true) };
    match !row.disabled {
        true => check_hash_unchanged(row, next).map(|()| true),
        false => Ok(false),
    }
}

/// The error if a user was deleted before an administrator's change of them.
pub(in crate::store) fn user_deleted() -> StoreError {
    StoreError::Conflict("the user has been deleted; nothing was written".into())
}

/// Returns the event of a password change. It names the recently linked identities, because they remain a way to log in after the
/// password has changed.
pub(in crate::store) fn password_changed(event: &AuditEvent, new: &[LinkedIdentity]) -> AuditEvent {
    let mut event = event.clone();
    if !new.is_empty() {
        event.detail["recently_linked"] = new.iter().map(LinkedIdentity::to_json).collect();
    }
    event
}

/// The event for the sessions that a password change ends.
pub(in crate::store) fn ended_by_password(actor: &Actor) -> AuditEvent {
    AuditEvent::new(Event::SessionRevoked, actor.clone(), "")
        .with(serde_json::json!({"reason": "password changed"}))
}

/// The event for the session that a password change begins.
pub(in crate::store) fn begun_by_password(user: &UserId) -> AuditEvent {
    AuditEvent::new(Event::Login, user, "").with(serde_json::json!({"by": "password change"}))
}

/// Checks that a user's row still has the hash against which the password was checked.
pub(in crate::store) fn check_hash_unchanged(row: &UserRow, new: &NewSession) -> Result<(), StoreError> {
    let verified = new.proof.password_hash.as_ref().map(SecretText::expose);
    match verified.is_none() || row.password_hash.as_deref() == verified {
        true => Ok(()),
        false => Err(StoreError::Stale),
    }
}
