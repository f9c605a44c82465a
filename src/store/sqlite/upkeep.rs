//! Deletes expired rows, and checks and repairs the database.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{SqliteStore, failure::Failure, triggers, unreadable_rows, writer::Statements::Several};
use crate::{
    clock::Timestamp,
    store::{StoreError, UnreadableRow, Upkeep, rows::NODE_RETENTION},
};

/// How many rows of a table one step of a sweep deletes, so that other writers do not wait long.
const SWEEP_STEP: u32 = 500;

#[async_trait]
impl Upkeep for SqliteStore {
    async fn sweep(&self, keep: Duration, audit_keep: Duration) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let step = move |c: &Connection, now| delete_expired(c, now, keep, audit_keep, SWEEP_STEP);
            match self.writer.write(Several, step).await? as u64 {
                0 => return Ok(deleted),
                some => deleted += some,
            }
        }
    }

    async fn missing_triggers(&self) -> Result<Vec<String>, StoreError> {
        self.readers.read(triggers::missing).await
    }

    async fn restore_triggers(&self) -> Result<Vec<String>, StoreError> {
        self.writer.write(Several, |c, _| triggers::restore(c)).await
    }

    async fn unreadable_rows(&self) -> Result<Vec<UnreadableRow>, StoreError> {
        self.readers.read(unreadable_rows::find).await
    }

    async fn check_health(&self) -> Result<(), StoreError> {
        self.state.check_files()?;
        self.readers.read(|c| Ok(c.query_row("SELECT 1", [], |_| Ok(()))?)).await?;
        // Inserts a row and deletes it again. This changes a page, so it fails if the disk is full or read-only. Setting a row to
        // its present value would write nothing.
        let write = |c: &Connection, _| {
            c.prepare_cached("INSERT INTO used (hash, expires_at) VALUES (x'', 0)")?.execute([])?;
            c.prepare_cached("DELETE FROM used WHERE hash = x''")?.execute([])?;
            Ok(())
        };
        self.writer.write(Several, write).await
    }
}

/// Deletes at most `limit` rows of each table that are no longer needed. The deleted sessions are no longer live, so they need no
/// revocation.
fn delete_expired(
    connection: &Connection,
    now: Timestamp,
    keep: Duration,
    audit_keep: Duration,
    limit: u32,
) -> Result<usize, Failure> {
    let (past, old) = (now.minus(keep).millis(), now.minus(audit_keep).millis());
    let mut deleted = 0;
    for (sql, before) in [
        (
            "DELETE FROM sessions WHERE n IN (SELECT n FROM sessions WHERE min(idle_expires_at, expires_at) <= ?1 LIMIT ?2)",
            past,
        ),
        (
            "DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE expires_at <= ?1 LIMIT ?2)",
            now.millis(),
        ),
        (
            "DELETE FROM used WHERE hash IN (SELECT hash FROM used WHERE expires_at <= ?1 LIMIT ?2)",
            now.millis(),
        ),
        (
            "DELETE FROM nodes WHERE name IN (SELECT name FROM nodes WHERE seen_at <= ?1 LIMIT ?2)",
            now.minus(NODE_RETENTION).millis(),
        ),
        ("DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at <= ?1 LIMIT ?2)", old),
    ] {
        deleted += connection.prepare_cached(sql)?.execute(params![before, limit])?;
    }
    Ok(deleted)
}
