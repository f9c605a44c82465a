//! Finds the rows that can't be read.

use rusqlite::Connection;

use super::failure::Failure;
use super::rows::{audit, clients, clock, identities, nodes, nonces, revocations, sessions, users};
use crate::store::UnreadableRow;

/// Returns every row that can't be read.
pub(super) fn find(connection: &Connection) -> Result<Vec<UnreadableRow>, Failure> {
    let mut found = Vec::new();
    users::TABLE.find_unreadable(connection, users::from_row, &mut found)?;
    identities::TABLE.find_unreadable(connection, identities::from_row, &mut found)?;
    sessions::TABLE.find_unreadable(connection, sessions::from_row, &mut found)?;
    clients::TABLE.find_unreadable(connection, clients::from_row, &mut found)?;
    revocations::TABLE.find_unreadable(connection, revocations::from_row, &mut found)?;
    nonces::TABLE.find_unreadable(connection, |row| row.get::<_, i64>(1), &mut found)?;
    audit::TABLE.find_unreadable(connection, audit::from_row, &mut found)?;
    nodes::TABLE.find_unreadable(connection, nodes::from_row, &mut found)?;
    nodes::RING.find_unreadable(
        connection,
        |row| Ok((row.get::<_, u64>(1)?, row.get::<_, [u8; 32]>(2)?)),
        &mut found,
    )?;
    clock::TABLE.find_unreadable(connection, clock::from_row, &mut found)?;
    Ok(found)
}
