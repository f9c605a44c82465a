//! Reads the row of `clock`.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::table::Table;
use crate::{
    clock::Timestamp,
    store::{ClockLeap, ClockMark, sqlite::failure::Failure},
};

pub(in crate::store::sqlite) const TABLE: Table =
    Table { name: "clock", columns: "one, seen, before, since", key: 1 };

pub(in crate::store::sqlite) fn read(connection: &Connection) -> Result<Option<ClockMark>, Failure> {
    let mut statement = connection.prepare_cached(&format!("SELECT {} FROM clock", TABLE.columns))?;
    Ok(statement.query_row([], from_row).optional()?)
}

pub(in crate::store::sqlite) fn from_row(row: &Row<'_>) -> rusqlite::Result<ClockMark> {
    let time = Timestamp::from_millis;
    let leap = row.get::<_, Option<i64>>(2)?.zip(row.get::<_, Option<i64>>(3)?);
    let leap = leap.map(|(before, since)| ClockLeap { before: time(before), since: time(since) });
    Ok(ClockMark { seen: time(row.get(1)?), leap })
}
