//! The rows of `nodes`.

use rusqlite::{Connection, params};

use crate::{
    clock::Timestamp,
    store::{NODE_LIVES, NodeRow, StoreError},
};

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
    let mut statement = connection.prepare_cached(
        "SELECT name, ring_generation, version, seen_at FROM nodes WHERE seen_at > ? ORDER BY name",
    )?;
    let rows = statement.query_map([now.minus(NODE_LIVES).millis()], |row| {
        Ok(NodeRow {
            name: row.get(0)?,
            ring_generation: row.get(1)?,
            version: row.get(2)?,
            seen_at: Timestamp::from_millis(row.get(3)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
