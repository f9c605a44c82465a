//! Begins sessions.

use deadpool_postgres::Transaction;

use super::end::{delete, end};
use crate::{
    clock::Timestamp,
    ids::Sid,
    store::{
        AuditEvent, NewSession, SessionEnd, SessionRow,
        postgres::{
            audit::{self, EventColumns},
            failure::Failure,
            rows::{Value, clients, identities, sessions::live_of, users},
            session_locks::lock_user,
        },
        rules::{SessionStart, password::check_hash_unchanged},
    },
};

pub(super) async fn begin(
    t: &Transaction<'_>,
    new: NewSession,
    cap: u32,
    event: AuditEvent,
) -> Result<Option<SessionRow>, Failure> {
    lock_user(t, &new.user_id).await?;
    // Updates the row without a change, which locks it until the commit. A transaction that disables or deletes the user, or sets
    // another password, has either committed before and is visible here, or waits and then sees this session. A lock alone is not
    // enough: a transaction with an older snapshot would miss the session. After an update it fails with a serialization error.
    let user = users::lock_for_login(t, &new.user_id).await?;
    if user.as_ref().is_some_and(|row| row.disabled) {
        return Ok(None);
    }
    if let Some(grant) = &new.grant
        && clients::read_locked(t, &grant.client, "FOR SHARE")
            .await?
            .is_none_or(|(row, _)| !grant.may_be_held_by(&row))
    {
        return Ok(None);
    }
    if new.proof.password_hash.is_some() {
        let Some(user) = &user else { return Ok(None) };
        check_hash_unchanged(user, &new)?;
    }
    // Transactions that unlink an identity take the same lock as those that begin a session.
    if let Some(identity) = &new.proof.identity
        && identities::owner_in(t, identity).await?.as_ref() != Some(&new.user_id)
    {
        return Ok(None);
    }
    let (live, now) = live_of(t, &new.user_id).await?;
    if !new.may_begin(&live) {
        return Ok(None);
    }
    start(t, &new, &live, cap, &event, now).await.map(Some)
}

/// Begins a session. The caller has checked its conditions.
pub(in crate::store::postgres) async fn start(
    t: &Transaction<'_>,
    new: &NewSession,
    live: &[SessionRow],
    cap: u32,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<SessionRow, Failure> {
    let SessionStart { row, takes_over, ends } = SessionStart::plan(new, live, cap, &event.actor, now);
    for (sid, why) in ends {
        end(t, SessionEnd::One(sid), why).await?;
    }
    let place = if takes_over { Place::SameDevice } else { Place::New };
    write(t, &row, place, event).await?;
    Ok(row)
}

/// Ends all sessions of a user, and begins `next` in the row of `caller`. The sid and the key of this row change. The row is
/// updated, not deleted and inserted. A `DELETE` from a database shell that waits for the row then deletes the new session; it
/// would not see an inserted row.
pub(in crate::store::postgres) async fn start_in_place_of(
    t: &Transaction<'_>,
    caller: Sid,
    next: &NewSession,
    ended: &AuditEvent,
    begun: &AuditEvent,
    now: Timestamp,
) -> Result<SessionRow, Failure> {
    let values = vec![next.user_id.to_string(), caller.to_string()];
    delete(t, "user_id = $4 AND sid <> $5", &values, ended).await?;
    audit::write(t, &ended.about(caller)).await?;
    let SessionStart { row, .. } = SessionStart::plan(next, &[], u32::MAX, &begun.actor, now);
    write(t, &row, Place::Of(caller), begun).await?;
    Ok(row)
}

/// The row into which a new session is written.
#[derive(Clone, Copy)]
enum Place {
    /// A new row.
    New,
    /// The existing row with the same sid. It gets a new key and new times; nothing is revoked.
    SameDevice,
    /// The row of another session, which ends.
    Of(Sid),
}

impl Place {
    /// Returns the statement that writes the row.
    fn statement(self) -> &'static str {
        match self {
            Self::SameDevice => {
                "UPDATE sessions SET secret_hash = $3, generation = 0, rotated_at = $4, pardoned_gen = NULL,
                   pardoned_at = NULL, created_at = $4, idle_expires_at = $5, expires_at = greatest(expires_at, $6),
                   client_id = $10, scope = $11, auth_time = $15
                 WHERE sid = $1 AND user_id = $2 AND transport = $7 AND user_agent = $8 AND ip = $9"
            }
            Self::Of(_) => {
                "UPDATE sessions SET sid = $1, secret_hash = $3, generation = 0, rotated_at = $4, pardoned_gen = NULL,
                   pardoned_at = NULL, created_at = $4, idle_expires_at = $5, expires_at = $6, transport = $7,
                   user_agent = $8, ip = $9, client_id = $10, scope = $11, auth_time = $15
                 WHERE sid = $16 AND user_id = $2"
            }
            Self::New => {
                "INSERT INTO sessions (sid, user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at,
                   expires_at, transport, user_agent, ip, client_id, scope, auth_time)
                 VALUES ($1, $2, $3, 0, $4, $4, $5, $6, $7, $8, $9, $10, $11, $15)"
            }
        }
    }
}

/// Writes the row of a new session, and its event.
async fn write(
    t: &Transaction<'_>,
    row: &SessionRow,
    place: Place,
    event: &AuditEvent,
) -> Result<(), Failure> {
    let client = row.grant.as_ref().map(|grant| grant.client.as_str());
    let scope = row.grant.as_ref().map(|grant| grant.scope.to_string());
    let begin = place.statement();
    let sql = format!(
        "WITH begun AS ({begin} RETURNING sid) INSERT INTO audit (at, event, actor, subject, detail)
         SELECT $4, $12, $13, sid, $14 FROM begun"
    );
    let EventColumns { event, actor, detail, .. } = event.into();
    let former = match place {
        Place::Of(caller) => Some(caller.to_string()),
        Place::New | Place::SameDevice => None,
    };
    let (sid, auth_time) = (row.sid.to_string(), row.auth_time.map(Timestamp::millis));
    let (user, hash, transport) =
        (row.user_id.as_str(), row.secret_hash.0.as_slice(), row.transport.as_str());
    let [begins, idle, end] = [row.created_at, row.idle_expires_at, row.expires_at].map(Timestamp::millis);
    let (agent, ip) = (audit::text(&row.device.user_agent), audit::text(&row.device.ip));
    let mut values: Vec<Value<'_>> = vec![
        &sid, &user, &hash, &begins, &idle, &end, &transport, &agent, &ip, &client, &scope, &event, &actor,
        &detail, &auth_time,
    ];
    if let Some(former) = &former {
        values.push(former);
    }
    match t.execute(&t.prepare_cached(&sql).await?, &values).await? {
        // The row was deleted after it was read. The caller must plan again.
        0 => Err(Failure::Stale),
        _ => Ok(()),
    }
}
