//! Reads and writes the rows of `audit`.

use async_trait::async_trait;
use rusqlite::{Connection, params, params_from_iter};

use super::{
    SqliteStore,
    failure::Failure,
    rows::audit::{TABLE, from_row},
    writer::Statements::One,
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{
        Audit, AuditEvent, AuditQuery, AuditRow, StoreError,
        rows::login_address,
        rules::audit_select::{Dialect, Select, Value},
    },
};

#[async_trait]
impl Audit for SqliteStore {
    async fn record(&self, event: AuditEvent) -> Result<(), StoreError> {
        self.writer.write(One, move |c, now| write(c, &event, now)).await
    }

    async fn find_audit(&self, query: AuditQuery) -> Result<Vec<AuditRow>, StoreError> {
        self.readers.read(move |c| find(c, &query)).await
    }

    async fn login_addresses(
        &self,
        user: &UserId,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let user = user.to_string();
        self.readers.read(move |c| login_addresses(c, &user, since, limit)).await
    }
}

pub(super) fn write(connection: &Connection, event: &AuditEvent, now: Timestamp) -> Result<(), Failure> {
    connection
        .prepare_cached("INSERT INTO audit (at, event, actor, subject, detail) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![
            now.millis(),
            event.event.as_str(),
            event.actor.to_string(),
            event.subject,
            event.detail.to_string()
        ])?;
    Ok(())
}

/// How SQLite writes the conditions of a query.
const DIALECT: Dialect =
    Dialect { sign: '?', plus: "+", event: "event = {}", actor: "actor = {}", subject: "subject = {}" };

fn find(connection: &Connection, query: &AuditQuery) -> Result<Vec<AuditRow>, Failure> {
    let select = Select::new(query, &DIALECT, None);
    let mut statement = connection.prepare_cached(&select.sql)?;
    let values = select.values.into_iter().map(|value| match value {
        Value::Number(number) => number.into(),
        Value::Text(text) => rusqlite::types::Value::from(text),
    });
    let mut rows = TABLE.read_several(&mut statement, params_from_iter(values), query.limit, from_row)?;
    if query.after.is_none() {
        rows.reverse();
    }
    Ok(rows)
}

fn login_addresses(
    connection: &Connection,
    user: &str,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<String>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT detail FROM audit WHERE event = 'login' AND actor = ? AND at >= ? ORDER BY at DESC LIMIT ?",
    )?;
    let details = statement.query_map(params![user, since.millis(), limit], |row| row.get::<_, String>(0))?;
    let details = details.collect::<Result<Vec<_>, _>>()?;
    Ok(details.iter().filter_map(|detail| login_address(detail)).collect())
}
