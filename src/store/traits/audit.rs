//! The interface to the rows of `audit`.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{AuditEvent, AuditRow, StoreError},
};

/// Reads and writes the rows of `audit`.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Writes an event that belongs to no change, for example a failed login.
    async fn record(&self, event: AuditEvent) -> Result<(), StoreError>;

    /// Returns at most `limit` audit rows with a `seq` above `after`, in order. With `None`: the newest `limit` rows, in order.
    async fn audit(&self, after: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError>;

    /// Returns the addresses of a user's logins since `since` from the audit, taken from the newest `limit` logins. Sessions of
    /// OAuth clients are left out, because the address in their event is the client's, not the person's.
    async fn login_addresses(
        &self,
        user: &UserId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError>;
}
