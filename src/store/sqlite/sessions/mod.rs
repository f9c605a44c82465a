//! Reads and writes the rows of `sessions`.

mod begin;
mod change;

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;

pub(super) use self::{begin::start, change::end};
use super::{
    SqliteStore, audit,
    failure::Failure,
    lists,
    rows::sessions::{live, one, with_user},
    writer::Statements::{One, Several},
};
use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::SecretText,
    store::{
        AuditEvent, Device, NewSession, SessionChange, SessionEnd, SessionPage, SessionQuery, SessionRow,
        SessionRows, StoreError, UserRow, Written,
    },
};

#[async_trait]
impl SessionRows for SqliteStore {
    async fn session(&self, sid: Sid) -> Result<(Option<SessionRow>, Timestamp), StoreError> {
        let clock = Arc::clone(&self.clock);
        self.readers.read(move |c| Ok((one(c, sid)?, clock.now()))).await
    }

    async fn session_and_user(
        &self,
        sid: Sid,
    ) -> Result<(Option<(SessionRow, Option<UserRow>)>, Timestamp), StoreError> {
        let clock = Arc::clone(&self.clock);
        self.readers.read(move |c| Ok((with_user(c, sid)?, clock.now()))).await
    }

    async fn begin_session(
        &self,
        new: NewSession,
        cap: u32,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        self.writer.write(Several, move |c, now| begin::begin(c, &new, cap, &event, now)).await
    }

    async fn change_session(
        &self,
        judged: &SessionRow,
        change: SessionChange,
        event: Option<AuditEvent>,
    ) -> Result<Written, StoreError> {
        let judged = judged.clone();
        let Some(event) = event else {
            return self.writer.write(One, move |c, _| change::change(c, &judged, change)).await;
        };
        self.write_and_note(event, move |c| change::change(c, &judged, change)).await
    }

    async fn change_device(
        &self,
        judged: &SessionRow,
        device: &Device,
        event: AuditEvent,
    ) -> Result<Written, StoreError> {
        let (judged, device) = (judged.clone(), device.clone());
        self.write_and_note(event, move |c| change::relocate(c, &judged, &device)).await
    }

    async fn delete_session_if_unchanged(
        &self,
        judged: &SessionRow,
        event: AuditEvent,
    ) -> Result<Written, StoreError> {
        let judged = judged.clone();
        self.write_and_note(event, move |c| change::delete_session_if_unchanged(c, &judged)).await
    }

    async fn end_sessions(&self, which: SessionEnd, event: AuditEvent) -> Result<Vec<Sid>, StoreError> {
        self.write_as(event, move |c, event, now| end(c, &which, event, now)).await
    }

    async fn sessions(
        &self,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<(Vec<SessionRow>, Timestamp), StoreError> {
        let (user, now) = (user.cloned(), self.clock.now());
        self.readers.read(move |c| Ok((live(c, user.as_ref(), now, limit)?, now))).await
    }

    async fn session_page(&self, query: &SessionQuery) -> Result<SessionPage, StoreError> {
        let (query, now) = (query.clone(), self.clock.now());
        self.readers.read(move |c| lists::session_page(c, &query, now)).await
    }

    async fn count_sessions(&self, user: Option<&UserId>) -> Result<u64, StoreError> {
        let (user, now) = (user.cloned(), self.clock.now());
        self.readers.read(move |c| lists::count_sessions(c, user.as_ref(), now)).await
    }

    async fn record_authentication(
        &self,
        sid: Sid,
        user: &UserId,
        password_hash: Option<SecretText>,
    ) -> Result<bool, StoreError> {
        let user = user.clone();
        let note = move |c: &Connection, now| {
            change::record_authentication(c, sid, &user, password_hash.as_ref().map(SecretText::expose), now)
        };
        self.writer.write(One, note).await
    }
}

impl SqliteStore {
    /// Makes a conditional change, and writes its event if the change was applied.
    async fn write_and_note(
        &self,
        event: AuditEvent,
        change: impl FnOnce(&Connection) -> Result<Written, Failure> + Send + 'static,
    ) -> Result<Written, StoreError> {
        let noted = move |c: &Connection, now| {
            let written = change(c)?;
            if written == Written::Applied {
                audit::write(c, &event, now)?;
            }
            Ok(written)
        };
        self.writer.write(Several, noted).await
    }
}
