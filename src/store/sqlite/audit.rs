//! Reads and writes the rows of `audit`.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    failure::Failure,
    rows::audit::{TABLE, from_row},
    writer::Statements::One,
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{Audit, AuditEvent, AuditRow, StoreError, rows::login_address},
};

#[async_trait]
impl Audit for SqliteStore {
    async fn record(&self, event: AuditEvent) -> Result<(), StoreError> {
        self.writer.write(One, move |c, now| write(c, &event, now)).await
    }

    async fn audit(&self, after: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.readers.read(move |c| read(c, after, limit)).await
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

fn read(connection: &Connection, after: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, Failure> {
    let columns = TABLE.columns;
    if let Some(after) = after {
        let sql = format!("SELECT {columns} FROM audit WHERE seq > ? ORDER BY seq");
        let mut statement = connection.prepare_cached(&sql)?;
        return TABLE.read_several(&mut statement, [after], limit, from_row);
    }
    let sql = format!("SELECT {columns} FROM audit ORDER BY seq DESC");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut newest = TABLE.read_several(&mut statement, [], limit, from_row)?;
    newest.reverse();
    Ok(newest)
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
