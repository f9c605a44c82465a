//! Checks, in the transaction of a change, that the caller still has the right to make the change.

use deadpool_postgres::Transaction;

use super::{
    failure::Failure,
    rows::{clients, sessions, users},
    session_locks::take_turns_with_caller,
};
use crate::store::{AuditEvent, Caller};

/// Like [`check`], but locks the caller's session and, if the change needs a role, the caller's row of `users`. A transaction
/// that ends this session or takes away the role either waits until the change has committed, or the change waits for it and then
/// finds the session ended or the role gone. Every transaction locks rows of `users` before rows of `sessions`.
pub(super) async fn hold(t: &Transaction<'_>, event: &AuditEvent) -> Result<(), Failure> {
    if let Some(Caller::Person { sid, user, role }) = &event.by {
        if role.is_some() {
            users::one_of(t, user, "FOR SHARE").await?;
        }
        sessions::hold(t, *sid).await?;
    }
    check(t, event).await
}

/// Like [`hold`], but first takes the caller's turn. For changes that take no other turn.
pub(super) async fn hold_in_turn(t: &Transaction<'_>, event: &AuditEvent) -> Result<(), Failure> {
    take_turns_with_caller(t, None, event).await?;
    hold(t, event).await
}

/// Checks that the caller still has the right to make the change, without a lock. A transaction that ends the session at the same
/// time counts as later.
pub(super) async fn check(t: &Transaction<'_>, event: &AuditEvent) -> Result<(), Failure> {
    match &event.by {
        None => {}
        Some(Caller::Person { sid, user, role }) => {
            let (session, now) = sessions::seen(t, *sid, user).await?;
            let user = users::one_of(t, user, "").await?;
            Caller::person_may(*role, session.as_ref(), user.as_ref(), now)?;
        }
        Some(Caller::Client { id, scope }) => {
            let client = clients::held(t, id, "").await?;
            Caller::client_may(scope, client.as_ref().map(|(row, _)| row))?;
        }
    }
    Ok(())
}
