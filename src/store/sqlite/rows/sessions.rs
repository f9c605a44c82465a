//! Reads the rows of `sessions`.

use rusqlite::{Connection, Row, named_params};

use super::{table::Table, users};
use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::Digest,
    store::{Device, Grant, SessionRow, UserRow, sqlite::failure::Failure},
};

const COLUMNS: &str =
    "sid, user_id, secret_hash, generation, rotated_at, pardoned_gen, pardoned_at, created_at,
    idle_expires_at, expires_at, transport, user_agent, ip, client_id, scope, auth_time";
pub(in crate::store::sqlite) const TABLE: Table = Table { name: "sessions", columns: COLUMNS, key: 1 };

pub(in crate::store::sqlite) fn from_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    let time = |i| row.get(i).map(Timestamp::from_millis);
    Ok(SessionRow {
        sid: parsed(row, 0)?,
        user_id: parsed(row, 1)?,
        secret_hash: Digest(row.get(2)?),
        generation: row.get(3)?,
        rotated_at: time(4)?,
        pardoned_gen: row.get(5)?,
        pardoned_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
        created_at: time(7)?,
        idle_expires_at: time(8)?,
        expires_at: time(9)?,
        transport: row.get::<_, String>(10)?.parse().map_err(|_| unreadable(10))?,
        device: Device { user_agent: row.get(11)?, ip: row.get(12)? },
        grant: Grant::read(row.get(13)?, row.get(14)?).map_err(|_| unreadable(13))?,
        auth_time: row.get::<_, Option<i64>>(15)?.map(Timestamp::from_millis),
    })
}

fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "sessions".into(), rusqlite::types::Type::Text)
}

fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get::<_, String>(column)?.parse().map_err(|_| unreadable(column))
}

pub(in crate::store::sqlite) fn one(
    connection: &Connection,
    sid: Sid,
) -> Result<Option<SessionRow>, Failure> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE sid = ?"))?;
    let mut rows = statement.query([sid.to_string()])?;
    Ok(rows.next()?.map(|row| read(row, sid)))
}

/// Reads the row of a sid. A row that can't be read counts as ended: it gives no access, and it can be deleted.
fn read(row: &Row<'_>, sid: Sid) -> SessionRow {
    TABLE.read_one(row, from_row).unwrap_or_else(|| {
        let (user, hash) = (parsed(row, 1).ok(), row.get(2).ok().map(Digest));
        SessionRow::unreadable(sid, user, hash)
    })
}

/// Reads a row and its user. The first statement stays open meanwhile, so both are from one snapshot and need one lock.
pub(in crate::store::sqlite) fn with_user(
    connection: &Connection,
    sid: Sid,
) -> Result<Option<(SessionRow, Option<UserRow>)>, Failure> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE sid = ?"))?;
    let mut rows = statement.query([sid.to_string()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let row = read(row, sid);
    let user = users::one(connection, &row.user_id)?;
    Ok(Some((row, user)))
}

/// Returns live sessions, newest first.
pub(in crate::store::sqlite) fn live(
    connection: &Connection,
    user: Option<&UserId>,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<SessionRow>, Failure> {
    let whose = if user.is_some() { "user_id = :user" } else { ":user IS NULL" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM sessions WHERE {whose} AND idle_expires_at > :now AND expires_at > :now
         ORDER BY created_at DESC, n DESC"
    ))?;
    let user = user.map(UserId::as_str);
    let values = named_params! {":user": user, ":now": now.millis()};
    TABLE.read_several(&mut statement, values, limit, from_row)
}
