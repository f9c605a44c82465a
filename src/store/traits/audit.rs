//! The interface to the rows of `audit`.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{AuditEvent, AuditQuery, AuditRow, StoreError},
};

/// Reads and writes the rows of `audit`.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Writes an event that belongs to no change, for example a failed login.
    async fn record(&self, event: AuditEvent) -> Result<(), StoreError>;

    /// Returns the rows that match a query: without filters in the order of `seq`, with filters in the order of time. A reader that
    /// continues after the last row with [`AuditQuery::after`] misses no row, because rows whose order is not final yet are held
    /// back. On PostgreSQL, a filtered query with `after` holds back the rows of the last minute.
    async fn find_audit(&self, query: AuditQuery) -> Result<Vec<AuditRow>, StoreError>;

    /// Returns at most `limit` audit rows with a `seq` above `after`, in order. With `None`: the newest `limit` rows, in order.
    async fn audit(&self, after: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.find_audit(after.map_or(AuditQuery::newest(limit), |after| AuditQuery::after(after, limit)))
            .await
    }

    /// Returns the addresses of a user's logins since `since` from the audit, taken from the newest `limit` logins. Sessions of
    /// OAuth clients are left out, because the address in their event is the client's, not the person's.
    async fn login_addresses(
        &self,
        user: &UserId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError>;
}
