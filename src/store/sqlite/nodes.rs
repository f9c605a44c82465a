//! Reads and writes the rows of `nodes` and the row of `ring`.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{SqliteStore, bad::Table, writer::Statements::One};
use crate::{
    clock::Timestamp,
    store::{NODE_LIVES, NodeRow, Nodes, StoreError, nodes::NODE_AHEAD},
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

#[async_trait]
impl Nodes for SqliteStore {
    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        self.readers.read(ring_mark).await
    }

    async fn note_ring(&self, generation: u64, fingerprint: [u8; 32]) -> Result<(), StoreError> {
        let change = move |c: &Connection, _| {
            c.prepare_cached(
                "INSERT INTO ring (one, generation, fingerprint) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE
                 SET generation = excluded.generation, fingerprint = excluded.fingerprint
                 WHERE excluded.generation > ring.generation",
            )?
            .execute(params![generation, fingerprint])?;
            Ok(())
        };
        self.writer.write(One, change).await
    }

    async fn report_node(&self, name: &str, ring_generation: u64, version: &str) -> Result<(), StoreError> {
        let (name, version) = (name.to_owned(), version.to_owned());
        let report = move |c: &Connection, now: Timestamp| {
            c.prepare_cached(
                "INSERT OR REPLACE INTO nodes (name, ring_generation, version, seen_at) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![name, ring_generation, version, now.millis()])?;
            Ok(())
        };
        self.writer.write(One, report).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let now = self.clock.now();
        let live = move |c: &Connection| {
            // A time in the future was written while the clock was wrong.
            let mut statement = c.prepare_cached(
                "SELECT name, ring_generation, version, seen_at FROM nodes WHERE seen_at > ? AND seen_at < ? ORDER BY name",
            )?;
            let values = [now.minus(NODE_LIVES).millis(), now.plus(NODE_AHEAD).millis()];
            TABLE.some(&mut statement, values, u32::MAX, from_row)
        };
        self.readers.read(live).await
    }
}

/// Returns the recorded generation of the key ring, with its fingerprint.
pub(super) fn ring_mark(connection: &Connection) -> Result<Option<(u64, [u8; 32])>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT generation, fingerprint FROM ring")?;
    Ok(statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}
