//! The interface to the rows of `clients`.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    ids::ClientId,
    store::{AuditEvent, ClientChange, ClientRow, NewClient, StoreError},
};

/// Reads and writes the rows of `clients`.
#[async_trait]
pub trait ClientRows: Send + Sync {
    /// Returns a client by id, even if disabled, with the store's time of the read.
    async fn client(&self, id: &ClientId) -> Result<(Option<ClientRow>, Timestamp), StoreError>;

    /// Returns at most `limit` clients in the order of their ids, beginning after `after`.
    async fn clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<ClientRow>, StoreError>;

    /// Adds a client.
    ///
    /// # Errors
    ///
    /// `Conflict` if the name or the id is taken.
    async fn add_client(&self, client: NewClient, event: AuditEvent) -> Result<ClientRow, StoreError>;

    /// Changes a client. Returns `Ok(None)` if the client does not exist.
    async fn change_client(
        &self,
        id: &ClientId,
        change: ClientChange,
        event: AuditEvent,
    ) -> Result<Option<ClientRow>, StoreError>;

    /// Deletes a client together with all its sessions. Returns false if the client does not exist.
    async fn delete_client(&self, id: &ClientId, event: AuditEvent) -> Result<bool, StoreError>;

    /// Records that a client gets a token, if the client's row still is as in `judged`. Returns the store's time of the record.
    /// Every later revocation of this client's tokens has a later time, on any node.
    async fn record_issuance(
        &self,
        judged: &ClientRow,
        event: AuditEvent,
    ) -> Result<Option<Timestamp>, StoreError>;
}
