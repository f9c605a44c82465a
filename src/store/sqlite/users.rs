//! The rows of `users`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use unicode_normalization::UnicodeNormalization as _;

use super::{audit, identities, sessions};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{AuditEvent, NewSession, NewUser, SessionEnd, SessionRow, StoreError, UserChange, UserRow},
};

const COLUMNS: &str = "id, name, password_hash, roles, claims, disabled, created_at";
/// Enabled administrators other than one.
const OTHER_ADMIN: &str = "SELECT 1 FROM users, json_each(users.roles) AS role
    WHERE users.disabled = 0 AND role.value = 'admin' AND users.id <> ?";

fn from_row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    let unreadable =
        |column| rusqlite::Error::InvalidColumnType(column, "users".into(), rusqlite::types::Type::Text);
    let json = |column: usize| row.get::<_, String>(column);
    Ok(UserRow {
        id: UserId::new(row.get::<_, i64>(0)?.to_string()).map_err(|_| unreadable(0))?,
        name: row.get(1)?,
        password_hash: row.get(2)?,
        roles: serde_json::from_str(&json(3)?).map_err(|_| unreadable(3))?,
        claims: serde_json::from_str(&json(4)?).map_err(|_| unreadable(4))?,
        disabled: row.get(5)?,
        created_at: Timestamp::from_millis(row.get(6)?),
    })
}

/// `users.id` of a user id; none for an id of an embedding program.
fn number(id: &UserId) -> Option<i64> {
    id.as_str().parse().ok().filter(|n: &i64| n.to_string() == id.as_str())
}

/// How names are compared: what can't be told apart (case, homoglyphs: UTS 39) is one name. A capital i looks like a
/// small L, so with case these two are one letter as well.
pub(super) fn fold(name: &str) -> String {
    // Upper case first: only so is a sharp s the double s it is in capitals.
    let lower = name.nfkc().collect::<String>().to_uppercase().to_lowercase();
    unicode_security::skeleton(&lower).collect::<String>().to_lowercase().replace('i', "l")
}

pub(super) fn one(connection: &Connection, id: &UserId) -> Result<Option<UserRow>, StoreError> {
    let Some(id) = number(id) else { return Ok(None) };
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id = ?"))?;
    Ok(statement.query_row([id], from_row).optional()?)
}

/// By name: folding finds the row, the name itself must agree but for case and composition.
pub(super) fn by_name(connection: &Connection, name: &str) -> Result<Option<UserRow>, StoreError> {
    let plain = |name: &str| name.nfkc().collect::<String>().to_lowercase();
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE folded IN (?1, ?2) LIMIT 2"))?;
    let rows = statement.query_map([fold(name), plain(name)], from_row)?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().find(|row| plain(&row.name) == plain(name)))
}

pub(super) fn page(
    connection: &Connection,
    after: Option<&UserId>,
    limit: u32,
) -> Result<Vec<UserRow>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id > ? ORDER BY id LIMIT ?"))?;
    let rows = statement.query_map(params![after.and_then(number).unwrap_or(0), limit], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn add(
    connection: &Connection,
    user: &NewUser,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<UserRow, StoreError> {
    let folded = fold(&user.name);
    if connection
        .prepare_cached("SELECT 1 FROM users WHERE folded IN (?, ?)")?
        .exists([&folded, &user.name.to_lowercase()])?
    {
        return Err(StoreError::Conflict(
            "the name is taken, or looks like one that is (names differ by more than case and look-alike letters)".into(),
        ));
    }
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO users (name, folded, password_hash, roles, claims, created_at) VALUES (?, ?, ?, ?, ?, ?) RETURNING {COLUMNS}"
    ))?;
    let claims = serde_json::Value::Object(user.claims.clone()).to_string();
    let added = statement.query_row(
        params![
            user.name,
            folded,
            user.password_hash,
            serde_json::json!(user.roles).to_string(),
            claims,
            now.millis()
        ],
        from_row,
    )?;
    audit::write(connection, &AuditEvent { subject: added.id.to_string(), ..event.clone() }, now)?;
    if let Some(identity) = &user.identity {
        let linked = AuditEvent { event: "identity.linked", ..event.clone() };
        identities::link(connection, &added.id, identity, &linked, now)?;
    }
    Ok(added)
}

/// An installation always keeps one enabled administrator, once it has one.
fn keep_an_admin(
    connection: &Connection,
    before: &UserRow,
    after: Option<&UserRow>,
) -> Result<(), StoreError> {
    let admin = |row: &UserRow| !row.disabled && row.roles.iter().any(|role| role == "admin");
    if !admin(before) || after.is_some_and(admin) {
        return Ok(());
    }
    match connection.prepare_cached(OTHER_ADMIN)?.exists([number(&before.id)])? {
        true => Ok(()),
        false => Err(StoreError::LastAdmin),
    }
}

pub(super) fn change(
    connection: &Connection,
    id: &UserId,
    change: &UserChange,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Option<UserRow>, StoreError> {
    let Some(before) = one(connection, id)? else { return Ok(None) };
    let mut after = before.clone();
    after.roles = change.roles.clone().unwrap_or(after.roles);
    after.claims = change.claims.clone().unwrap_or(after.claims);
    after.disabled = change.disabled.unwrap_or(after.disabled);
    keep_an_admin(connection, &before, Some(&after))?;
    let claims = serde_json::Value::Object(after.claims.clone()).to_string();
    connection
        .prepare_cached("UPDATE users SET roles = ?, claims = ?, disabled = ? WHERE id = ?")?
        .execute(params![serde_json::json!(after.roles).to_string(), claims, after.disabled, number(id)])?;
    audit::write(connection, &AuditEvent { subject: id.to_string(), ..event.clone() }, now)?;
    Ok(Some(after))
}

pub(super) fn change_password(
    connection: &Connection,
    id: &UserId,
    password_hash: &str,
    next: Option<&NewSession>,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Option<SessionRow>, StoreError> {
    let changed = connection
        .prepare_cached("UPDATE users SET password_hash = ?1 WHERE id = ?2 AND (disabled = 0 OR ?3)")?
        .execute(params![password_hash, number(id), next.is_none()])?;
    if changed == 0 {
        return Ok(None);
    }
    audit::write(connection, &AuditEvent { subject: id.to_string(), ..event.clone() }, now)?;
    let why = AuditEvent::new("session.revoked", event.actor.clone(), "")
        .with(serde_json::json!({"reason": "password changed"}));
    sessions::end(connection, &SessionEnd::AllOf(id.clone()), &why, now)?;
    let Some(next) = next else { return Ok(None) };
    let login =
        AuditEvent::new("login", id.to_string(), "").with(serde_json::json!({"by": "password change"}));
    sessions::begin(connection, next, u32::MAX, &login, now)
}

pub(super) fn rehash(connection: &Connection, id: &UserId, was: &str, now: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?")?
        .execute(params![now, number(id), was])?;
    Ok(())
}

pub(super) fn delete(
    connection: &Connection,
    id: &UserId,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(before) = one(connection, id)? else { return Ok(false) };
    keep_an_admin(connection, &before, None)?;
    connection.prepare_cached("DELETE FROM users WHERE id = ?")?.execute([number(id)])?;
    audit::write(connection, &AuditEvent { subject: id.to_string(), ..event.clone() }, now)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_one() {
        for (name, looks_like) in [
            ("ada", "ADA"),
            ("ada", "\u{430}d\u{430}"),
            ("ada", "a\u{200d}da"),
            ("ada", "\u{ff41}da"),
            ("paypal", "paypa1"),
            ("paypal", "paypaI"),
            ("Ian", "lan"),
            ("modern", "modem"),
            ("bob", "b0b"),
            ("stra\u{df}e", "STRASSE"),
        ] {
            assert_eq!(fold(name), fold(looks_like), "{name} {looks_like}");
        }
        for (name, other) in [("ada", "adb"), ("ada", "add"), ("ada", "adaa"), ("bob", "rob")] {
            assert_ne!(fold(name), fold(other), "{name} {other}");
        }
    }
}
