//! The rows of `sessions`.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::audit;
use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::Digest,
    store::{AuditEvent, Device, NewSession, SessionChange, SessionEnd, SessionRow, StoreError, Written},
};

const COLUMNS: &str =
    "sid, user_id, secret_hash, generation, rotated_at, pardoned_gen, pardoned_at, created_at,
    idle_expires_at, expires_at, transport, user_agent, ip";

fn from_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
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
    Ok(statement.query_row([sid.to_string()], from_row).optional()?)
}

/// Live sessions, newest first.
pub(super) fn live(
    connection: &Connection,
    user: Option<&UserId>,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<SessionRow>, StoreError> {
    let whose = if user.is_some() { "user_id = :user" } else { ":user IS NULL" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM sessions WHERE {whose} AND idle_expires_at > :now AND expires_at > :now
         ORDER BY created_at DESC, n DESC LIMIT :limit"
    ))?;
    let user = user.map(UserId::as_str);
    let rows = statement
        .query_map(named_params! {":user": user, ":now": now.millis(), ":limit": limit}, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
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
    if let Some(old) = new.replaces {
        let why = AuditEvent::new("session.revoked", event.actor.clone(), "")
            .with(serde_json::json!({"reason": "new login"}));
        end(connection, &SessionEnd::One(old), &why, now)?;
    }
    let sid = match new.takes_over_basic {
        true => take_over_basic(connection, new, now)?,
        false => None,
    };
    let sid = match sid {
        Some(sid) => sid,
        None => insert(connection, new, now)?,
    };
    let event = AuditEvent { subject: sid.to_string(), ..event.clone() };
    audit::write(connection, &event, now)?;
    evict(connection, &new.user_id, sid, cap, now)?;
    one(connection, sid)
}

fn insert(connection: &Connection, new: &NewSession, now: Timestamp) -> Result<Sid, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO sessions (sid, user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at,
               expires_at, transport, user_agent, ip)
             VALUES (:sid, :user, :hash, 0, :now, :now, min(:idle, :end), :end, :transport, :agent, :ip)",
        )?
        .execute(named_params! {
            ":sid": new.sid.to_string(), ":user": new.user_id.as_str(), ":hash": new.secret_hash.0,
            ":now": now.millis(), ":idle": now.plus(new.idle).millis(), ":end": now.plus(new.life).millis(),
            ":transport": new.transport.as_str(), ":agent": new.device.user_agent, ":ip": new.device.ip,
        })?;
    Ok(new.sid)
}

/// Basic from the same address and agent: the `sid` stays, the key is new, nothing is revoked.
fn take_over_basic(
    connection: &Connection,
    new: &NewSession,
    now: Timestamp,
) -> Result<Option<Sid>, StoreError> {
    let mut statement = connection.prepare_cached(
        "UPDATE sessions SET secret_hash = :hash, generation = 0, rotated_at = :now, pardoned_gen = NULL,
           pardoned_at = NULL, created_at = :now, idle_expires_at = min(:idle, :end), expires_at = max(expires_at, :end)
         WHERE n = (SELECT n FROM sessions WHERE user_id = :user AND transport = 'basic' AND ip = :ip
           AND user_agent = :agent AND idle_expires_at > :now AND expires_at > :now ORDER BY n DESC LIMIT 1)
         RETURNING sid",
    )?;
    let values = named_params! {
        ":hash": new.secret_hash.0, ":user": new.user_id.as_str(), ":ip": new.device.ip,
        ":agent": new.device.user_agent, ":now": now.millis(), ":idle": now.plus(new.idle).millis(),
        ":end": now.plus(new.life).millis(),
    };
    Ok(statement.query_row(values, |row| parsed(row, 0)).optional()?)
}

/// Ends the user's oldest live sessions beyond `cap`, never the one that has just begun.
fn evict(
    connection: &Connection,
    user: &UserId,
    new: Sid,
    cap: u32,
    now: Timestamp,
) -> Result<(), StoreError> {
    let others = live(connection, Some(user), now, u32::MAX)?.into_iter().filter(|row| row.sid != new);
    let beyond: Vec<Sid> = others.skip(cap.saturating_sub(1) as usize).map(|row| row.sid).collect();
    let why = AuditEvent::new("session.revoked", "system", "")
        .with(serde_json::json!({"reason": "too many sessions"}));
    beyond.into_iter().try_for_each(|sid| end(connection, &SessionEnd::One(sid), &why, now).map(drop))
}

/// Ends sessions; one audit event each.
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
    let mut statement =
        connection.prepare_cached(&format!("DELETE FROM sessions WHERE {condition} RETURNING sid"))?;
    let ended: Vec<Sid> = statement
        .query_map(rusqlite::params_from_iter(values), |row| parsed(row, 0))?
        .collect::<Result<_, _>>()?;
    for sid in &ended {
        audit::write(connection, &AuditEvent { subject: sid.to_string(), ..event.clone() }, now)?;
    }
    Ok(ended)
}

/// The row is still the one that was judged.
const UNCHANGED: &str =
    "sid = :sid AND secret_hash = :hash AND generation = :generation AND rotated_at = :rotated
    AND pardoned_gen IS :pardoned_gen AND pardoned_at IS :pardoned_at";

fn written(rows: usize) -> Written {
    if rows == 0 { Written::Lost } else { Written::Applied }
}

pub(super) fn change(
    connection: &Connection,
    judged: &SessionRow,
    change: SessionChange,
) -> Result<Written, StoreError> {
    let (set, number, now, idle_end) = match change {
        SessionChange::Rotate { to, idle, now } => (
            "generation = :number, rotated_at = :now, idle_expires_at = min(:idle_end, expires_at)",
            to,
            now,
            now.plus(idle),
        ),
        SessionChange::Pardon { generation, now } => (
            "pardoned_gen = :number, rotated_at = :now, pardoned_at = :now, idle_expires_at = :idle_end",
            generation,
            now,
            judged.idle_expires_at,
        ),
    };
    let mut statement = connection.prepare_cached(&format!("UPDATE sessions SET {set} WHERE {UNCHANGED}"))?;
    Ok(written(statement.execute(named_params! {
        ":number": number, ":now": now.millis(), ":idle_end": idle_end.millis(),
        ":sid": judged.sid.to_string(), ":hash": judged.secret_hash.0, ":generation": judged.generation,
        ":rotated": judged.rotated_at.millis(), ":pardoned_gen": judged.pardoned_gen,
        ":pardoned_at": judged.pardoned_at.map(Timestamp::millis),
    })?))
}

pub(super) fn delete_judged(connection: &Connection, judged: &SessionRow) -> Result<Written, StoreError> {
    let mut statement = connection.prepare_cached(&format!("DELETE FROM sessions WHERE {UNCHANGED}"))?;
    Ok(written(statement.execute(named_params! {
        ":sid": judged.sid.to_string(), ":hash": judged.secret_hash.0, ":generation": judged.generation,
        ":rotated": judged.rotated_at.millis(), ":pardoned_gen": judged.pardoned_gen,
        ":pardoned_at": judged.pardoned_at.map(Timestamp::millis),
    })?))
}

/// Deletes at most `limit` rows of each table that nothing needs any more. Such sessions are no longer live: no revocation.
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
        ("DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at <= ?1 LIMIT ?2)", old),
    ] {
        deleted += connection.prepare_cached(sql)?.execute(params![before, limit])?;
    }
    Ok(deleted)
}
