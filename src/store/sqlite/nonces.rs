//! Reads and writes the rows of `used`.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{SqliteStore, writer::Statements::One};
use crate::{
    clock::Timestamp,
    store::{StoreError, UsedNonces},
};

#[async_trait]
impl UsedNonces for SqliteStore {
    async fn mark_used(&self, hash: [u8; 32], expires_at: Timestamp) -> Result<bool, StoreError> {
        let spend = move |c: &Connection, _| {
            let spent = c
                .prepare_cached(
                    "INSERT INTO used (hash, expires_at) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING",
                )?
                .execute(params![hash, expires_at.millis()])?;
            Ok(spent == 1)
        };
        self.writer.write(One, spend).await
    }

    async fn is_used(&self, hash: [u8; 32]) -> Result<bool, StoreError> {
        let known = "SELECT 1 FROM used WHERE hash = ?";
        self.readers.read(move |c| Ok(c.prepare_cached(known)?.exists([hash])?)).await
    }
}
