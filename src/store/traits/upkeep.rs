//! The maintenance of a database.

use std::time::Duration;

use async_trait::async_trait;

use crate::store::{StoreError, UnreadableRow};

/// Deletes expired rows, and checks and repairs the database.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Deletes expired rows and returns their number: sessions that ended more than `keep` ago (the ceiling plus twice the skew),
    /// expired revocations and nonces, audit rows older than `audit_keep`, and nodes that have not reported for an hour. Uses small
    /// transactions, so that other writers do not have to wait.
    async fn sweep(&self, keep: Duration, audit_keep: Duration) -> Result<u64, StoreError>;

    /// Returns the names of triggers that are missing, disabled or changed. Without its trigger a session can end without a
    /// revocation. If a newer program has migrated the schema, only the names of the triggers are checked.
    async fn missing_triggers(&self) -> Result<Vec<String>, StoreError>;

    /// Creates the triggers again that are missing, disabled or changed, and returns their names. On PostgreSQL this is done as
    /// the owner of the tables.
    async fn restore_triggers(&self) -> Result<Vec<String>, StoreError>;

    /// Returns every row that can't be read. Reads all tables.
    async fn unreadable_rows(&self) -> Result<Vec<UnreadableRow>, StoreError>;

    /// Checks that the store answers and can write.
    async fn check_health(&self) -> Result<(), StoreError>;
}
