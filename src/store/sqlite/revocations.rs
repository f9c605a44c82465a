//! Reads and writes the rows of `revocations`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{SqliteStore, audit, bad::Table, writer::Statements::Several};
use crate::{
    clock::Timestamp,
    store::{AuditEvent, Feed, FollowHandle, Revocation, Revocations, StoreError, Target},
};

/// The longest life of a token of a session or a client.
const TOKEN_LIVES: Duration = Duration::from_secs(3720);

pub(super) const TABLE: Table =
    Table { name: "revocations", columns: "seq, target, revoked_at, expires_at", key: 1 };

/// Reads a revocation. `None` if its target can't be parsed, because no token can match it.
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Option<Revocation>> {
    let target: String = row.get(1)?;
    let Ok(target) = target.parse() else { return Ok(None) };
    let time = |at| row.get(at).map(Timestamp::from_millis);
    Ok(Some(Revocation { seq: row.get(0)?, target, revoked_at: time(2)?, expires_at: time(3)? }))
}

#[async_trait]
impl Revocations for SqliteStore {
    async fn revoke(&self, target: Target, until: Timestamp, event: AuditEvent) -> Result<bool, StoreError> {
        let target = target.to_string();
        let revoke = move |c: &Connection, now: Timestamp| {
            let known = "SELECT 1 FROM revocations WHERE target = ? AND expires_at >= ?";
            if c.prepare_cached(known)?.exists(params![target, until.millis()])? {
                return Ok(false);
            }
            c.prepare_cached("INSERT INTO revocations (target, revoked_at, expires_at) VALUES (?, ?, ?)")?
                .execute(params![target, now.millis(), until.millis()])?;
            audit::write(c, &event, now)?;
            Ok(true)
        };
        self.writer.write(Several, revoke).await
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let now = self.clock.now();
        let all = self.readers.read(move |c| since(c, 0, now)).await?;
        Ok(all.into_iter().filter(|revocation| revocation.expires_at > now).collect())
    }

    async fn follow(&self, feed: Arc<dyn Feed>) -> Result<FollowHandle, StoreError> {
        self.feeds.follow(feed, &self.path, Arc::clone(&self.clock), Arc::clone(&self.state))
    }
}

/// Reads a revocation. If its times can't be read, it revokes from now on for the longest life of a token.
fn read(row: &Row<'_>, now: Timestamp) -> Option<Revocation> {
    TABLE.one(row, from_row).unwrap_or_else(|| {
        let (seq, target) = (row.get(0).ok()?, row.get::<_, String>(1).ok()?.parse().ok()?);
        Some(Revocation { seq, target, revoked_at: now, expires_at: now.plus(TOKEN_LIVES) })
    })
}

/// Returns the revocations in force with a higher number, in order. A target that can't be parsed is skipped, because no token
/// can match it.
pub(super) fn since(
    connection: &Connection,
    seq: i64,
    now: Timestamp,
) -> Result<Vec<Revocation>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, target, revoked_at, expires_at FROM revocations WHERE seq > ? AND at_end = 0 ORDER BY seq",
    )?;
    let mut rows = statement.query([seq])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(read(row, now));
    }
    Ok(found)
}
