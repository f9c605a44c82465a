//! Begins sessions.

use rusqlite::{Connection, named_params};

use super::change::end;
use crate::{
    clock::Timestamp,
    store::{
        AuditEvent, NewSession, SessionEnd, SessionRow,
        rules::{SessionStart, password::check_hash_unchanged},
        sqlite::{
            audit,
            failure::Failure,
            rows::{clients, identities, sessions::live, users},
        },
    },
};

pub(super) fn begin(
    connection: &Connection,
    new: &NewSession,
    cap: u32,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Option<SessionRow>, Failure> {
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
        check_hash_unchanged(&user, new)?;
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
pub(in crate::store::sqlite) fn start(
    connection: &Connection,
    new: &NewSession,
    live: &[SessionRow],
    cap: u32,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<SessionRow, Failure> {
    let SessionStart { row, takes_over, ends } = SessionStart::plan(new, live, cap, &event.actor, now);
    for (sid, why) in ends {
        end(connection, &SessionEnd::One(sid), &why, now)?;
    }
    write(connection, &row, takes_over)?;
    audit::write(connection, &event.about(row.sid), now)?;
    Ok(row)
}

/// Inserts a row, or gives an existing row a new key and new times. Then its `sid` stays and nothing is revoked.
fn write(connection: &Connection, row: &SessionRow, takes_over: bool) -> Result<(), Failure> {
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
