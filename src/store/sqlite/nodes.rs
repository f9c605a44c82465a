//! Reads and writes the rows of `nodes`.

use rusqlite::{Connection, Row, params};

use super::bad::Table;
use crate::{
    clock::Timestamp,
    store::{NODE_LIVES, NodeRow, StoreError, rules::NODE_AHEAD},
};

pub(super) const TABLE: Table =
    Table { name: "nodes", columns: "name, ring_generation, version, seen_at", key: 1 };
pub(super) const RING: Table = Table { name: "ring", columns: "one, generation, fingerprint", key: 1 };

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<NodeRow> {
    Ok(NodeRow {
        name: row.get(0)?,
        ring_generation: row.get(1)?,
        version: row.get(2)?,
        seen_at: Timestamp::from_millis(row.get(3)?),
    })
}

pub(super) fn report(
    connection: &Connection,
    name: &str,
    ring_generation: u64,
    version: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO nodes (name, ring_generation, version, seen_at) VALUES (?, ?, ?, ?)",
        )?
        .execute(params![name, ring_generation, version, now.millis()])?;
    Ok(())
}

pub(super) fn live(connection: &Connection, now: Timestamp) -> Result<Vec<NodeRow>, StoreError> {
    // A time in the future was written while the clock was wrong.
    let mut statement = connection.prepare_cached(
        "SELECT name, ring_generation, version, seen_at FROM nodes WHERE seen_at > ? AND seen_at < ? ORDER BY name",
    )?;
    let values = [now.minus(NODE_LIVES).millis(), now.plus(NODE_AHEAD).millis()];
    TABLE.some(&mut statement, values, u32::MAX, from_row)
}
