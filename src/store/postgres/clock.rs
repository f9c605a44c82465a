//! Reads and writes the row of `clock`.

use async_trait::async_trait;

use super::{PostgresStore, failure::Failure, pool::Pool};
use crate::{
    clock::Timestamp,
    store::{ClockLeap, ClockMark, StoreClock, StoreError, Written},
};

#[async_trait]
impl StoreClock for PostgresStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let rows = self.pool.rows("SELECT bulla_now()", &[]).await?;
        let now = rows.first().map(|row| row.try_get(0)).transpose().map_err(Failure::from)?;
        now.map(Timestamp::from_millis).ok_or_else(no_time)
    }

    async fn clock_mark(&self) -> Result<(Option<ClockMark>, Timestamp), StoreError> {
        read(&self.pool).await
    }

    async fn write_clock_mark(&self, was: Option<ClockMark>, mark: ClockMark) -> Result<Written, StoreError> {
        let sql = "INSERT INTO clock (one, seen, before, since) VALUES (1, $1, $2, $3)
            ON CONFLICT (one) DO UPDATE SET seen = $1, before = $2, since = $3 WHERE clock.seen IS NOT DISTINCT FROM $4";
        let (before, since) =
            (mark.leap.map(|leap| leap.before.millis()), mark.leap.map(|leap| leap.since.millis()));
        let was = was.map(|was| was.seen.millis());
        self.pool.count(sql, &[&mark.seen.millis(), &before, &since, &was]).await.map(Written::from_count)
    }
}

/// Returns the remembered state of the clock, with the time.
pub(super) async fn read(pool: &Pool) -> Result<(Option<ClockMark>, Timestamp), StoreError> {
    let sql = "SELECT bulla_now(), seen, before, since FROM (SELECT) AS always LEFT JOIN clock ON one = 1";
    let rows = pool.rows(sql, &[]).await?;
    let row = rows.first().ok_or_else(no_time)?;
    let time = |at| row.try_get::<_, Option<i64>>(at).map(|time| time.map(Timestamp::from_millis));
    let read = || -> Result<_, Failure> {
        let leap = time(2)?.zip(time(3)?).map(|(before, since)| ClockLeap { before, since });
        let mark = time(1)?.map(|seen| ClockMark { seen, leap });
        Ok((mark, time(0)?.unwrap_or_default()))
    };
    Ok(read()?)
}

fn no_time() -> StoreError {
    StoreError::Unavailable("the database returned no time".into())
}
