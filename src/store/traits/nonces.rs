//! The interface to the rows of `used`: values that may be used once.

use async_trait::async_trait;

use crate::{clock::Timestamp, store::StoreError};

/// Reads and writes the rows of `used`. The store keeps the hashes of nonces, codes and assertion ids, not the values.
#[async_trait]
pub trait UsedNonces: Send + Sync {
    /// Marks a nonce, given by its hash, as used, and remembers it until `expires_at`. Returns false if it was used before.
    async fn mark_used(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<bool, StoreError>;

    /// Whether a nonce was used.
    async fn is_used(&self, hash: [u8; 32]) -> Result<bool, StoreError>;
}
