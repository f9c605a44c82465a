//! Reads and writes the rows of `revocations`.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use futures_util::FutureExt as _;
use tokio_postgres::{Error, Row};

use super::{PostgresStore, audit, failure::Failure};
use crate::{
    clock::Timestamp,
    store::{AuditEvent, Feed, FollowHandle, Revocation, Revocations, StoreError, Target},
};

/// Reads a revocation. `None` for a target that can't be parsed: no token can match it, so the row is skipped.
pub(super) fn from_row(row: &Row) -> Result<Option<Revocation>, Error> {
    let target: &str = row.try_get("target")?;
    let Ok(target) = target.parse() else { return Ok(None) };
    Ok(Some(Revocation {
        seq: row.try_get("seq")?,
        target,
        revoked_at: Timestamp::from_millis(row.try_get("revoked_at")?),
        expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
    }))
}

fn all(rows: &[Row]) -> Result<Vec<Revocation>, Failure> {
    let read = rows.iter().map(from_row).filter_map(Result::transpose);
    Ok(read.collect::<Result<_, _>>()?)
}

#[async_trait]
impl Revocations for PostgresStore {
    async fn revoke(&self, target: Target, until: Timestamp, event: AuditEvent) -> Result<bool, StoreError> {
        self.pool.transaction(None, |t| revoke(t, target.clone(), until, event.clone()).boxed()).await
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let sql = "SELECT seq, target, revoked_at, expires_at FROM revocations WHERE expires_at > bulla_now() AND at_end = 0 ORDER BY seq";
        Ok(all(&self.pool.rows(sql, &[]).await?)?)
    }

    async fn follow(&self, feed: Arc<dyn Feed>) -> Result<FollowHandle, StoreError> {
        self.feeds.follow(feed, self.connector.clone(), self.home.handle()).await
    }
}

async fn revoke(
    t: &Transaction<'_>,
    target: Target,
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

/// Returns the revocations that the triggers have written in this transaction so far, and the time.
pub(super) async fn of_this_transaction(
    transaction: &Transaction<'_>,
) -> Result<(Vec<Revocation>, Timestamp), Failure> {
    let sql = "SELECT seq, target, revoked_at, expires_at, bulla_now() AS now FROM revocations
        WHERE txid = pg_current_xact_id_if_assigned() AND at_end = 0";
    let rows = transaction.query(&transaction.prepare_cached(sql).await?, &[]).await?;
    let now = rows.first().map(|row| row.try_get("now")).transpose()?;
    Ok((all(&rows)?, now.map(Timestamp::from_millis).unwrap_or_default()))
}

/// Whether a revocation is due that was set by hand to take effect at a session's end. Revocations whose expiry has passed are
/// ignored: either no token can live that long, or the clock leaps.
pub(super) const DUE: &str = "EXISTS (SELECT FROM revocations WHERE at_end = 1 AND revoked_at <= bulla_now() AND expires_at > bulla_now())";

/// Makes the due revocations take effect from now on. If the session was renewed or extended meanwhile, the revocation is
/// postponed to the new end. If the session was deleted, the deletion has already revoked it. If several nodes run this at once,
/// only one of them finds each row.
pub(super) const TAKE_EFFECT: &str = "
    WITH clock AS (SELECT bulla_now() AS now), due AS (
      DELETE FROM revocations USING clock WHERE at_end = 1 AND revoked_at <= now AND expires_at > now RETURNING target
    ), ends AS (
      SELECT target, least(idle_expires_at, expires_at) AS at, now FROM due JOIN sessions ON sid = target, clock
    )
    INSERT INTO revocations (target, revoked_at, expires_at, at_end)
    SELECT target, greatest(at, now), greatest(at, now) + 1020000, CASE WHEN at > now THEN 1 ELSE 0 END FROM ends";
