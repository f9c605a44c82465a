//! Changes and ends sessions.

use rusqlite::{Connection, named_params, params};

use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    store::{
        AuditEvent, Device, SessionChange, SessionEnd, SessionRow, Written,
        sqlite::{audit, failure::Failure},
    },
};

/// Records that the person has just authenticated, if the session is live and the password unchanged.
pub(super) fn record_authentication(
    connection: &Connection,
    sid: Sid,
    user: &UserId,
    password_hash: Option<&str>,
    now: Timestamp,
) -> Result<bool, Failure> {
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
pub(in crate::store::sqlite) fn end(
    connection: &Connection,
    which: &SessionEnd,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Vec<Sid>, Failure> {
    let (condition, values) = match which {
        SessionEnd::One(sid) => ("sid = ?1", vec![sid.to_string()]),
        SessionEnd::OneOfUser(user, sid) => {
            ("sid = ?1 AND user_id = ?2", vec![sid.to_string(), user.to_string()])
        }
        SessionEnd::AllOfUser(user) => ("user_id = ?1", vec![user.to_string()]),
        SessionEnd::All => ("1", vec![]),
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
) -> Result<Written, Failure> {
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
    Ok(Written::from_count(rows as u64))
}

/// Sets the device of a session.
pub(super) fn relocate(
    connection: &Connection,
    judged: &SessionRow,
    device: &Device,
) -> Result<Written, Failure> {
    let mut statement = connection.prepare_cached(
        "UPDATE sessions SET user_agent = :to_agent, ip = :to_ip
         WHERE sid = :sid AND secret_hash = :hash AND user_agent = :agent AND ip = :ip",
    )?;
    let rows = statement.execute(named_params! {
        ":to_agent": device.user_agent, ":to_ip": device.ip, ":sid": judged.sid.to_string(),
        ":hash": judged.secret_hash.0, ":agent": judged.device.user_agent, ":ip": judged.device.ip,
    })?;
    Ok(Written::from_count(rows as u64))
}

pub(super) fn delete_session_if_unchanged(
    connection: &Connection,
    judged: &SessionRow,
) -> Result<Written, Failure> {
    let mut statement = connection.prepare_cached(&format!("DELETE FROM sessions WHERE {UNCHANGED}"))?;
    let rows = statement.execute(named_params! {
        ":sid": judged.sid.to_string(), ":hash": judged.secret_hash.0, ":generation": judged.generation,
        ":rotated": judged.rotated_at.millis(), ":pardoned_gen": judged.pardoned_gen,
        ":pardoned_at": judged.pardoned_at.map(Timestamp::millis),
    })?;
    Ok(Written::from_count(rows as u64))
}
