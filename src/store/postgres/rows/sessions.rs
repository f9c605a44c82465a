//! Reads the rows of `sessions`.

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::{
    Values,
    unreadable::{literal, read_one, read_several},
    users,
};
use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    secret::Digest,
    store::{Device, Grant, SessionRow, UserRow, postgres::failure::Failure},
};

pub(in crate::store::postgres) const COLUMNS: &str =
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

pub(in crate::store::postgres) fn unreadable(column: &str) -> Failure {
    Failure::Unreadable("sessions", column.to_owned())
}

pub(in crate::store::postgres) fn all_rows() -> String {
    format!("SELECT {COLUMNS} FROM sessions AS s")
}

pub(in crate::store::postgres) fn check(row: &Row) -> Result<(), Failure> {
    from_row(row).map(drop)
}

pub(in crate::store::postgres) fn key(row: &Row) -> String {
    format!("sid = {}", literal(row.try_get("sid").unwrap_or_default()))
}

/// Reads the row of a sid. A row that can't be read counts as ended: it gives no access, and it can be deleted.
pub(in crate::store::postgres) fn read(row: &Row, sid: Sid) -> Result<SessionRow, Failure> {
    let good = read_one(from_row(row), || key(row))?;
    let unreadable = || {
        let hash = row.try_get::<_, &[u8]>("secret_hash").ok().and_then(|hash| hash.try_into().ok());
        SessionRow::unreadable(sid, parsed(row, "user_id").ok(), hash.map(Digest))
    };
    Ok(good.unwrap_or_else(unreadable))
}

pub(in crate::store::postgres) fn row_and_user(
    row: &Row,
    sid: Sid,
) -> Result<Option<(SessionRow, Option<UserRow>)>, Failure> {
    if row.try_get::<_, Option<&str>>("sid")?.is_none() {
        return Ok(None);
    }
    let user = row.try_get::<_, Option<i64>>(0)?.map(|_| users::of_row(row));
    Ok(Some((read(row, sid)?, user.transpose()?)))
}

/// Selects live sessions. If there are none, the result is one row with only the time.
pub(in crate::store::postgres) fn live_where(whose: &str) -> String {
    format!(
        "SELECT clock.now, {COLUMNS} FROM (SELECT bulla_now() AS now) AS clock LEFT JOIN sessions AS s
           ON {whose} AND s.idle_expires_at > clock.now AND s.expires_at > clock.now
         ORDER BY s.created_at DESC, s.n DESC LIMIT $2"
    )
}

pub(in crate::store::postgres) fn time(rows: &[Row]) -> Result<(&Row, Timestamp), Failure> {
    let row = rows.first().ok_or_else(|| unreadable("now"))?;
    Ok((row, Timestamp::from_millis(row.try_get("now")?)))
}

pub(in crate::store::postgres) fn with_time(rows: &[Row]) -> Result<(Vec<SessionRow>, Timestamp), Failure> {
    let (first, now) = time(rows)?;
    if first.try_get::<_, Option<&str>>("sid")?.is_none() {
        return Ok((Vec::new(), now));
    }
    Ok((listed(rows)?, now))
}

/// Reads the rows of a list.
pub(in crate::store::postgres) fn listed(rows: &[Row]) -> Result<Vec<SessionRow>, Failure> {
    read_several(rows, from_row, key)
}

/// Returns the live sessions of a user, newest first, and the time, as the transaction sees them.
pub(in crate::store::postgres) async fn live_of(
    t: &Transaction<'_>,
    user: &UserId,
) -> Result<(Vec<SessionRow>, Timestamp), Failure> {
    let statement = t.prepare_cached(&live_where("s.user_id = $1")).await?;
    with_time(&t.query(&statement, &[&user.as_str(), &i64::from(u32::MAX)]).await?)
}

/// Locks the row of a session until the commit, so that no other transaction can delete it.
pub(in crate::store::postgres) async fn lock(t: &Transaction<'_>, sid: Sid) -> Result<(), Failure> {
    let statement = t.prepare_cached("SELECT FROM sessions WHERE sid = $1 FOR UPDATE").await?;
    t.query_opt(&statement, &[&sid.to_string()]).await?;
    Ok(())
}

/// Returns the row of a live session, and the time.
pub(in crate::store::postgres) async fn live_one(
    t: &Transaction<'_>,
    sid: Sid,
    user: &UserId,
) -> Result<(Option<SessionRow>, Timestamp), Failure> {
    let sql = live_where("s.user_id = $1 AND s.sid = $3");
    let values: Values<'_> = &[&user.as_str(), &1_i64, &sid.to_string()];
    let (mut rows, now) = with_time(&t.query(&t.prepare_cached(&sql).await?, values).await?)?;
    Ok((rows.pop(), now))
}
