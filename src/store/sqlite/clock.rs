//! Reads and writes the row of `clock`.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{SqliteStore, rows::clock::read, writer::Statements::One};
use crate::{
    clock::Timestamp,
    store::{ClockMark, StoreClock, StoreError, Written},
};

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

    async fn write_clock_mark(&self, was: Option<ClockMark>, mark: ClockMark) -> Result<Written, StoreError> {
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
            Ok(Written::from_count(written as u64))
        };
        self.writer.write(One, write).await
    }
}
