//! Advisory locks, which make transactions that begin or end sessions run one after the other.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;

use super::failure::Failure;
use crate::{
    ids::UserId,
    store::{AuditEvent, Caller},
};

/// Makes transactions that begin or end sessions of one user run one after the other, so that the limit on a user's sessions
/// holds. None of them runs while a transaction ends the sessions of all users ([`lock_all_users`]).
pub(in crate::store::postgres) async fn lock_user(t: &Transaction<'_>, user: &UserId) -> Result<(), Failure> {
    lock_key(t, user.as_str()).await
}

async fn lock_key(t: &Transaction<'_>, user: &str) -> Result<(), Failure> {
    const LOCK: &str = "SELECT pg_advisory_xact_lock_shared(hashtextextended('sessions of bulla', 0)),
        pg_advisory_xact_lock(hashtextextended('bulla ' || $1, 0))";
    t.query(&t.prepare_cached(LOCK).await?, &[&user]).await?;
    Ok(())
}

/// Locks the sessions of a user and of the calling person, in the order of their ids. If two administrators act against each other,
/// the second then sees the change of the first. Every transaction takes these locks before it locks rows.
pub(in crate::store::postgres) async fn lock_user_and_caller(
    t: &Transaction<'_>,
    user: Option<&str>,
    event: &AuditEvent,
) -> Result<(), Failure> {
    let caller = match &event.by {
        Some(Caller::Person { user, .. }) => Some(user.as_str()),
        Some(Caller::Client { .. }) | None => None,
    };
    let users: BTreeSet<&str> = user.into_iter().chain(caller).collect();
    for user in users {
        lock_key(t, user).await?;
    }
    Ok(())
}

/// Waits for all transactions that begin or end sessions of any user, and makes new ones wait until the commit. A statement that
/// starts after this sees every session that has begun.
pub(super) async fn lock_all_users(t: &Transaction<'_>) -> Result<(), Failure> {
    const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('sessions of bulla', 0))";
    t.query(&t.prepare_cached(LOCK).await?, &[]).await?;
    Ok(())
}
