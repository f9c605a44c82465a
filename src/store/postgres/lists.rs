//! Reads the filtered lists of sessions and users, page by page.

use std::{collections::HashMap, fmt::Write as _};

use tokio_postgres::Row;

use super::{
    failure::Failure,
    pool::Pool,
    rows::{
        Value,
        sessions::{self, listed},
        users,
    },
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{
        ListedSession, SessionKey, SessionPage, SessionQuery, SessionRow, StoreError, UserPage, UserQuery,
        UserRow, rows::row_id,
    },
};

/// A SELECT statement that grows with its filters.
struct Select<'a> {
    sql: String,
    values: Vec<Value<'a>>,
}

impl<'a> Select<'a> {
    /// Adds a condition. Each `$` in it stands for the next value.
    fn and(&mut self, condition: &str, values: &[Value<'a>]) {
        self.sql += " AND ";
        let mut parts = condition.split('$');
        self.sql += parts.next().unwrap_or_default();
        for (part, value) in parts.zip(values) {
            self.values.push(*value);
            let _ = write!(self.sql, "${}{part}", self.values.len());
        }
    }
}

/// The condition that a column contains a text. The case of the letters A to Z makes no difference.
fn contains(column: &str) -> String {
    format!("strpos(lower({column} COLLATE \"C\"), lower($::text COLLATE \"C\")) > 0")
}

/// Whether a text can't be stored, so that no row contains it.
fn is_in_no_row(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.contains('\0'))
}

/// Returns one page of the sessions that are live at `now`.
pub(super) async fn session_page(
    pool: &Pool,
    query: &SessionQuery,
    now: Timestamp,
) -> Result<SessionPage, StoreError> {
    let user = query.user.as_ref().map(UserId::as_str);
    let (ip, agent) = (query.ip.as_deref(), query.agent.as_deref());
    if [user, ip, agent].into_iter().any(is_in_no_row) {
        return Ok(SessionPage::new((Vec::new(), 0), query.limit, now));
    }
    // The row after the last one tells whether there is a next page.
    let one_more = i64::from(query.limit) + 1;
    let key = |SessionKey { created_at, sid }| (created_at.millis(), sid.to_string());
    let (mut rows, mut skipped): (Vec<SessionRow>, _) = (Vec::new(), 0);
    let mut after = query.after.map(key);
    // Unreadable rows are skipped. If there were some, this reads on, because a short page would look like the end of the list.
    loop {
        let found = read_sessions(pool, query, now, after.as_ref(), one_more).await?;
        let page = listed(&found)?;
        skipped += found.len() - page.len();
        rows.extend(page);
        match last_key(&found, one_more)? {
            Some(last) if rows.len() <= query.limit as usize => after = Some(last),
            _ => break,
        }
    }
    let names = names(pool, &rows).await?;
    let with_name = |row: SessionRow| {
        let user_name = row_id(&row.user_id).and_then(|id| names.get(&id).cloned());
        ListedSession { row, user_name }
    };
    Ok(SessionPage::new((rows.into_iter().map(with_name).collect(), skipped), query.limit, now))
}

/// Reads at most `most` rows after a key.
async fn read_sessions(
    pool: &Pool,
    query: &SessionQuery,
    now: Timestamp,
    after: Option<&(i64, String)>,
    most: i64,
) -> Result<Vec<Row>, StoreError> {
    let (now, user) = (now.millis(), query.user.as_ref().map(UserId::as_str));
    let sql = format!(
        "SELECT {} FROM sessions AS s WHERE s.idle_expires_at > $1 AND s.expires_at > $1",
        sessions::COLUMNS
    );
    let mut select = Select { sql, values: vec![&now, &most] };
    if let Some(user) = &user {
        select.and("s.user_id = $", &[user]);
    }
    if let Some(ip) = &query.ip {
        select.and("s.ip = $", &[ip]);
    }
    if let Some(agent) = &query.agent {
        select.and(&contains("s.user_agent"), &[agent]);
    }
    if let Some((created_at, sid)) = after {
        select.and("(s.created_at, s.sid) < ($, $)", &[created_at, sid]);
    }
    select.sql += " ORDER BY s.created_at DESC, s.sid DESC LIMIT $2";
    pool.rows(&select.sql, &select.values).await
}

/// Returns the last of `most` rows. `None` if there were fewer, so that no rows follow.
fn last_of(rows: &[Row], most: i64) -> Option<&Row> {
    rows.last().filter(|_| i64::try_from(rows.len()).is_ok_and(|count| count == most))
}

/// Returns the key of the last of `most` sessions.
fn last_key(rows: &[Row], most: i64) -> Result<Option<(i64, String)>, Failure> {
    let key = |row: &Row| Ok((row.try_get("began_at")?, row.try_get("sid")?));
    last_of(rows, most).map(key).transpose()
}

/// Returns the names of the users of these sessions, by `users.id`.
async fn names(pool: &Pool, rows: &[SessionRow]) -> Result<HashMap<i64, String>, StoreError> {
    let mut ids: Vec<i64> = rows.iter().filter_map(|row| row_id(&row.user_id)).collect();
    ids.sort_unstable();
    ids.dedup();
    let found = pool.rows("SELECT id, name FROM users WHERE id = ANY($1)", &[&ids]).await?;
    let name = |row: &Row| Ok::<_, Failure>((row.try_get(0)?, row.try_get(1)?));
    Ok(found.iter().map(name).collect::<Result<_, _>>()?)
}

/// Returns the number of live sessions.
pub(super) async fn count_sessions(pool: &Pool, user: Option<&UserId>) -> Result<u64, StoreError> {
    let whose = if user.is_some() { "user_id = $1" } else { "$1::text IS NULL" };
    let sql = format!(
        "SELECT count(*) FROM sessions, (SELECT bulla_now() AS now) AS clock
         WHERE {whose} AND idle_expires_at > clock.now AND expires_at > clock.now"
    );
    let rows = pool.rows(&sql, &[&user.map(UserId::as_str)]).await?;
    let count: i64 = rows.first().map(|row| row.try_get(0)).transpose().map_err(Failure::from)?.unwrap_or(0);
    Ok(count.unsigned_abs())
}

/// Returns one page of users.
pub(super) async fn user_page(pool: &Pool, query: &UserQuery) -> Result<UserPage, StoreError> {
    if [query.role.as_deref(), query.name.as_deref()].into_iter().any(is_in_no_row) {
        return Ok(query.page((Vec::new(), 0)));
    }
    let (role, most) = (query.role_text(), i64::from(query.limit) + 1);
    let disabled = query.disabled.map(i32::from);
    // No row follows an id that is no row's.
    let mut after = query.after.as_ref().map_or(0, |id| row_id(id).unwrap_or(i64::MAX));
    let (mut users, mut skipped): (Vec<UserRow>, _) = (Vec::new(), 0);
    loop {
        let sql = format!("SELECT {} FROM users WHERE id > $1", users::COLUMNS);
        let mut select = Select { sql, values: vec![&after, &most] };
        if let Some(role) = &role {
            select.and("strpos(roles, $::text) > 0", &[role]);
        }
        if let Some(name) = &query.name {
            select.and(&contains("name"), &[name]);
        }
        if let Some(disabled) = &disabled {
            select.and("disabled = $", &[disabled]);
        }
        select.sql += " ORDER BY id LIMIT $2";
        let rows = pool.rows(&select.sql, &select.values).await?;
        let page = users::all(&rows)?;
        skipped += rows.len() - page.len();
        users.extend(page);
        // Unreadable rows are skipped. If there were some, this reads on, because a short page would look like the end of the list.
        match last_of(&rows, most) {
            Some(last) if users.len() <= query.limit as usize => {
                after = last.try_get(0).map_err(Failure::from)?;
            }
            _ => return Ok(query.page((users, skipped))),
        }
    }
}
