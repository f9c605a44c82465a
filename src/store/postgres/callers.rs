//! Checks, in the transaction of a change, that the caller still has the right to make the change.

use deadpool_postgres::Transaction;

use super::{
    failure::Failure,
    rows::{clients, sessions, users},
    session_locks::lock_user_and_caller,
};
use crate::store::{AuditEvent, Caller};

/// Like [`check`], but locks the caller's session and, if the change needs a role, the caller's row of `users`. Another transaction
/// that ends this session or takes away the role then waits until the change has committed; or the change waits for it, and finds
/// the session ended or the role taken away. Every transaction locks rows of `users` before rows of `sessions`.
pub(super) async fn lock_and_check(t: &Transaction<'_>, event: &AuditEvent) -> Result<(), Failure> {
    if let Some(Caller::Person { sid, user, role }) = &event.by {
        if role.is_some() {
            users::read_in(t, user, "FOR SHARE").await?;
        }
        sessions::lock(t, *sid).await?;
    }
    check(t, event).await
}

/// Like [`lock_and_check`], but first locks the caller's sessions. For changes that take no other advisory lock.
pub(super) async fn lock_caller_and_check(t: &Transaction<'_>, event: &AuditEvent) -> Result<(), Failure> {
    lock_user_and_caller(t, None, event).await?;
    lock_and_check(t, event).await
}

/// Checks that the caller still has the right to make the change, without a lock. A transaction that ends the session at the same
/// time counts as later.
pub(super) async fn check(t: &Transaction<'_>, event: &AuditEvent) -> Result<(), Failure> {
    match &event.by {
        None => {}
        Some(Caller::Person { sid, user, role }) => {
            let (session, now) = sessions::live_one(t, *sid, user).await?;
            let user = users::read_in(t, user, "").await?;
            Caller::check_person(*role, session.as_ref(), user.as_ref(), now)?;
        }
        Some(Caller::Client { id, scope }) => {
            let client = clients::read_locked(t, id, "").await?;
            Caller::check_client(scope, client.as_ref().map(|(row, _)| row))?;
        }
    }
    Ok(())
}
