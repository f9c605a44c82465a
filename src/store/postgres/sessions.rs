//! Reads and writes the rows of `sessions`.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::{
    audit::{self, Columns},
    bad, callers, clients,
    failure::Failure,
    identities,
    nodes::number,
    pool::{Pool, Value, Values},
    users::{self, OWN_COLUMNS},
};
use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::Digest,
    store::{
        AuditEvent, Caller, Device, Grant, NewSession, SessionChange, SessionEnd, SessionRow, StoreError,
        UserRow, Written,
        rules::{self, Beginning},
    },
};

const COLUMNS: &str =
    "s.sid, s.user_id, s.secret_hash, s.generation, s.rotated_at, s.pardoned_gen, s.pardoned_at,
    s.created_at AS began_at, s.idle_expires_at, s.expires_at, s.transport, s.user_agent, s.ip,
    s.client_id, s.scope, s.auth_time";

fn from_row(row: &Row) -> Result<SessionRow, Failure> {
    let number = |column| row.try_get::<_, i64>(column);
    let some = |column| row.try_get::<_, Option<i64>>(column);
    Ok(SessionRow {
        sid: parsed(row, "sid")?,
        user_id: parsed(row, "user_id")?,
        secret_hash: Digest(
            row.try_get::<_, &[u8]>("secret_hash")?.try_into().map_err(|_| unreadable("secret_hash"))?,
        ),
        generation: number("generation")?.unsigned_abs(),
        rotated_at: Timestamp::from_millis(number("rotated_at")?),
        pardoned_gen: some("pardoned_gen")?.map(i64::unsigned_abs),
        pardoned_at: some("pardoned_at")?.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(number("began_at")?),
        idle_expires_at: Timestamp::from_millis(number("idle_expires_at")?),
        expires_at: Timestamp::from_millis(number("expires_at")?),
        transport: parsed(row, "transport")?,
        device: Device { user_agent: row.try_get("user_agent")?, ip: row.try_get("ip")? },
        grant: Grant::read(row.try_get("client_id")?, row.try_get("scope")?)
            .map_err(|_| unreadable("scope"))?,
        auth_time: some("auth_time")?.map(Timestamp::from_millis),
    })
}

fn parsed<T: std::str::FromStr>(row: &Row, column: &str) -> Result<T, Failure> {
    row.try_get::<_, &str>(column)?.parse().map_err(|_| unreadable(column))
}

fn unreadable(column: &str) -> Failure {
    Failure::Unreadable("sessions", column.to_owned())
}

pub(super) fn all_rows() -> String {
    format!("SELECT {COLUMNS} FROM sessions AS s")
}

pub(super) fn check(row: &Row) -> Result<(), Failure> {
    from_row(row).map(drop)
}

pub(super) fn key(row: &Row) -> String {
    format!("sid = {}", bad::literal(row.try_get("sid").unwrap_or_default()))
}

/// Reads the row of a sid. A row that can't be read counts as ended: it gives no access, and it can be deleted.
fn read(row: &Row, sid: Sid) -> Result<SessionRow, Failure> {
    let good = bad::one(from_row(row), || key(row))?;
    let unreadable = || {
        let hash = row.try_get::<_, &[u8]>("secret_hash").ok().and_then(|hash| hash.try_into().ok());
        SessionRow::unreadable(sid, parsed(row, "user_id").ok(), hash.map(Digest))
    };
    Ok(good.unwrap_or_else(unreadable))
}

/// Reads the row and the time in one statement.
pub(super) async fn one(pool: &Pool, sid: Sid) -> Result<(Option<SessionRow>, Timestamp), StoreError> {
    let sql = format!(
        "SELECT bulla_now() AS now, {COLUMNS} FROM (SELECT) AS always LEFT JOIN sessions AS s ON s.sid = $1"
    );
    let rows = pool.rows(&sql, &[&sid.to_string()]).await?;
    let (row, now) = time(&rows)?;
    let there = row.try_get::<_, Option<&str>>("sid").map_err(Failure::from)?.is_some();
    Ok((there.then(|| read(row, sid)).transpose()?, now))
}

/// Reads the row, its user and the time in one statement. The user id of an embedding program is not a number and has no row in
/// `users`.
pub(super) async fn with_user(
    pool: &Pool,
    sid: Sid,
) -> Result<(Option<(SessionRow, Option<UserRow>)>, Timestamp), StoreError> {
    let sql = format!(
        "SELECT {OWN_COLUMNS}, bulla_now() AS now, {COLUMNS}
         FROM (SELECT) AS always LEFT JOIN sessions AS s ON s.sid = $1
           LEFT JOIN users AS u ON u.id = CASE WHEN s.user_id ~ '^[1-9][0-9]{{0,17}}$' THEN s.user_id::bigint END"
    );
    let rows = pool.rows(&sql, &[&sid.to_string()]).await?;
    let row = rows.first().ok_or_else(|| unreadable("now"))?;
    Ok((row_and_user(row, sid)?, Timestamp::from_millis(row.try_get("now").map_err(Failure::from)?)))
}

fn row_and_user(row: &Row, sid: Sid) -> Result<Option<(SessionRow, Option<UserRow>)>, Failure> {
    if row.try_get::<_, Option<&str>>("sid")?.is_none() {
        return Ok(None);
    }
    let user = row.try_get::<_, Option<i64>>(0)?.map(|_| users::of_row(row));
    Ok(Some((read(row, sid)?, user.transpose()?)))
}

/// Reads the live sessions, newest first, and the time, in one statement.
pub(super) async fn live(
    pool: &Pool,
    user: Option<&UserId>,
    limit: u32,
) -> Result<(Vec<SessionRow>, Timestamp), StoreError> {
    let sql = live_where(if user.is_some() { "s.user_id = $1" } else { "$1::text IS NULL" });
    Ok(with_time(&pool.rows(&sql, &[&user.map(UserId::as_str), &i64::from(limit)]).await?)?)
}

/// Selects live sessions. If there are none, the result is one row with only the time.
fn live_where(whose: &str) -> String {
    format!(
        "SELECT clock.now, {COLUMNS} FROM (SELECT bulla_now() AS now) AS clock LEFT JOIN sessions AS s
           ON {whose} AND s.idle_expires_at > clock.now AND s.expires_at > clock.now
         ORDER BY s.created_at DESC, s.n DESC LIMIT $2"
    )
}

fn time(rows: &[Row]) -> Result<(&Row, Timestamp), Failure> {
    let row = rows.first().ok_or_else(|| unreadable("now"))?;
    Ok((row, Timestamp::from_millis(row.try_get("now")?)))
}

fn with_time(rows: &[Row]) -> Result<(Vec<SessionRow>, Timestamp), Failure> {
    let (first, now) = time(rows)?;
    if first.try_get::<_, Option<&str>>("sid")?.is_none() {
        return Ok((Vec::new(), now));
    }
    Ok((bad::some(rows, from_row, key)?, now))
}

pub(super) async fn now(pool: &Pool) -> Result<Timestamp, StoreError> {
    let rows = pool.rows("SELECT bulla_now()", &[]).await?;
    let now = rows.first().map(|row| row.try_get(0)).transpose().map_err(Failure::from)?;
    Ok(Timestamp::from_millis(now.ok_or_else(|| unreadable("now"))?))
}

/// Makes transactions that begin or end sessions of one user run one after the other, so that the limit on a user's sessions
/// holds. None of them runs while a transaction ends the sessions of all users ([`take_all_turns`]).
pub(super) async fn take_turns(t: &Transaction<'_>, user: &UserId) -> Result<(), Failure> {
    take_turn(t, user.as_str()).await
}

async fn take_turn(t: &Transaction<'_>, user: &str) -> Result<(), Failure> {
    const LOCK: &str = "SELECT pg_advisory_xact_lock_shared(hashtextextended('sessions of bulla', 0)),
        pg_advisory_xact_lock(hashtextextended('bulla ' || $1, 0))";
    t.query(&t.prepare_cached(LOCK).await?, &[&user]).await?;
    Ok(())
}

/// Takes the turns of a user and of the calling person, in the order of their ids. If two administrators act against each other,
/// the second then sees the change of the first. Every transaction takes its turns before it locks rows.
pub(super) async fn take_turns_with_caller(
    t: &Transaction<'_>,
    user: Option<&str>,
    event: &AuditEvent,
) -> Result<(), Failure> {
    let caller = match &event.by {
        Some(Caller::Person { user, .. }) => Some(user.as_str()),
        Some(Caller::Client { .. }) | None => None,
    };
    let users: BTreeSet<&str> = user.into_iter().chain(caller).collect();
    for user in users {
        take_turn(t, user).await?;
    }
    Ok(())
}

/// Waits for all transactions that begin or end sessions of any user, and makes new ones wait until the commit. A statement that
/// starts after this sees every session that has begun.
async fn take_all_turns(t: &Transaction<'_>) -> Result<(), Failure> {
    const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('sessions of bulla', 0))";
    t.query(&t.prepare_cached(LOCK).await?, &[]).await?;
    Ok(())
}

pub(super) async fn begin(
    t: &Transaction<'_>,
    new: NewSession,
    cap: u32,
    event: AuditEvent,
) -> Result<Option<SessionRow>, Failure> {
    take_turns(t, &new.user_id).await?;
    // Updates the row, which locks it until the commit. A transaction that disables or deletes the user, or sets another
    // password, has either committed before and is seen here, or waits and then sees this session. An update is used instead of a
    // lock alone, so that a transaction with an older snapshot fails with a serialization error instead of missing the session.
    let user = users::held_for_login(t, &new.user_id).await?;
    if user.as_ref().is_some_and(|row| row.disabled) {
        return Ok(None);
    }
    if let Some(grant) = &new.grant
        && clients::held(t, &grant.client, "FOR SHARE")
            .await?
            .is_none_or(|(row, _)| !grant.may_be_held_by(&row))
    {
        return Ok(None);
    }
    if new.proof.password_hash.is_some() {
        let Some(user) = &user else { return Ok(None) };
        rules::holds(user, &new)?;
    }
    // Transactions that unlink an identity take the same turns as those that begin a session.
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
pub(super) async fn start(
    t: &Transaction<'_>,
    new: &NewSession,
    live: &[SessionRow],
    cap: u32,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<SessionRow, Failure> {
    let Beginning { row, takes_over, ends } = Beginning::plan(new, live, cap, &event.actor, now);
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
pub(super) async fn start_in_place_of(
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
    let Beginning { row, .. } = Beginning::plan(next, &[], u32::MAX, &begun.actor, now);
    write(t, &row, Place::Of(caller), begun).await?;
    Ok(row)
}

pub(super) async fn live_of(
    t: &Transaction<'_>,
    user: &UserId,
) -> Result<(Vec<SessionRow>, Timestamp), Failure> {
    let statement = t.prepare_cached(&live_where("s.user_id = $1")).await?;
    with_time(&t.query(&statement, &[&user.as_str(), &i64::from(u32::MAX)]).await?)
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
    let Columns { event, actor, detail, .. } = event.into();
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
        0 => Err(Failure::Moved),
        _ => Ok(()),
    }
}

/// Locks the row of a session until the commit, so that no other transaction can delete it.
pub(super) async fn hold(t: &Transaction<'_>, sid: Sid) -> Result<(), Failure> {
    let statement = t.prepare_cached("SELECT FROM sessions WHERE sid = $1 FOR UPDATE").await?;
    t.query_opt(&statement, &[&sid.to_string()]).await?;
    Ok(())
}

/// Returns the row of a live session, and the time.
pub(super) async fn seen(
    t: &Transaction<'_>,
    sid: Sid,
    user: &UserId,
) -> Result<(Option<SessionRow>, Timestamp), Failure> {
    let sql = live_where("s.user_id = $1 AND s.sid = $3");
    let values: Values<'_> = &[&user.as_str(), &1_i64, &sid.to_string()];
    let (mut rows, now) = with_time(&t.query(&t.prepare_cached(&sql).await?, values).await?)?;
    Ok((rows.pop(), now))
}

/// Records that the person has just authenticated, if the session is live and the password unchanged.
pub(super) async fn note_proof(
    pool: &Pool,
    sid: Sid,
    user: &UserId,
    password_hash: Option<&str>,
) -> Result<bool, StoreError> {
    let sql = "UPDATE sessions SET auth_time = bulla_now()
        WHERE sid = $1 AND user_id = $2 AND idle_expires_at > bulla_now() AND expires_at > bulla_now()
          AND ($3::text IS NULL OR EXISTS (
            SELECT FROM users WHERE id = $4 AND password_hash = $3 AND disabled = 0))";
    let values: Values<'_> = &[&sid.to_string(), &user.as_str(), &password_hash, &rules::number(user)];
    Ok(pool.count(sql, values).await? == 1)
}

/// Ends sessions, with one audit event each.
pub(super) async fn end(
    t: &Transaction<'_>,
    which: SessionEnd,
    event: AuditEvent,
) -> Result<Vec<Sid>, Failure> {
    take_turns_to_end(t, &which, &event).await?;
    callers::check(t, &event).await?;
    let (condition, values) = match &which {
        SessionEnd::One(sid) => ("sid = $4", vec![sid.to_string()]),
        SessionEnd::OneOf(user, sid) => {
            ("sid = $4 AND user_id = $5", vec![sid.to_string(), user.to_string()])
        }
        SessionEnd::AllOf(user) => ("user_id = $4", vec![user.to_string()]),
        SessionEnd::Everyones => ("true", vec![]),
    };
    delete(t, condition, &values, &event).await
}

async fn take_turns_to_end(
    t: &Transaction<'_>,
    which: &SessionEnd,
    event: &AuditEvent,
) -> Result<(), Failure> {
    match which {
        SessionEnd::Everyones => take_all_turns(t).await,
        SessionEnd::AllOf(user) | SessionEnd::OneOf(user, _) => {
            take_turns_with_caller(t, Some(user.as_str()), event).await
        }
        // A logout takes no turn. The end of one session that a new one replaces takes no turn either.
        SessionEnd::One(_) if event.by.is_none() => Ok(()),
        SessionEnd::One(sid) => {
            let owner = owner(t, *sid).await?;
            take_turns_with_caller(t, owner.as_deref(), event).await
        }
    }
}

/// Returns the user of a session.
async fn owner(t: &Transaction<'_>, sid: Sid) -> Result<Option<String>, Failure> {
    let sql = "SELECT user_id FROM sessions WHERE sid = $1";
    let row = t.query_opt(&t.prepare_cached(sql).await?, &[&sid.to_string()]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Deletes sessions, with one audit event each. A sid that can't be parsed is left out of the result: no token can contain it.
async fn delete(
    t: &Transaction<'_>,
    condition: &str,
    values: &[String],
    event: &AuditEvent,
) -> Result<Vec<Sid>, Failure> {
    let sql = format!(
        "WITH gone AS (DELETE FROM sessions WHERE {condition} RETURNING sid), noted AS (
           INSERT INTO audit (at, event, actor, subject, detail) SELECT bulla_now(), $1, $2, sid, $3 FROM gone)
         SELECT sid FROM gone"
    );
    let Columns { event, actor, detail, .. } = event.into();
    let mut all: Vec<Value<'_>> = vec![&event, &actor, &detail];
    values.iter().for_each(|value| all.push(value));
    let rows = t.query(&t.prepare_cached(&sql).await?, &all).await?;
    let sids = rows.iter().map(|row| row.try_get::<_, &str>(0)).collect::<Result<Vec<_>, _>>()?;
    Ok(sids.into_iter().filter_map(|sid| sid.parse().ok()).collect())
}

/// The condition that the row has not changed since it was judged.
const UNCHANGED: &str = "sid = $1 AND secret_hash = $2 AND generation = $3 AND rotated_at = $4
    AND pardoned_gen IS NOT DISTINCT FROM $5 AND pardoned_at IS NOT DISTINCT FROM $6";

/// The values that [`UNCHANGED`] compares.
struct Judged {
    sid: String,
    hash: [u8; 32],
    numbers: [i64; 2],
    pardoned: [Option<i64>; 2],
}

impl From<&SessionRow> for Judged {
    fn from(row: &SessionRow) -> Self {
        Self {
            sid: row.sid.to_string(),
            hash: row.secret_hash.0,
            numbers: [number(row.generation), row.rotated_at.millis()],
            pardoned: [row.pardoned_gen.map(number), row.pardoned_at.map(Timestamp::millis)],
        }
    }
}

/// Changes one row. Waits if another transaction has locked it.
pub(super) async fn change(
    pool: &Pool,
    judged: &SessionRow,
    change: SessionChange,
    event: Option<&AuditEvent>,
) -> Result<Written, StoreError> {
    let (was, after) = (Judged::from(judged), Judged::from(&judged.after(change)));
    let update = format!(
        "UPDATE sessions SET generation = $7, rotated_at = $8, pardoned_gen = $9, pardoned_at = $10, idle_expires_at = $11
         WHERE {UNCHANGED}"
    );
    let idle = judged.after(change).idle_expires_at.millis();
    let ([generation, rotated], [pardoned_gen, pardoned_at]) = (&was.numbers, &was.pardoned);
    let hash = was.hash.as_slice();
    let mut values: Vec<Value<'_>> = vec![&was.sid, &hash, generation, rotated, pardoned_gen, pardoned_at];
    let ([next, now], [next_pardoned_gen, next_pardoned_at]) = (&after.numbers, &after.pardoned);
    values.extend_from_slice(&[next, now, next_pardoned_gen, next_pardoned_at, &idle]);
    let Some(event) = event.map(Columns::from) else {
        return pool.count(&update, &values).await.map(Written::rows);
    };
    let sql = format!(
        "WITH changed AS ({update} RETURNING 1) INSERT INTO audit (at, event, actor, subject, detail)
         SELECT bulla_now(), $12, $13, $14, $15 FROM changed"
    );
    let all: [Value<'_>; 4] = [&event.event, &event.actor, &event.subject, &event.detail];
    values.extend_from_slice(&all);
    pool.count(&sql, &values).await.map(Written::rows)
}

/// Sets the device of a session. No index contains these columns, so PostgreSQL can keep the new row version on the same page.
pub(super) async fn relocate(
    pool: &Pool,
    judged: &SessionRow,
    device: &Device,
    event: &AuditEvent,
) -> Result<Written, StoreError> {
    const SQL: &str = "
        WITH changed AS (
          UPDATE sessions SET user_agent = $1, ip = $2
          WHERE sid = $3 AND secret_hash = $4 AND user_agent = $5 AND ip = $6 RETURNING 1
        )
        INSERT INTO audit (at, event, actor, subject, detail) SELECT bulla_now(), $7, $8, $9, $10 FROM changed";
    let (sid, hash, event) = (judged.sid.to_string(), judged.secret_hash.0, Columns::from(event));
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
    pool.count(SQL, &values).await.map(Written::rows)
}

pub(super) async fn delete_judged(
    t: &Transaction<'_>,
    judged: SessionRow,
    event: AuditEvent,
) -> Result<Written, Failure> {
    let sql = format!("DELETE FROM sessions WHERE {UNCHANGED}");
    let Judged { sid, hash, numbers: [generation, rotated], pardoned: [pardoned_gen, pardoned_at] } =
        (&judged).into();
    let values: Values<'_> = &[&sid, &hash.as_slice(), &generation, &rotated, &pardoned_gen, &pardoned_at];
    let written = Written::rows(t.execute(&t.prepare_cached(&sql).await?, values).await?);
    if written == Written::Applied {
        audit::write(t, &event).await?;
    }
    Ok(written)
}
