//! Reads the rows of `identities`.

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::unreadable::literal;
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{Identity, LinkedIdentity, postgres::failure::Failure},
};

pub(in crate::store::postgres) const OWNER: &str =
    "SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2";

pub(in crate::store::postgres) const OF_USER: &str =
    "SELECT issuer, subject, linked_at FROM identities WHERE user_id = $1
    ORDER BY issuer COLLATE \"C\", subject COLLATE \"C\"";

/// An invalid user id can only have been inserted by hand. It belongs to no user.
pub(in crate::store::postgres) fn owner_of(row: Option<&Row>) -> Result<Option<UserId>, Failure> {
    let id = row.map(|row| row.try_get::<_, String>(0)).transpose()?;
    Ok(id.and_then(|id| UserId::new(id).ok()))
}

pub(in crate::store::postgres) fn all(rows: &[Row]) -> Result<Vec<LinkedIdentity>, Failure> {
    let read = |row: &Row| {
        let linked_at: Option<i64> = row.try_get(2)?;
        Ok(LinkedIdentity {
            identity: Identity { issuer: row.try_get(0)?, subject: row.try_get(1)? },
            linked_at: linked_at.map(Timestamp::from_millis),
        })
    };
    rows.iter().map(read).collect()
}

pub(in crate::store::postgres) fn all_rows() -> String {
    "SELECT issuer, subject, user_id FROM identities".into()
}

pub(in crate::store::postgres) fn check(row: &Row) -> Result<(), Failure> {
    let user: String = row.try_get(2)?;
    UserId::new(user).map(drop).map_err(|_| Failure::Unreadable("identities", "user_id".into()))
}

pub(in crate::store::postgres) fn key(row: &Row) -> String {
    let value = |at| literal(row.try_get(at).unwrap_or_default());
    format!("issuer = {} AND subject = {}", value(0), value(1))
}

/// Whether PostgreSQL can store this identity. A text can't contain NUL, so an identity with a NUL is linked to no user.
pub(in crate::store::postgres) fn can_be_kept(identity: &Identity) -> bool {
    !identity.issuer.contains('\0') && !identity.subject.contains('\0')
}

/// Returns the user of an identity, as the transaction sees it.
pub(in crate::store::postgres) async fn owner_in(
    t: &Transaction<'_>,
    identity: &Identity,
) -> Result<Option<UserId>, Failure> {
    if !can_be_kept(identity) {
        return Ok(None);
    }
    let found = t.query_opt(&t.prepare_cached(OWNER).await?, &[&identity.issuer, &identity.subject]).await?;
    owner_of(found.as_ref())
}

/// Returns the identities of a user, as the transaction sees them.
pub(in crate::store::postgres) async fn of_user_in(
    t: &Transaction<'_>,
    user: &UserId,
) -> Result<Vec<LinkedIdentity>, Failure> {
    all(&t.query(&t.prepare_cached(OF_USER).await?, &[&user.as_str()]).await?)
}
