//! Reads the rows of `revocations`.

use std::time::Duration;

use rusqlite::{Connection, Row};

use super::table::Table;
use crate::{
    clock::Timestamp,
    store::{Revocation, sqlite::failure::Failure},
};

/// The longest life of a token of a session or a client.
const TOKEN_LIVES: Duration = Duration::from_secs(3720);

pub(in crate::store::sqlite) const TABLE: Table =
    Table { name: "revocations", columns: "seq, target, revoked_at, expires_at", key: 1 };

/// Reads a revocation. `None` if its target can't be parsed, because no token can match it.
pub(in crate::store::sqlite) fn from_row(row: &Row<'_>) -> rusqlite::Result<Option<Revocation>> {
    let target: String = row.get(1)?;
    let Ok(target) = target.parse() else { return Ok(None) };
    let time = |at| row.get(at).map(Timestamp::from_millis);
    Ok(Some(Revocation { seq: row.get(0)?, target, revoked_at: time(2)?, expires_at: time(3)? }))
}

/// Reads a revocation. If its times can't be read, it revokes from now on for the longest life of a token.
fn read(row: &Row<'_>, now: Timestamp) -> Option<Revocation> {
    TABLE.read_one(row, from_row).unwrap_or_else(|| {
        let (seq, target) = (row.get(0).ok()?, row.get::<_, String>(1).ok()?.parse().ok()?);
        Some(Revocation { seq, target, revoked_at: now, expires_at: now.plus(TOKEN_LIVES) })
    })
}

/// Returns the revocations in force with a higher number, in order. A target that can't be parsed is skipped, because no token
/// can match it.
pub(in crate::store::sqlite) fn since(
    connection: &Connection,
    seq: i64,
    now: Timestamp,
) -> Result<Vec<Revocation>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, target, revoked_at, expires_at FROM revocations WHERE seq > ? AND at_end = 0 ORDER BY seq",
    )?;
    let mut rows = statement.query([seq])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(read(row, now));
    }
    Ok(found)
}
