//! Reads and writes the rows of `nodes` and `ring`.

use std::time::Duration;

use async_trait::async_trait;

use super::{PostgresStore, failure::Failure, pool::Pool, rows::bigint};
use crate::{
    clock::Timestamp,
    store::{NODE_TIMEOUT, NodeRow, Nodes, StoreError, rows::NODE_MAX_AHEAD},
};

#[async_trait]
impl Nodes for PostgresStore {
    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        ring_mark(&self.pool).await
    }

    async fn record_ring(&self, generation: u64, fingerprint: [u8; 32]) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO ring (one, generation, fingerprint) VALUES (1, $1, $2) ON CONFLICT (one) DO UPDATE
            SET generation = excluded.generation, fingerprint = excluded.fingerprint
            WHERE excluded.generation > ring.generation";
        self.pool.count(sql, &[&bigint(generation), &fingerprint.as_slice()]).await.map(drop)
    }

    async fn report_node(&self, name: &str, ring_generation: u64, version: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO nodes (name, ring_generation, version, seen_at) VALUES ($1, $2, $3, bulla_now())
            ON CONFLICT (name) DO UPDATE SET ring_generation = excluded.ring_generation, version = excluded.version,
              seen_at = excluded.seen_at";
        self.pool.count(sql, &[&name, &bigint(ring_generation), &version]).await.map(drop)
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let sql =
            "SELECT name, ring_generation, version, seen_at FROM nodes WHERE seen_at > bulla_now() - $1::bigint
            AND seen_at < bulla_now() + $2::bigint ORDER BY name";
        // A time in the future was written while the clock was wrong.
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let rows = self.pool.rows(sql, &[&millis(NODE_TIMEOUT), &millis(NODE_MAX_AHEAD)]).await?;
        let read = rows.iter().map(|row| {
            Ok(NodeRow {
                name: row.try_get(0)?,
                ring_generation: row.try_get::<_, i64>(1)?.unsigned_abs(),
                version: row.try_get(2)?,
                seen_at: Timestamp::from_millis(row.try_get(3)?),
            })
        });
        Ok(read.collect::<Result<_, Failure>>()?)
    }
}

/// Returns the recorded generation of the key ring, with its fingerprint.
pub(super) async fn ring_mark(pool: &Pool) -> Result<Option<(u64, [u8; 32])>, StoreError> {
    let rows = pool.rows("SELECT generation, fingerprint FROM ring", &[]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let read = || -> Result<_, Failure> { Ok((row.try_get::<_, i64>(0)?, row.try_get::<_, &[u8]>(1)?)) };
    let (generation, fingerprint) = read()?;
    let unreadable = |_| Failure::Unreadable("ring", "fingerprint".into());
    Ok(Some((generation.unsigned_abs(), fingerprint.try_into().map_err(unreadable)?)))
}
