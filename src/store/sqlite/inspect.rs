//! Examines a database file for `bulla doctor`. Writes nothing.

use std::path::Path;

use rusqlite::OptionalExtension as _;

use super::{
    failure::Failure,
    open,
    read_only::{Reading, connect, foreign, named},
    rows::{clock, nodes::ring_mark},
    triggers, unreadable_rows,
};
use crate::{
    clock::{Clock, Timestamp},
    store::{
        StoreError,
        inspection::{DatabaseFacts, Inspection, compare_schema},
    },
};

/// Examines a file: its kind and its condition.
pub(super) fn inspect(path: &Path, clock: &dyn Clock) -> Result<Inspection, StoreError> {
    open::refuse_writable(path)?;
    let facts = || -> Result<Inspection, Failure> {
        let connection = match connect(path)? {
            Reading::Nothing => return Ok(Inspection::Missing),
            Reading::Unread => {
                return Err(Failure::Store(StoreError::Unavailable(
                    "the write-ahead log next to the file has not been read yet; `bulla audit --limit 1` reads it"
                        .into(),
                )));
            }
            Reading::Open(connection) => connection,
        };
        if let Some(others) = foreign(&connection)? {
            return Ok(Inspection::Foreign(others));
        }
        if let Some(other) = compare_schema(open::schema(&connection)?, open::known_schema()) {
            return Ok(other);
        }
        let newest = "SELECT at FROM audit WHERE typeof(at) = 'integer' ORDER BY seq DESC LIMIT 1";
        let newest: Option<i64> = connection.query_row(newest, [], |row| row.get(0)).optional()?;
        Ok(Inspection::Present(Box::new(DatabaseFacts {
            unwritable: open::unwritable(path),
            triggers: triggers::missing(&connection)?,
            unreadable: unreadable_rows::find(&connection)?,
            // A clock row that can't be read is among the unreadable rows. So is the mark of the ring.
            clock: clock::read(&connection).unwrap_or_default(),
            ring_mark: ring_mark(&connection).unwrap_or_default(),
            now: clock.now(),
            newest: newest.map(Timestamp::from_millis),
        })))
    };
    facts().map_err(|error| named(path, error))
}
