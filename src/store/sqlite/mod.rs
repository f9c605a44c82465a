//! SQLite, inside the program: one writer thread that commits what has queued up, several readers (DESIGN 4, 9).

use std::{path::Path, sync::Arc};

use async_trait::async_trait;

use super::*;
use crate::clock::Clock;

/// A SQLite database of Bulla.
#[derive(Debug)]
pub struct SqliteStore {}

impl SqliteStore {
    /// Opens (and makes, if missing) the database, migrates it, starts the threads. Refuses a newer schema, and SQLite older than 3.51.3.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let _ = (path, clock);
        todo!()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        todo!()
    }
    async fn session(&self, _sid: Sid) -> Result<(Option<SessionRow>, Timestamp), StoreError> {
        todo!()
    }
    async fn begin_session(
        &self,
        _new: NewSession,
        _cap: u32,
        _event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        todo!()
    }
    async fn change_session(
        &self,
        _judged: &SessionRow,
        _change: SessionChange,
        _event: Option<AuditEvent>,
    ) -> Result<Written, StoreError> {
        todo!()
    }
    async fn delete_judged(&self, _judged: &SessionRow, _event: AuditEvent) -> Result<Written, StoreError> {
        todo!()
    }
    async fn end_sessions(&self, _which: SessionEnd, _event: AuditEvent) -> Result<Vec<Sid>, StoreError> {
        todo!()
    }
    async fn sessions(
        &self,
        _user: Option<&UserId>,
        _limit: u32,
    ) -> Result<(Vec<SessionRow>, Timestamp), StoreError> {
        todo!()
    }
    async fn user(&self, _id: &UserId) -> Result<Option<UserRow>, StoreError> {
        todo!()
    }
    async fn user_by_name(&self, _name: &str) -> Result<Option<UserRow>, StoreError> {
        todo!()
    }
    async fn users(&self, _after: Option<&UserId>, _limit: u32) -> Result<Vec<UserRow>, StoreError> {
        todo!()
    }
    async fn add_user(&self, _user: NewUser, _event: AuditEvent) -> Result<UserRow, StoreError> {
        todo!()
    }
    async fn change_user(
        &self,
        _id: &UserId,
        _change: UserChange,
        _event: AuditEvent,
    ) -> Result<Option<UserRow>, StoreError> {
        todo!()
    }
    async fn change_password(
        &self,
        _id: &UserId,
        _password_hash: String,
        _next: Option<NewSession>,
        _event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        todo!()
    }
    async fn rehash_password(&self, _id: &UserId, _was: &str, _now: String) -> Result<(), StoreError> {
        todo!()
    }
    async fn delete_user(&self, _id: &UserId, _event: AuditEvent) -> Result<bool, StoreError> {
        todo!()
    }
    async fn record(&self, _event: AuditEvent) -> Result<(), StoreError> {
        todo!()
    }
    async fn audit(&self, _after: Option<i64>, _limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        todo!()
    }
    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        todo!()
    }
    async fn follow(&self, _feed: Arc<dyn Feed>) -> Result<FollowHandle, StoreError> {
        todo!()
    }
    async fn sweep(
        &self,
        _keep: std::time::Duration,
        _audit_keep: std::time::Duration,
    ) -> Result<u64, StoreError> {
        todo!()
    }
    async fn ring_mark(&self) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        todo!()
    }
    async fn note_ring(&self, _generation: u64, _fingerprint: [u8; 32]) -> Result<(), StoreError> {
        todo!()
    }
    async fn healthy(&self) -> Result<(), StoreError> {
        todo!()
    }
}
