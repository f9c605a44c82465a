//! Reads the filtered lists of sessions and users, page by page.

use rusqlite::{Connection, ToSql};

use super::{
    failure::Failure,
    rows::{sessions, users},
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{ListedSession, SessionKey, SessionPage, SessionQuery, UserPage, UserQuery, rows::row_id},
};

/// Returns one page of live sessions.
pub(super) fn session_page(
    connection: &Connection,
    query: &SessionQuery,
    now: Timestamp,
) -> Result<SessionPage, Failure> {
    let SessionQuery { user, ip, agent, after, limit } = query;
    let (user, now_millis) = (user.as_ref().map(UserId::as_str), now.millis());
    let after = after.map(|SessionKey { created_at, sid }| (created_at.millis(), sid.to_string()));
    let mut sql = format!(
        "SELECT {} FROM sessions WHERE idle_expires_at > :now AND expires_at > :now",
        sessions::TABLE.columns
    );
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":now", &now_millis)];
    if let Some(user) = &user {
        sql += " AND user_id = :user";
        values.push((":user", user));
    }
    if let Some(ip) = ip {
        sql += " AND ip = :ip";
        values.push((":ip", ip));
    }
    if let Some(agent) = agent {
        sql += " AND instr(lower(user_agent), lower(:agent)) > 0";
        values.push((":agent", agent));
    }
    if let Some((created_at, sid)) = &after {
        sql += " AND (created_at, sid) < (:created_at, :sid)";
        values.extend([(":created_at", created_at as &dyn ToSql), (":sid", sid)]);
    }
    sql += " ORDER BY created_at DESC, sid DESC";
    let mut statement = connection.prepare_cached(&sql)?;
    // The row after the last one tells whether there is a next page.
    let one_more = limit.saturating_add(1);
    let (rows, skipped) =
        sessions::TABLE.read_counted(&mut statement, &*values, one_more, sessions::from_row)?;
    let mut listed = Vec::with_capacity(rows.len());
    for row in rows {
        let user_name = user_name(connection, &row.user_id)?;
        listed.push(ListedSession { row, user_name });
    }
    Ok(SessionPage::new((listed, skipped), *limit, now))
}

/// Returns the name of a user. `None` if there is no row, or if the name can't be read.
fn user_name(connection: &Connection, user: &UserId) -> Result<Option<String>, Failure> {
    let Some(id) = row_id(user) else { return Ok(None) };
    let mut statement = connection.prepare_cached("SELECT name FROM users WHERE id = ?")?;
    let mut rows = statement.query([id])?;
    Ok(rows.next()?.and_then(|row| row.get(0).ok()))
}

/// Returns the number of live sessions.
pub(super) fn count_sessions(
    connection: &Connection,
    user: Option<&UserId>,
    now: Timestamp,
) -> Result<u64, Failure> {
    let whose = if user.is_some() { "user_id = :user" } else { ":user IS NULL" };
    let sql = format!(
        "SELECT count(*) FROM sessions WHERE {whose} AND idle_expires_at > :now AND expires_at > :now"
    );
    let values = rusqlite::named_params! {":user": user.map(UserId::as_str), ":now": now.millis()};
    let count: i64 = connection.prepare_cached(&sql)?.query_row(values, |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Returns one page of users.
pub(super) fn user_page(connection: &Connection, query: &UserQuery) -> Result<UserPage, Failure> {
    // No row follows an id that is no row's.
    let after = query.after.as_ref().map_or(0, |id| row_id(id).unwrap_or(i64::MAX));
    let role = query.role_text();
    let mut sql = format!("SELECT {} FROM users WHERE id > :after", users::COLUMNS);
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":after", &after)];
    if let Some(role) = &role {
        sql += " AND instr(roles, :role) > 0";
        values.push((":role", role));
    }
    if let Some(name) = &query.name {
        sql += " AND instr(lower(name), lower(:name)) > 0";
        values.push((":name", name));
    }
    if let Some(disabled) = &query.disabled {
        sql += " AND disabled = :disabled";
        values.push((":disabled", disabled));
    }
    sql += " ORDER BY id";
    let mut statement = connection.prepare_cached(&sql)?;
    let one_more = query.limit.saturating_add(1);
    Ok(query.page(users::TABLE.read_counted(&mut statement, &*values, one_more, users::from_row)?))
}
