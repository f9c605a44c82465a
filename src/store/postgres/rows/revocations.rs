//! Reads the rows of `revocations`.

use deadpool_postgres::Transaction;
use tokio_postgres::{Error, Row};

use crate::{
    clock::Timestamp,
    store::{Revocation, postgres::failure::Failure},
};

/// Reads a revocation. `None` for a target that can't be parsed: no token can match it, so the row is skipped.
pub(in crate::store::postgres) fn from_row(row: &Row) -> Result<Option<Revocation>, Error> {
    let target: &str = row.try_get("target")?;
    let Ok(target) = target.parse() else { return Ok(None) };
    Ok(Some(Revocation {
        seq: row.try_get("seq")?,
        target,
        revoked_at: Timestamp::from_millis(row.try_get("revoked_at")?),
        expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
    }))
}

pub(in crate::store::postgres) fn all(rows: &[Row]) -> Result<Vec<Revocation>, Failure> {
    let read = rows.iter().map(from_row).filter_map(Result::transpose);
    Ok(read.collect::<Result<_, _>>()?)
}

/// Returns the revocations that the triggers have written in this transaction so far, and the time.
pub(in crate::store::postgres) async fn of_this_transaction(
    transaction: &Transaction<'_>,
) -> Result<(Vec<Revocation>, Timestamp), Failure> {
    let sql = "SELECT seq, target, revoked_at, expires_at, bulla_now() AS now FROM revocations
        WHERE txid = pg_current_xact_id_if_assigned() AND at_end = 0";
    let rows = transaction.query(&transaction.prepare_cached(sql).await?, &[]).await?;
    let now = rows.first().map(|row| row.try_get("now")).transpose()?;
    Ok((all(&rows)?, now.map(Timestamp::from_millis).unwrap_or_default()))
}
