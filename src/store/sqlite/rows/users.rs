//! Reads the rows of `users`.

use rusqlite::{Connection, Row};

use super::table::Table;
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{UserRow, rows::row_id, sqlite::failure::Failure},
};

pub(in crate::store::sqlite) const COLUMNS: &str =
    "id, name, password_hash, roles, claims, disabled, created_at";

pub(in crate::store::sqlite) const TABLE: Table = Table { name: "users", columns: COLUMNS, key: 1 };

pub(in crate::store::sqlite) fn from_row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    let unreadable =
        |column| rusqlite::Error::InvalidColumnType(column, "users".into(), rusqlite::types::Type::Text);
    let json = |column: usize| row.get::<_, String>(column);
    Ok(UserRow {
        id: UserId::new(row.get::<_, i64>(0)?.to_string()).map_err(|_| unreadable(0))?,
        name: row.get(1)?,
        password_hash: row.get(2)?,
        roles: serde_json::from_str(&json(3)?).map_err(|_| unreadable(3))?,
        claims: serde_json::from_str(&json(4)?).map_err(|_| unreadable(4))?,
        disabled: row.get(5)?,
        created_at: Timestamp::from_millis(row.get(6)?),
    })
}

pub(in crate::store::sqlite) fn one(
    connection: &Connection,
    id: &UserId,
) -> Result<Option<UserRow>, Failure> {
    let Some(n) = row_id(id) else { return Ok(None) };
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id = ?"))?;
    let mut rows = statement.query([n])?;
    let row = rows.next()?.map(|row| TABLE.read_one(row, from_row));
    Ok(row.map(|row| row.unwrap_or_else(|| UserRow::unreadable(id))))
}
