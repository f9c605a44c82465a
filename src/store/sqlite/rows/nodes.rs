//! Reads the rows of `nodes` and the row of `ring`.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::table::Table;
use crate::{
    clock::Timestamp,
    store::{NodeRow, sqlite::failure::Failure},
};

pub(in crate::store::sqlite) const TABLE: Table =
    Table { name: "nodes", columns: "name, ring_generation, version, seen_at", key: 1 };

pub(in crate::store::sqlite) const RING: Table =
    Table { name: "ring", columns: "one, generation, fingerprint", key: 1 };

pub(in crate::store::sqlite) fn from_row(row: &Row<'_>) -> rusqlite::Result<NodeRow> {
    Ok(NodeRow {
        name: row.get(0)?,
        ring_generation: row.get(1)?,
        version: row.get(2)?,
        seen_at: Timestamp::from_millis(row.get(3)?),
    })
}

/// Returns the recorded generation of the key ring, with its fingerprint.
pub(in crate::store::sqlite) fn ring_mark(
    connection: &Connection,
) -> Result<Option<(u64, [u8; 32])>, Failure> {
    let mut statement = connection.prepare_cached("SELECT generation, fingerprint FROM ring")?;
    Ok(statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}
