//! Reads and writes the rows of `revocations`.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use futures_util::FutureExt as _;

use super::{PostgresStore, audit, failure::Failure, rows::revocations::all};
use crate::{
    clock::Timestamp,
    store::{AuditEvent, Feed, FollowHandle, Revocation, RevocationTarget, Revocations, StoreError},
};

#[async_trait]
impl Revocations for PostgresStore {
    async fn revoke(
        &self,
        target: RevocationTarget,
        until: Timestamp,
        event: AuditEvent,
    ) -> Result<bool, StoreError> {
        self.pool.transaction(None, |t| revoke(t, target.clone(), until, event.clone()).boxed()).await
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let sql = "SELECT seq, target, revoked_at, expires_at FROM revocations WHERE expires_at > bulla_now() AND at_end = 0 ORDER BY seq";
        Ok(all(&self.pool.rows(sql, &[]).await?)?)
    }

    async fn follow(&self, feed: Arc<dyn Feed>) -> Result<FollowHandle, StoreError> {
        self.feeds.follow(feed, self.connector.clone(), self.thread.handle()).await
    }
}

async fn revoke(
    t: &Transaction<'_>,
    target: RevocationTarget,
    until: Timestamp,
    event: AuditEvent,
) -> Result<bool, Failure> {
    let sql = "INSERT INTO revocations (target, revoked_at, expires_at) SELECT $1, bulla_now(), $2
        WHERE NOT EXISTS (SELECT FROM revocations WHERE target = $1 AND expires_at >= $2)";
    let made = t.execute(&t.prepare_cached(sql).await?, &[&target.to_string(), &until.millis()]).await?;
    if made > 0 {
        audit::write(t, &event).await?;
    }
    Ok(made > 0)
}
