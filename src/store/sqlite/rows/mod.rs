//! Reads the rows of each table. A row that can't be read is skipped or replaced by a stand-in.

pub(super) mod audit;
pub(super) mod clients;
pub(super) mod clock;
pub(super) mod identities;
pub(super) mod nodes;
pub(super) mod nonces;
pub(super) mod revocations;
pub(super) mod sessions;
mod table;
pub(super) mod users;
