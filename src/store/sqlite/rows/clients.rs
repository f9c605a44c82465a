//! Reads the rows of `clients`.

use rusqlite::{Connection, Row};

use super::table::Table;
use crate::{
    clock::Timestamp,
    ids::ClientId,
    secret::Digest,
    store::{ClientRow, rows::ClientColumns, sqlite::failure::Failure},
};

pub(in crate::store::sqlite) const COLUMNS: &str =
    "id, name, secret_hash, former_hash, former_until, jwks, scopes, audiences, redirect_uris, disabled,
    created_at, public";

pub(in crate::store::sqlite) const TABLE: Table = Table { name: "clients", columns: COLUMNS, key: 1 };

pub(in crate::store::sqlite) fn from_row(row: &Row<'_>) -> rusqlite::Result<ClientRow> {
    let unreadable =
        |column| rusqlite::Error::InvalidColumnType(column, "clients".into(), rusqlite::types::Type::Text);
    let columns = ClientColumns {
        secret_hash: row.get(2)?,
        former_hash: row.get(3)?,
        former_until: row.get(4)?,
        scopes: row.get(6)?,
        audiences: row.get(7)?,
        redirect_uris: row.get(8)?,
    };
    Ok(ClientRow {
        id: ClientId::new(row.get::<_, String>(0)?).map_err(|_| unreadable(0))?,
        name: row.get(1)?,
        secret_hash: columns.secret_hash.map(Digest),
        former: columns.former(),
        jwks: row.get(5)?,
        public: row.get(11)?,
        scopes: columns.scope().ok_or_else(|| unreadable(6))?,
        audiences: columns.audiences().ok_or_else(|| unreadable(7))?,
        redirect_uris: columns.redirect_uris().ok_or_else(|| unreadable(8))?,
        disabled: row.get(9)?,
        created_at: Timestamp::from_millis(row.get(10)?),
    })
}

pub(in crate::store::sqlite) fn one(
    connection: &Connection,
    id: &ClientId,
) -> Result<Option<ClientRow>, Failure> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM clients WHERE id = ?"))?;
    let mut rows = statement.query([id.as_str()])?;
    Ok(rows.next()?.and_then(|row| TABLE.read_one(row, from_row)))
}
