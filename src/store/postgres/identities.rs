//! Reads and writes the rows of `identities` and used nonces.

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::{
    audit, bad, callers,
    failure::Failure,
    pool::{Pool, Values},
    sessions,
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{
        AuditEvent, Identity, LinkedIdentity, StoreError,
        rules::{may_link, may_unlink, number},
    },
};

const OWNER: &str = "SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2";
const OF_USER: &str = "SELECT issuer, subject, linked_at FROM identities WHERE user_id = $1
    ORDER BY issuer COLLATE \"C\", subject COLLATE \"C\"";

/// An invalid user id can only have been inserted by hand. It belongs to no user.
fn owner_of(row: Option<&Row>) -> Result<Option<UserId>, Failure> {
    let id = row.map(|row| row.try_get::<_, String>(0)).transpose()?;
    Ok(id.and_then(|id| UserId::new(id).ok()))
}

fn all(rows: &[Row]) -> Result<Vec<LinkedIdentity>, Failure> {
    let read = |row: &Row| {
        let linked_at: Option<i64> = row.try_get(2)?;
        Ok(LinkedIdentity {
            identity: Identity { issuer: row.try_get(0)?, subject: row.try_get(1)? },
            linked_at: linked_at.map(Timestamp::from_millis),
        })
    };
    rows.iter().map(read).collect()
}

pub(super) fn all_rows() -> String {
    "SELECT issuer, subject, user_id FROM identities".into()
}

pub(super) fn check(row: &Row) -> Result<(), Failure> {
    let user: String = row.try_get(2)?;
    UserId::new(user).map(drop).map_err(|_| Failure::Unreadable("identities", "user_id".into()))
}

pub(super) fn key(row: &Row) -> String {
    let value = |at| bad::literal(row.try_get(at).unwrap_or_default());
    format!("issuer = {} AND subject = {}", value(0), value(1))
}

/// Whether PostgreSQL can store this identity. A text can't contain NUL, so an identity with a NUL is linked to no user.
fn can_be_kept(identity: &Identity) -> bool {
    !identity.issuer.contains('\0') && !identity.subject.contains('\0')
}

pub(super) async fn owner(pool: &Pool, identity: &Identity) -> Result<Option<UserId>, StoreError> {
    if !can_be_kept(identity) {
        return Ok(None);
    }
    let rows = pool.rows(OWNER, &[&identity.issuer, &identity.subject]).await?;
    Ok(owner_of(rows.first())?)
}

/// Returns the user of an identity, as the transaction sees it.
pub(super) async fn owner_in(t: &Transaction<'_>, identity: &Identity) -> Result<Option<UserId>, Failure> {
    if !can_be_kept(identity) {
        return Ok(None);
    }
    let found = t.query_opt(&t.prepare_cached(OWNER).await?, &[&identity.issuer, &identity.subject]).await?;
    owner_of(found.as_ref())
}

pub(super) async fn of_user(pool: &Pool, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
    Ok(all(&pool.rows(OF_USER, &[&user.as_str()]).await?)?)
}

/// Returns the identities of a user, as the transaction sees them.
pub(super) async fn of_user_in(t: &Transaction<'_>, user: &UserId) -> Result<Vec<LinkedIdentity>, Failure> {
    all(&t.query(&t.prepare_cached(OF_USER).await?, &[&user.as_str()]).await?)
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
        return Err(StoreError::Conflict("this identity holds a character that can't be kept".into()).into());
    }
    let held = "SELECT FROM users WHERE id = $1 FOR KEY SHARE";
    t.query_opt(&t.prepare_cached(held).await?, &[&number(&user)]).await?;
    // A password change ends the session and then lists the linked identities. Either it waits for this transaction, or this
    // transaction finds that the session has ended.
    callers::hold(t, &event).await?;
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
        true => Err(Failure::Moved),
        false => Ok(()),
    }
}

/// Unlinks an identity. Transactions that do this for one user run one after the other. Otherwise two of them could remove the
/// user's last two ways to log in.
pub(super) async fn unlink(
    t: &Transaction<'_>,
    user: UserId,
    identity: Identity,
    event: AuditEvent,
) -> Result<bool, Failure> {
    sessions::take_turns(t, &user).await?;
    callers::hold(t, &event).await?;
    let all = of_user_in(t, &user).await?;
    let password = "SELECT FROM users WHERE id = $1 AND password_hash IS NOT NULL";
    let password = t.query_opt(&t.prepare_cached(password).await?, &[&number(&user)]).await?;
    if !may_unlink(&identity, &all, password.is_some())? {
        return Ok(false);
    }
    let delete = "DELETE FROM identities WHERE issuer = $1 AND subject = $2 AND user_id = $3";
    let values: Values<'_> = &[&identity.issuer, &identity.subject, &user.as_str()];
    if t.execute(&t.prepare_cached(delete).await?, values).await? == 0 {
        // The row was deleted, with the user or by hand. The identity may belong to another user by now.
        return Err(Failure::Moved);
    }
    audit::write(t, &event.about(&user)).await?;
    Ok(true)
}

pub(super) async fn spend(pool: &Pool, hash: &[u8; 32], expires_at: Timestamp) -> Result<bool, StoreError> {
    let sql = "INSERT INTO used (hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    Ok(pool.count(sql, &[&hash.as_slice(), &expires_at.millis()]).await? == 1)
}

pub(super) async fn is_spent(pool: &Pool, hash: &[u8; 32]) -> Result<bool, StoreError> {
    let rows = pool.rows("SELECT 1 FROM used WHERE hash = $1", &[&hash.as_slice()]).await?;
    Ok(!rows.is_empty())
}
