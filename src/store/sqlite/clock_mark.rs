//! The row of `clock`.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    clock::Timestamp,
    store::{ClockMark, Leap, StoreError, Written},
};

pub(super) fn read(connection: &Connection) -> Result<Option<ClockMark>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT seen, before, since FROM clock")?;
    let time = Timestamp::from_millis;
    let mark = statement.query_row([], |row| {
        let leap = row.get::<_, Option<i64>>(1)?.zip(row.get::<_, Option<i64>>(2)?);
        let leap = leap.map(|(before, since)| Leap { before: time(before), since: time(since) });
        Ok(ClockMark { seen: time(row.get(0)?), leap })
    });
    Ok(mark.optional()?)
}

pub(super) fn write(
    connection: &Connection,
    was: Option<ClockMark>,
    mark: ClockMark,
) -> Result<Written, StoreError> {
    let written = connection
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
}
