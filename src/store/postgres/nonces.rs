//! Reads and writes the rows of `used`.

use async_trait::async_trait;

use super::PostgresStore;
use crate::{
    clock::Timestamp,
    store::{StoreError, UsedNonces},
};

#[async_trait]
impl UsedNonces for PostgresStore {
    async fn mark_used(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO used (hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        Ok(self.pool.count(sql, &[&hash.as_slice(), &expires_at.millis()]).await? == 1)
    }

    async fn is_used(&self, hash: [u8; 32]) -> Result<bool, StoreError> {
        let rows = self.pool.rows("SELECT 1 FROM used WHERE hash = $1", &[&hash.as_slice()]).await?;
        Ok(!rows.is_empty())
    }
}
