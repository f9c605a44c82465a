//! Whether who asks for a change still may, in the transaction that makes it.

use deadpool_postgres::Transaction;

use super::{clients, failure::Failure, sessions, users};
use crate::store::{AuditEvent, Caller};

/// The same with locks on the caller's session and, where the change needs a role, on the caller's row of `users`. A
/// transaction that ends this session or takes the role waits until the change has committed, or the change waits and then
/// finds it ended or taken. Rows of `users` are locked before sessions, in each transaction.
pub(super) async fn hold(t: &Transaction<'_>, event: &AuditEvent) -> Result<(), Failure> {
    if let Some(Caller::Person { sid, user, role }) = &event.by {
        if role.is_some() {
            users::one_of(t, user, "FOR SHARE").await?;
        }
        sessions::hold(t, *sid).await?;
    }
    check(t, event).await
}

/// The same in the caller's turn, for changes that take no other one.
pub(super) async fn hold_in_turn(t: &Transaction<'_>, event: &AuditEvent) -> Result<(), Failure> {
    sessions::take_turns_with_caller(t, None, event).await?;
    hold(t, event).await
}

/// Checks whether the caller still may, without a lock: a transaction that ends the session at the same time counts as
/// later.
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
