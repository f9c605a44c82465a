//! Deletes expired rows, and checks and repairs the database.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Client, Object};

use super::{PostgresStore, failure::Failure, triggers, unreadable_rows};
use crate::store::{StoreError, UnreadableRow, Upkeep, rows::NODE_RETENTION};

/// How many rows of a table one step deletes.
const STEP: i64 = 500;
/// How many pages of `sessions` one step scans. There is no index for the search, because no column that a rotation changes may
/// have one.
const PAGES: i64 = 128;
/// The advisory lock that the sweeping node holds.
const LOCK: i64 = 0x0062_756c_6c61_0002;

#[async_trait]
impl Upkeep for PostgresStore {
    async fn sweep(&self, keep: Duration, audit_keep: Duration) -> Result<u64, StoreError> {
        let client = self.pool.client(self.pool.timed_query().deadline()).await?;
        let swept = delete_expired(&client, keep, audit_keep).await;
        if swept.is_err() {
            // Closes the connection, so that the lock is certainly released.
            drop(Object::take(client));
        }
        Ok(swept?)
    }

    async fn missing_triggers(&self) -> Result<Vec<String>, StoreError> {
        triggers::missing(&self.pool).await
    }

    async fn restore_triggers(&self) -> Result<Vec<String>, StoreError> {
        let wrong = triggers::missing(&self.pool).await?;
        if !wrong.is_empty() {
            triggers::restore(&self.connector).await?;
        }
        Ok(wrong)
    }

    async fn unreadable_rows(&self) -> Result<Vec<UnreadableRow>, StoreError> {
        unreadable_rows::find(&self.pool).await
    }

    /// Does not write: a database with a full disk still serves requests that only read.
    async fn check_health(&self) -> Result<(), StoreError> {
        let rows = self.pool.rows("SELECT current_setting('transaction_read_only')", &[]).await?;
        let writable = rows.first().is_some_and(|row| row.try_get(0).is_ok_and(|only: &str| only == "off"));
        if !writable {
            return Err(StoreError::Unavailable("the database is read-only".into()));
        }
        self.pool.check_sessions().await
    }
}

/// Deletes expired rows in small steps. Only one node sweeps at a time; the other nodes then find little left.
async fn delete_expired(client: &Client, keep: Duration, audit_keep: Duration) -> Result<u64, Failure> {
    let mine = client.query_one("SELECT pg_try_advisory_lock($1), bulla_now()", &[&LOCK]).await?;
    let (mine, now): (bool, i64) = (mine.try_get(0)?, mine.try_get(1)?);
    if !mine {
        return Ok(0);
    }
    let before = |time: Duration| now.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let mut deleted = sessions(client, before(keep)).await?;
    for (table, key, time, until) in [
        ("revocations", "seq", "expires_at", now),
        ("used", "hash", "expires_at", now),
        ("nodes", "name", "seen_at", before(NODE_RETENTION)),
        ("audit", "seq", "at", before(audit_keep)),
    ] {
        let sql = format!(
            "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {time} <= $1 LIMIT $2)"
        );
        let statement = client.prepare_cached(&sql).await?;
        loop {
            match client.execute(&statement, &[&until, &STEP]).await? {
                0 => break,
                some => deleted += some,
            }
        }
    }
    client.query_one("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(deleted)
}

/// Deletes expired sessions page by page. They are no longer live, so they need no revocation. A row that another transaction has
/// locked is left for the next sweep.
async fn sessions(client: &Client, past: i64) -> Result<u64, Failure> {
    let pages = "SELECT pg_relation_size('sessions') / current_setting('block_size')::bigint";
    let pages: i64 = client.query_one(pages, &[]).await?.try_get(0)?;
    let step = client
        .prepare_cached(
            "DELETE FROM sessions WHERE sid IN (
               SELECT sid FROM sessions WHERE ctid >= $1::text::tid AND ctid < $2::text::tid
                 AND least(idle_expires_at, expires_at) <= $3 FOR UPDATE SKIP LOCKED)",
        )
        .await?;
    let mut deleted = 0;
    let mut page = 0;
    while page < pages {
        let (from, to) = (format!("({page},0)"), format!("({},0)", page + PAGES));
        deleted += client.execute(&step, &[&from, &to, &past]).await?;
        page += PAGES;
    }
    Ok(deleted)
}
