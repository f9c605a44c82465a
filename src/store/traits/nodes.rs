//! The interface to the rows of `nodes` and the row of `ring`.

use async_trait::async_trait;

use crate::store::{NodeRow, StoreError};

/// Reads and writes the rows of `nodes` and the row of `ring`.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Returns the highest ring generation that this database has recorded, with the fingerprint of that `ring.json`.
    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError>;

    /// Records the generation of the ring in force. Never lowers the recorded generation.
    async fn record_ring(&self, generation: u64, fingerprint: [u8; 32]) -> Result<(), StoreError>;

    /// Records that a server is running and which ring it has in force. `seen_at` becomes the store's present time.
    async fn report_node(&self, name: &str, ring_generation: u64, version: &str) -> Result<(), StoreError>;

    /// Returns the servers that have reported within [`NODE_TIMEOUT`](crate::store::NODE_TIMEOUT), ordered by name.
    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;
}
