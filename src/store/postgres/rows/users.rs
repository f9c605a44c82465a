//! Reads the rows of `users`.

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::unreadable::{read_one, read_several};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{UserRow, postgres::failure::Failure, rows::row_id},
};

pub(in crate::store::postgres) const COLUMNS: &str =
    "id, name, password_hash, roles, claims, disabled, created_at";

/// The same columns for queries that join other tables.
pub(in crate::store::postgres) const OWN_COLUMNS: &str =
    "u.id, u.name, u.password_hash, u.roles, u.claims, u.disabled, u.created_at";

/// Reads a user from the columns beginning at `first`.
fn from_row(row: &Row, first: usize) -> Result<UserRow, Failure> {
    let unreadable = |column: &str| Failure::Unreadable("users", column.to_owned());
    Ok(UserRow {
        id: UserId::new(row.try_get::<_, i64>(first)?.to_string()).map_err(|_| unreadable("id"))?,
        name: row.try_get(first + 1)?,
        password_hash: row.try_get(first + 2)?,
        roles: serde_json::from_str(row.try_get(first + 3)?).map_err(|_| unreadable("roles"))?,
        claims: serde_json::from_str(row.try_get(first + 4)?).map_err(|_| unreadable("claims"))?,
        disabled: row.try_get::<_, i32>(first + 5)? != 0,
        created_at: Timestamp::from_millis(row.try_get(first + 6)?),
    })
}

pub(in crate::store::postgres) fn all(rows: &[Row]) -> Result<Vec<UserRow>, Failure> {
    read_several(rows, |row| from_row(row, 0), key)
}

pub(in crate::store::postgres) fn single(rows: &[Row]) -> Result<Option<UserRow>, Failure> {
    rows.first().map(of_row).transpose()
}

/// Reads an existing user. A user whose row can't be read may do nothing.
pub(in crate::store::postgres) fn of_row(row: &Row) -> Result<UserRow, Failure> {
    let read = read_one(from_row(row, 0), || key(row))?;
    let id = UserId::new(row.try_get::<_, i64>(0)?.to_string());
    let id = id.map_err(|_| Failure::Unreadable("users", "id".into()))?;
    Ok(read.unwrap_or_else(|| UserRow::unreadable(&id)))
}

pub(in crate::store::postgres) fn all_rows() -> String {
    format!("SELECT {COLUMNS} FROM users")
}

pub(in crate::store::postgres) fn check(row: &Row) -> Result<(), Failure> {
    from_row(row, 0).map(drop)
}

pub(in crate::store::postgres) fn key(row: &Row) -> String {
    format!("id = {}", row.try_get::<_, i64>(0).unwrap_or_default())
}

pub(in crate::store::postgres) async fn read_in(
    t: &Transaction<'_>,
    id: &UserId,
    lock: &str,
) -> Result<Option<UserRow>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1 {lock}");
    single(&t.query(&t.prepare_cached(&sql).await?, &[&row_id(id)]).await?)
}

/// Reads the row for a login. An update without a change locks it until the commit.
pub(in crate::store::postgres) async fn lock_for_login(
    t: &Transaction<'_>,
    id: &UserId,
) -> Result<Option<UserRow>, Failure> {
    let sql = format!("UPDATE users SET disabled = disabled WHERE id = $1 RETURNING {COLUMNS}");
    single(&t.query(&t.prepare_cached(&sql).await?, &[&row_id(id)]).await?)
}
