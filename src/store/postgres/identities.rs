//! Reads and writes the rows of `identities`.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use futures_util::FutureExt as _;

use super::{
    PostgresStore, audit, callers,
    failure::Failure,
    rows::{
        Values,
        identities::{OF_USER, OWNER, all, can_be_kept, of_user_in, owner_of},
    },
    session_locks::lock_user,
};
use crate::{
    ids::UserId,
    store::{
        AuditEvent, Identity, IdentityRows, LinkedIdentity, StoreError,
        rows::row_id,
        rules::identities::{may_link, may_unlink},
    },
};

#[async_trait]
impl IdentityRows for PostgresStore {
    async fn user_of_identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError> {
        if !can_be_kept(identity) {
            return Ok(None);
        }
        let rows = self.pool.rows(OWNER, &[&identity.issuer, &identity.subject]).await?;
        Ok(owner_of(rows.first())?)
    }

    async fn linked_identities(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        Ok(all(&self.pool.rows(OF_USER, &[&user.as_str()]).await?)?)
    }

    async fn link(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<(), StoreError> {
        self.pool.transaction(None, |t| link(t, user.clone(), identity.clone(), event.clone()).boxed()).await
    }

    async fn unlink(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<bool, StoreError> {
        self.pool
            .transaction(None, |t| unlink(t, user.clone(), identity.clone(), event.clone()).boxed())
            .await
    }
}

/// Links an identity. If two transactions link the same identity at once, the second waits at the unique key and then finds the
/// row. A transaction that deletes the user meanwhile waits for this one, and then deletes the identity too.
pub(super) async fn link(
    t: &Transaction<'_>,
    user: UserId,
    identity: Identity,
    event: AuditEvent,
) -> Result<(), Failure> {
    if !can_be_kept(&identity) {
        return Err(
            StoreError::Conflict("this identity contains a character that can't be stored".into()).into()
        );
    }
    let lock = "SELECT FROM users WHERE id = $1 FOR KEY SHARE";
    t.query_opt(&t.prepare_cached(lock).await?, &[&row_id(&user)]).await?;
    // A password change ends the session and then lists the linked identities. Either it waits for this transaction, or this
    // transaction finds that the session has ended.
    callers::lock_and_check(t, &event).await?;
    let Identity { issuer, subject } = &identity;
    let insert =
        "INSERT INTO identities (issuer, subject, user_id, linked_at) VALUES ($1, $2, $3, bulla_now())
        ON CONFLICT DO NOTHING";
    let inserted = t.execute(&t.prepare_cached(insert).await?, &[issuer, subject, &user.as_str()]).await?;
    if inserted == 1 {
        return audit::write(t, &event.about(&user)).await;
    }
    let found = t.query_opt(&t.prepare_cached(OWNER).await?, &[issuer, subject]).await?;
    match may_link(owner_of(found.as_ref())?.as_ref(), &user)? {
        // The row was deleted after the insert found it.
        true => Err(Failure::Stale),
        false => Ok(()),
    }
}

/// Unlinks an identity. Transactions that do this for one user run one after the other. Otherwise two of them could remove the
/// user's last two ways to log in.
async fn unlink(
    t: &Transaction<'_>,
    user: UserId,
    identity: Identity,
    event: AuditEvent,
) -> Result<bool, Failure> {
    lock_user(t, &user).await?;
    callers::lock_and_check(t, &event).await?;
    let all = of_user_in(t, &user).await?;
    let password = "SELECT FROM users WHERE id = $1 AND password_hash IS NOT NULL";
    let password = t.query_opt(&t.prepare_cached(password).await?, &[&row_id(&user)]).await?;
    if !may_unlink(&identity, &all, password.is_some())? {
        return Ok(false);
    }
    let delete = "DELETE FROM identities WHERE issuer = $1 AND subject = $2 AND user_id = $3";
    let values: Values<'_> = &[&identity.issuer, &identity.subject, &user.as_str()];
    if t.execute(&t.prepare_cached(delete).await?, values).await? == 0 {
        // The row was deleted, with the user or by hand. The identity may belong to another user by now.
        return Err(Failure::Stale);
    }
    audit::write(t, &event.about(&user)).await?;
    Ok(true)
}
