//! The servers that share a database, and the key ring that they have in force.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;

/// The time after which a server that has not reported counts as gone.
pub const NODE_LIVES: Duration = Duration::from_secs(10);
/// How long after its last report a node is kept.
pub(super) const NODE_KEEP: Duration = Duration::from_secs(3600);
/// A report further in the future than this was made while the clock was wrong. It is ignored, because it does not show that the
/// node runs now.
pub(super) const NODE_AHEAD: Duration = Duration::from_secs(600);

/// Reads and writes the rows of `nodes` and the row of `ring`.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Returns the highest ring generation that this database has recorded, with the fingerprint of that `ring.json`.
    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError>;

    /// Records the generation of the ring in force. Never lowers the recorded generation.
    async fn note_ring(&self, generation: u64, fingerprint: [u8; 32]) -> Result<(), StoreError>;

    /// Records that a server is running and which ring it has in force. `seen_at` becomes the store's present time.
    async fn report_node(&self, name: &str, ring_generation: u64, version: &str) -> Result<(), StoreError>;

    /// Returns the servers that have reported within [`NODE_LIVES`], ordered by name.
    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;
}

/// A server that shares the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The server's name: host, process and a random part.
    pub name: String,
    /// The generation of the key ring in force on the server.
    pub ring_generation: u64,
    /// The version of the program.
    pub version: String,
    /// The time of the server's last report.
    pub seen_at: Timestamp,
}
