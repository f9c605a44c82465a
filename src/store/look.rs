//! What `bulla doctor` learns of a database by reading alone: nothing is made, migrated or written.

use super::{BadRow, ClockMark};
use crate::clock::Timestamp;

/// What a database was found to be.
#[derive(Debug)]
pub(crate) enum Found {
    /// There is no such file.
    Missing,
    /// It holds no tables of Bulla; the names of some that it holds.
    Foreign(Vec<String>),
    /// Its schema has another version than this program's.
    Schema {
        /// The version in the database.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// A database of Bulla that this program can use.
    Present(Box<Facts>),
}

/// What was read from a database of Bulla.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Why it can't be written, with what mends that, if it can't.
    pub(crate) unwritable: Option<String>,
    /// Triggers that are missing, disabled or changed.
    pub(crate) triggers: Vec<String>,
    /// Rows that can't be read.
    pub(crate) bad: Vec<BadRow>,
    /// What a server has seen of the clock.
    pub(crate) clock: Option<ClockMark>,
    /// The highest generation of a key ring that a server had in force, and that ring's fingerprint.
    pub(crate) ring_mark: Option<(u64, [u8; 32])>,
    /// The database's time.
    pub(crate) now: Timestamp,
    /// The time of the newest event in the audit.
    pub(crate) newest: Option<Timestamp>,
}

/// Which of the two schema versions, if they differ, stands in the way.
pub(crate) fn judge_schema(found: i64, known: i64) -> Option<Found> {
    (found != known).then_some(Found::Schema { found, known })
}
