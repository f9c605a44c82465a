//! Reads and writes the rows of `sessions`.

mod begin;
mod change;
mod end;

use async_trait::async_trait;
use futures_util::FutureExt as _;

pub(super) use self::{
    begin::{start, start_in_place_of},
    change::change,
    end::end,
};
use super::{
    PostgresStore,
    audit::EventColumns,
    failure::Failure,
    lists,
    rows::{
        Value, Values,
        sessions::{COLUMNS, live_where, read, row_and_user, time, unreadable, with_time},
        users::OWN_COLUMNS,
    },
};
use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::SecretText,
    store::{
        AuditEvent, Device, NewSession, SessionChange, SessionEnd, SessionPage, SessionQuery, SessionRow,
        SessionRows, StoreClock as _, StoreError, UserRow, Written, rows::row_id,
        time_budget::LONG_TIME_LIMIT,
    },
};

#[async_trait]
impl SessionRows for PostgresStore {
    async fn session(&self, sid: Sid) -> Result<(Option<SessionRow>, Timestamp), StoreError> {
        // Reads the row and the time in one statement.
        let sql = format!(
            "SELECT bulla_now() AS now, {COLUMNS} FROM (SELECT) AS always LEFT JOIN sessions AS s ON s.sid = $1"
        );
        let rows = self.pool.rows(&sql, &[&sid.to_string()]).await?;
        let (row, now) = time(&rows)?;
        let there = row.try_get::<_, Option<&str>>("sid").map_err(Failure::from)?.is_some();
        Ok((there.then(|| read(row, sid)).transpose()?, now))
    }

    async fn session_and_user(
        &self,
        sid: Sid,
    ) -> Result<(Option<(SessionRow, Option<UserRow>)>, Timestamp), StoreError> {
        // Reads the row, its user and the time in one statement. The user id of an embedding program is not a number and has
        // no row in `users`.
        let sql = format!(
            "SELECT {OWN_COLUMNS}, bulla_now() AS now, {COLUMNS}
             FROM (SELECT) AS always LEFT JOIN sessions AS s ON s.sid = $1
               LEFT JOIN users AS u ON u.id = CASE WHEN s.user_id ~ '^[1-9][0-9]{{0,17}}$' THEN s.user_id::bigint END"
        );
        let rows = self.pool.rows(&sql, &[&sid.to_string()]).await?;
        let row = rows.first().ok_or_else(|| unreadable("now"))?;
        Ok((row_and_user(row, sid)?, Timestamp::from_millis(row.try_get("now").map_err(Failure::from)?)))
    }

    async fn begin_session(
        &self,
        new: NewSession,
        cap: u32,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        self.pool.transaction(None, |t| begin::begin(t, new.clone(), cap, event.clone()).boxed()).await
    }

    async fn change_session(
        &self,
        judged: &SessionRow,
        change: SessionChange,
        event: Option<AuditEvent>,
    ) -> Result<Written, StoreError> {
        match (&self.rotations, change, &event) {
            (Some(rotations), SessionChange::Rotate { .. }, None) => {
                rotations.rotate(judged.clone(), change).await
            }
            _ => change::change(&self.pool, judged, change, event.as_ref()).await,
        }
    }

    async fn change_device(
        &self,
        judged: &SessionRow,
        device: &Device,
        event: AuditEvent,
    ) -> Result<Written, StoreError> {
        // No index contains these columns, so PostgreSQL can keep the new row version on the same page.
        const SQL: &str = "
            WITH changed AS (
              UPDATE sessions SET user_agent = $1, ip = $2
              WHERE sid = $3 AND secret_hash = $4 AND user_agent = $5 AND ip = $6 RETURNING 1
            )
            INSERT INTO audit (at, event, actor, subject, detail) SELECT bulla_now(), $7, $8, $9, $10 FROM changed";
        let (sid, hash, event) = (judged.sid.to_string(), judged.secret_hash.0, EventColumns::from(&event));
        let hash = hash.as_slice();
        let was = &judged.device;
        let values: [Value<'_>; 10] = [
            &device.user_agent,
            &device.ip,
            &sid,
            &hash,
            &was.user_agent,
            &was.ip,
            &event.event,
            &event.actor,
            &event.subject,
            &event.detail,
        ];
        self.pool.count(SQL, &values).await.map(Written::from_count)
    }

    async fn delete_session_if_unchanged(
        &self,
        judged: &SessionRow,
        event: AuditEvent,
    ) -> Result<Written, StoreError> {
        self.pool
            .transaction(None, |t| {
                change::delete_session_if_unchanged(t, judged.clone(), event.clone()).boxed()
            })
            .await
    }

    async fn end_sessions(&self, which: SessionEnd, event: AuditEvent) -> Result<Vec<Sid>, StoreError> {
        let longer = (which == SessionEnd::All).then_some(LONG_TIME_LIMIT);
        self.pool.transaction(longer, |t| end(t, which.clone(), event.clone()).boxed()).await
    }

    async fn sessions(
        &self,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<(Vec<SessionRow>, Timestamp), StoreError> {
        let sql = live_where(if user.is_some() { "s.user_id = $1" } else { "$1::text IS NULL" });
        Ok(with_time(&self.pool.rows(&sql, &[&user.map(UserId::as_str), &i64::from(limit)]).await?)?)
    }

    async fn session_page(&self, query: &SessionQuery) -> Result<SessionPage, StoreError> {
        let now = self.now().await?;
        lists::session_page(&self.pool, query, now).await
    }

    async fn count_sessions(&self, user: Option<&UserId>) -> Result<u64, StoreError> {
        lists::count_sessions(&self.pool, user).await
    }

    async fn record_authentication(
        &self,
        sid: Sid,
        user: &UserId,
        password_hash: Option<SecretText>,
    ) -> Result<bool, StoreError> {
        let password_hash = password_hash.as_ref().map(SecretText::expose);
        let sql = "UPDATE sessions SET auth_time = bulla_now()
            WHERE sid = $1 AND user_id = $2 AND idle_expires_at > bulla_now() AND expires_at > bulla_now()
              AND ($3::text IS NULL OR EXISTS (
                SELECT FROM users WHERE id = $4 AND password_hash = $3 AND disabled = 0))";
        let values: Values<'_> = &[&sid.to_string(), &user.as_str(), &password_hash, &row_id(user)];
        Ok(self.pool.count(sql, values).await? == 1)
    }
}
