//! The result of inspecting a database for `bulla doctor`. The inspection only reads: it creates, migrates and writes nothing.

use super::{ClockMark, UnreadableRow};
use crate::clock::Timestamp;

/// The kind of database that was found.
#[derive(Debug)]
pub(crate) enum Inspection {
    /// The file does not exist.
    Missing,
    /// The database holds no tables of Bulla. The value has the names of some of its tables.
    Foreign(Vec<String>),
    /// The version of its schema differs from this program's.
    Schema {
        /// The version in the database.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// A database of Bulla that this program can use.
    Present(Box<DatabaseFacts>),
}

/// The facts read from a database of Bulla.
#[derive(Debug)]
pub(crate) struct DatabaseFacts {
    /// If the database can't be written: the reason, with the way to repair it.
    pub(crate) unwritable: Option<String>,
    /// Triggers that are missing, disabled or changed.
    pub(crate) triggers: Vec<String>,
    /// Rows that can't be read.
    pub(crate) unreadable: Vec<UnreadableRow>,
    /// The state of the clock that the servers have recorded.
    pub(crate) clock: Option<ClockMark>,
    /// The highest generation of a key ring that a server had in force, with that ring's fingerprint.
    pub(crate) ring_mark: Option<(u64, [u8; 32])>,
    /// The database's time.
    pub(crate) now: Timestamp,
    /// The time of the newest event in the audit.
    pub(crate) newest: Option<Timestamp>,
}

/// Returns [`Inspection::Schema`] if the two schema versions differ.
pub(crate) fn compare_schema(found: i64, known: i64) -> Option<Inspection> {
    (found != known).then_some(Inspection::Schema { found, known })
}
