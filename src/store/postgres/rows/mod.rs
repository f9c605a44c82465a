//! Reads the rows of each table. A row that can't be read is skipped or replaced by a stand-in.

pub(super) mod clients;
pub(super) mod identities;
pub(super) mod revocations;
pub(super) mod ring;
pub(super) mod sessions;
pub(super) mod unreadable;
pub(super) mod users;

use tokio_postgres::types::ToSql;

/// A parameter of a statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);
/// The parameters of a statement.
pub(super) type Values<'a> = &'a [Value<'a>];

/// Converts a ring generation. Generations count the rotations of a key ring, so they are far smaller than the largest bigint.
pub(super) fn bigint(generation: u64) -> i64 {
    i64::try_from(generation).unwrap_or(i64::MAX)
}
