//! Reads and writes the rows of `revocations`.

use deadpool_postgres::Transaction;
use tokio_postgres::{Error, Row};

use super::{failure::Failure, pool::Pool};
use crate::{
    clock::Timestamp,
    store::{Revocation, StoreError},
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

/// Returns the revocations in force, in order.
pub(super) async fn in_force(pool: &Pool) -> Result<Vec<Revocation>, StoreError> {
    let sql = "SELECT seq, target, revoked_at, expires_at FROM revocations WHERE expires_at > bulla_now() AND at_end = 0 ORDER BY seq";
    Ok(all(&pool.rows(sql, &[]).await?)?)
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
