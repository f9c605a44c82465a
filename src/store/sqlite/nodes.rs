//! Reads and writes the rows of `nodes` and the row of `ring`.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    rows::nodes::{TABLE, from_row, ring_mark},
    writer::Statements::One,
};
use crate::{
    clock::Timestamp,
    store::{NODE_TIMEOUT, NodeRow, Nodes, StoreError, rows::NODE_MAX_AHEAD},
};

#[async_trait]
impl Nodes for SqliteStore {
    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        self.readers.read(ring_mark).await
    }

    async fn record_ring(&self, generation: u64, fingerprint: [u8; 32]) -> Result<(), StoreError> {
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
            let values = [now.minus(NODE_TIMEOUT).millis(), now.plus(NODE_MAX_AHEAD).millis()];
            TABLE.read_several(&mut statement, values, u32::MAX, from_row)
        };
        self.readers.read(live).await
    }
}
