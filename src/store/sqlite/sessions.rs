//! Reads and writes the rows of `sessions`.

use std::time::Duration;

use rusqlite::{Connection, Row, named_params, params};

use super::{audit, bad::Table, clients, identities, users};
use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::Digest,
    store::{
        AuditEvent, Device, Grant, NewSession, SessionChange, SessionEnd, SessionRow, StoreError, UserRow,
        Written,
        rules::{Beginning, NODE_KEEP, holds},
    },
};

const COLUMNS: &str =
    "sid, user_id, secret_hash, generation, rotated_at, pardoned_gen, pardoned_at, created_at,
    idle_expires_at, expires_at, transport, user_agent, ip, client_id, scope, auth_time";
pub(super) const TABLE: Table = Table { name: "sessions", columns: COLUMNS, key: 1 };

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
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
        transport: row.get::<_, String>(10)?.parse().map_err(|()| unreadable(10))?,
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

pub(super) fn one(connection: &Connection, sid: Sid) -> Result<Option<SessionRow>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE sid = ?"))?;
    let mut rows = statement.query([sid.to_string()])?;
    Ok(rows.next()?.map(|row| read(row, sid)))
}

/// Reads the row of a sid. A row that can't be read counts as ended: it gives no access, and it can be deleted.
fn read(row: &Row<'_>, sid: Sid) -> SessionRow {
    TABLE.one(row, from_row).unwrap_or_else(|| {
        let (user, hash) = (parsed(row, 1).ok(), row.get(2).ok().map(Digest));
        SessionRow::unreadable(sid, user, hash)
    })
}

/// Reads a row and its user. The first statement stays open meanwhile, so both are from one snapshot and need one lock.
pub(super) fn with_user(
    connection: &Connection,
    sid: Sid,
) -> Result<Option<(SessionRow, Option<UserRow>)>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE sid = ?"))?;
    let mut rows = statement.query([sid.to_string()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let row = read(row, sid);
    let user = users::one(connection, &row.user_id)?;
    Ok(Some((row, user)))
}

/// Returns live sessions, newest first.
pub(super) fn live(
    connection: &Connection,
    user: Option<&UserId>,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<SessionRow>, StoreError> {
    let whose = if user.is_some() { "user_id = :user" } else { ":user IS NULL" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM sessions WHERE {whose} AND idle_expires_at > :now AND expires_at > :now
         ORDER BY created_at DESC, n DESC"
    ))?;
    let user = user.map(UserId::as_str);
    let values = named_params! {":user": user, ":now": now.millis()};
    TABLE.some(&mut statement, values, limit, from_row)
}

pub(super) fn begin(
    connection: &Connection,
    new: &NewSession,
    cap: u32,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Option<SessionRow>, StoreError> {
    let disabled =
        "SELECT 1 FROM users WHERE id = CAST(? AS INTEGER) AND CAST(id AS TEXT) = ? AND disabled <> 0";
    if connection.prepare_cached(disabled)?.exists([new.user_id.as_str(), new.user_id.as_str()])? {
        return Ok(None);
    }
    if let Some(grant) = &new.grant
        && clients::one(connection, &grant.client)?.is_none_or(|client| !grant.may_be_held_by(&client))
    {
        return Ok(None);
    }
    if new.proof.password_hash.is_some() {
        let Some(user) = users::one(connection, &new.user_id)? else { return Ok(None) };
        holds(&user, new)?;
    }
    if let Some(identity) = &new.proof.identity
        && identities::owner(connection, identity)?.as_ref() != Some(&new.user_id)
    {
        return Ok(None);
    }
    let live = live(connection, Some(&new.user_id), now, u32::MAX)?;
    if !new.may_begin(&live) {
        return Ok(None);
    }
    start(connection, new, &live, cap, event, now).map(Some)
}

/// Begins a session. The caller has checked its conditions.
pub(super) fn start(
    connection: &Connection,
    new: &NewSession,
    live: &[SessionRow],
    cap: u32,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<SessionRow, StoreError> {
    let Beginning { row, takes_over, ends } = Beginning::plan(new, live, cap, &event.actor, now);
    for (sid, why) in ends {
        end(connection, &SessionEnd::One(sid), &why, now)?;
    }
    write(connection, &row, takes_over)?;
    audit::write(connection, &event.about(row.sid), now)?;
    Ok(row)
}

/// Inserts a row, or gives an existing row a new key and new times. Then its `sid` stays and nothing is revoked.
fn write(connection: &Connection, row: &SessionRow, takes_over: bool) -> Result<(), StoreError> {
    let sql = match takes_over {
        true => {
            "UPDATE sessions SET secret_hash = :hash, generation = 0, rotated_at = :now, pardoned_gen = NULL,
               pardoned_at = NULL, created_at = :now, idle_expires_at = :idle, expires_at = :end, client_id = :client,
               scope = :scope, auth_time = :auth
             WHERE sid = :sid AND user_id = :user AND transport = :transport AND user_agent = :agent AND ip = :ip"
        }
        false => {
            "INSERT INTO sessions (sid, user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at,
               expires_at, transport, user_agent, ip, client_id, scope, auth_time)
             VALUES (:sid, :user, :hash, 0, :now, :now, :idle, :end, :transport, :agent, :ip, :client, :scope, :auth)"
        }
    };
    let client = row.grant.as_ref().map(|grant| grant.client.as_str());
    let scope = row.grant.as_ref().map(|grant| grant.scope.to_string());
    connection.prepare_cached(sql)?.execute(named_params! {
        ":sid": row.sid.to_string(), ":user": row.user_id.as_str(), ":hash": row.secret_hash.0,
        ":now": row.created_at.millis(), ":idle": row.idle_expires_at.millis(), ":end": row.expires_at.millis(),
        ":transport": row.transport.as_str(), ":agent": row.device.user_agent, ":ip": row.device.ip,
        ":client": client, ":scope": scope, ":auth": row.auth_time.map(Timestamp::millis),
    })?;
    Ok(())
}

/// Records that the person has just authenticated, if the session is live and the password unchanged.
pub(super) fn note_proof(
    connection: &Connection,
    sid: Sid,
    user: &UserId,
    password_hash: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let noted = connection
        .prepare_cached(
            "UPDATE sessions SET auth_time = ?1
             WHERE sid = ?2 AND user_id = ?3 AND idle_expires_at > ?1 AND expires_at > ?1
               AND (?4 IS NULL OR EXISTS (SELECT 1 FROM users
                 WHERE CAST(id AS TEXT) = ?3 AND id = CAST(?3 AS INTEGER) AND password_hash = ?4 AND disabled = 0))",
        )?
        .execute(params![now.millis(), sid.to_string(), user.as_str(), password_hash])?;
    Ok(noted == 1)
}

/// Ends sessions, with one audit event each. A sid that can't be parsed is left out of the result: no token can contain it.
pub(super) fn end(
    connection: &Connection,
    which: &SessionEnd,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Vec<Sid>, StoreError> {
    let (condition, values) = match which {
        SessionEnd::One(sid) => ("sid = ?1", vec![sid.to_string()]),
        SessionEnd::OneOf(user, sid) => {
            ("sid = ?1 AND user_id = ?2", vec![sid.to_string(), user.to_string()])
        }
        SessionEnd::AllOf(user) => ("user_id = ?1", vec![user.to_string()]),
        SessionEnd::Everyones => ("1", vec![]),
    };
    let mut statement = connection
        .prepare_cached(&format!("DELETE FROM sessions WHERE {condition} RETURNING CAST(sid AS BLOB)"))?;
    let sids = statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, Vec<u8>>(0))?;
    let sids = sids.collect::<Result<Vec<_>, _>>()?;
    let sids = sids.iter().filter_map(|sid| std::str::from_utf8(sid).ok());
    let ended: Vec<Sid> = sids.filter_map(|sid| sid.parse().ok()).collect();
    for sid in &ended {
        audit::write(connection, &event.about(sid), now)?;
    }
    Ok(ended)
}

/// The condition that the row has not changed since it was judged.
const UNCHANGED: &str =
    "sid = :sid AND secret_hash = :hash AND generation = :generation AND rotated_at = :rotated
    AND pardoned_gen IS :pardoned_gen AND pardoned_at IS :pardoned_at";

pub(super) fn change(
    connection: &Connection,
    judged: &SessionRow,
    change: SessionChange,
) -> Result<Written, StoreError> {
    let after = judged.after(change);
    let mut statement = connection.prepare_cached(&format!(
        "UPDATE sessions SET generation = :to, rotated_at = :now, pardoned_gen = :to_pardoned_gen,
           pardoned_at = :to_pardoned_at, idle_expires_at = :idle WHERE {UNCHANGED}"
    ))?;
    let rows = statement.execute(named_params! {
        ":to": after.generation, ":now": after.rotated_at.millis(), ":to_pardoned_gen": after.pardoned_gen,
        ":to_pardoned_at": after.pardoned_at.map(Timestamp::millis), ":idle": after.idle_expires_at.millis(),
        ":sid": judged.sid.to_string(), ":hash": judged.secret_hash.0, ":generation": judged.generation,
        ":rotated": judged.rotated_at.millis(), ":pardoned_gen": judged.pardoned_gen,
        ":pardoned_at": judged.pardoned_at.map(Timestamp::millis),
    })?;
    Ok(Written::rows(rows as u64))
}

/// Sets the device of a session.
pub(super) fn relocate(
    connection: &Connection,
    judged: &SessionRow,
    device: &Device,
) -> Result<Written, StoreError> {
    let mut statement = connection.prepare_cached(
        "UPDATE sessions SET user_agent = :to_agent, ip = :to_ip
         WHERE sid = :sid AND secret_hash = :hash AND user_agent = :agent AND ip = :ip",
    )?;
    let rows = statement.execute(named_params! {
        ":to_agent": device.user_agent, ":to_ip": device.ip, ":sid": judged.sid.to_string(),
        ":hash": judged.secret_hash.0, ":agent": judged.device.user_agent, ":ip": judged.device.ip,
    })?;
    Ok(Written::rows(rows as u64))
}

pub(super) fn delete_judged(connection: &Connection, judged: &SessionRow) -> Result<Written, StoreError> {
    let mut statement = connection.prepare_cached(&format!("DELETE FROM sessions WHERE {UNCHANGED}"))?;
    let rows = statement.execute(named_params! {
        ":sid": judged.sid.to_string(), ":hash": judged.secret_hash.0, ":generation": judged.generation,
        ":rotated": judged.rotated_at.millis(), ":pardoned_gen": judged.pardoned_gen,
        ":pardoned_at": judged.pardoned_at.map(Timestamp::millis),
    })?;
    Ok(Written::rows(rows as u64))
}

/// Deletes at most `limit` rows of each table that are no longer needed. The deleted sessions are no longer live, so they need no
/// revocation.
pub(super) fn sweep(
    connection: &Connection,
    now: Timestamp,
    keep: Duration,
    audit_keep: Duration,
    limit: u32,
) -> Result<usize, StoreError> {
    let (past, old) = (now.minus(keep).millis(), now.minus(audit_keep).millis());
    let mut deleted = 0;
    for (sql, before) in [
        (
            "DELETE FROM sessions WHERE n IN (SELECT n FROM sessions WHERE min(idle_expires_at, expires_at) <= ?1 LIMIT ?2)",
            past,
        ),
        (
            "DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE expires_at <= ?1 LIMIT ?2)",
            now.millis(),
        ),
        (
            "DELETE FROM used WHERE hash IN (SELECT hash FROM used WHERE expires_at <= ?1 LIMIT ?2)",
            now.millis(),
        ),
        (
            "DELETE FROM nodes WHERE name IN (SELECT name FROM nodes WHERE seen_at <= ?1 LIMIT ?2)",
            now.minus(NODE_KEEP).millis(),
        ),
        ("DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at <= ?1 LIMIT ?2)", old),
    ] {
        deleted += connection.prepare_cached(sql)?.execute(params![before, limit])?;
    }
    Ok(deleted)
}
