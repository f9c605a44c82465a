//! Reads and writes the rows of `revocations`.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{SqliteStore, audit, rows::revocations::since, writer::Statements::Several};
use crate::{
    clock::Timestamp,
    store::{AuditEvent, Feed, FollowHandle, Revocation, RevocationTarget, Revocations, StoreError},
};

#[async_trait]
impl Revocations for SqliteStore {
    async fn revoke(
        &self,
        target: RevocationTarget,
        until: Timestamp,
        event: AuditEvent,
    ) -> Result<bool, StoreError> {
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
        Ok(self.feeds.follow(feed, &self.path, Arc::clone(&self.clock), Arc::clone(&self.state))?)
    }
}
