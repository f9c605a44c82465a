//! Reads and writes the row of `clock`.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{SqliteStore, bad::Table, writer::Statements::One};
use crate::{
    clock::Timestamp,
    store::{ClockMark, Leap, StoreClock, StoreError, Written},
};

pub(super) const TABLE: Table = Table { name: "clock", columns: "one, seen, before, since", key: 1 };

#[async_trait]
impl StoreClock for SqliteStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.state.check()?;
        Ok(self.clock.now())
    }

    async fn clock_mark(&self) -> Result<(Option<ClockMark>, Timestamp), StoreError> {
        let clock = Arc::clone(&self.clock);
        self.readers.read(move |c| Ok((read(c)?, clock.now()))).await
    }

    async fn note_clock(&self, was: Option<ClockMark>, mark: ClockMark) -> Result<Written, StoreError> {
        let write = move |c: &Connection, _| {
            let written = c
                .prepare_cached(
                    "INSERT INTO clock (one, seen, before, since) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (one) DO UPDATE SET seen = ?1, before = ?2, since = ?3 WHERE clock.seen IS ?4",
                )?
                .execute(params![
                    mark.seen.millis(),
                    mark.leap.map(|leap| leap.before.millis()),
                    mark.leap.map(|leap| leap.since.millis()),
                    was.map(|was| was.seen.millis()),
                ])?;
            Ok(Written::rows(written as u64))
        };
        self.writer.write(One, write).await
    }
}

pub(super) fn read(connection: &Connection) -> Result<Option<ClockMark>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {} FROM clock", TABLE.columns))?;
    Ok(statement.query_row([], from_row).optional()?)
}

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<ClockMark> {
    let time = Timestamp::from_millis;
    let leap = row.get::<_, Option<i64>>(2)?.zip(row.get::<_, Option<i64>>(3)?);
    let leap = leap.map(|(before, since)| Leap { before: time(before), since: time(since) });
    Ok(ClockMark { seen: time(row.get(1)?), leap })
}
