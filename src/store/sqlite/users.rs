//! Reads and writes the rows of `users`.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore, audit,
    failure::Failure,
    identities, lists,
    rows::{
        identities::of_user,
        users::{COLUMNS, TABLE, from_row, one},
    },
    sessions,
    writer::Statements::One,
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{
        AuditEvent, Event, NewSession, NewUser, SessionEnd, SessionRow, StoreError, UserChange, UserPage,
        UserQuery, UserRow, UserRows,
        rows::{check_readable, row_id},
        rules::{
            administrators::{keep_an_admin, takes_an_admin},
            audit_details,
            identities::newly_linked,
            names,
            password::{
                begun_by_password, ended_by_password, may_set_password, password_changed, user_deleted,
            },
        },
    },
};

#[async_trait]
impl UserRows for SqliteStore {
    async fn user(&self, id: &UserId) -> Result<Option<UserRow>, StoreError> {
        let id = id.clone();
        self.readers.read(move |c| one(c, &id)).await
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRow>, StoreError> {
        let spellings = names::spellings(name);
        let spelled = |c: &Connection| {
            let sql = format!("SELECT {COLUMNS} FROM users WHERE folded IN (?, ?, ?)");
            TABLE.read_several(&mut *c.prepare_cached(&sql)?, spellings, 3, from_row)
        };
        let rows = self.readers.read(spelled).await?;
        Ok(names::pick(rows, name))
    }

    async fn is_name_taken(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.readers.read(move |c: &Connection| has_name(c, &name)).await
    }

    async fn users(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserRow>, StoreError> {
        let after = after.cloned();
        let page = move |c: &Connection| {
            let sql = format!("SELECT {COLUMNS} FROM users WHERE id > ? ORDER BY id");
            let after = after.as_ref().and_then(row_id).unwrap_or(0);
            TABLE.read_several(&mut *c.prepare_cached(&sql)?, [after], limit, from_row)
        };
        self.readers.read(page).await
    }

    async fn user_page(&self, query: &UserQuery) -> Result<UserPage, StoreError> {
        let query = query.clone();
        self.readers.read(move |c| lists::user_page(c, &query)).await
    }

    async fn add_user(&self, user: NewUser, event: AuditEvent) -> Result<UserRow, StoreError> {
        self.write_as(event, move |c, event, now| add(c, &user, event, now)).await
    }

    async fn change_user(
        &self,
        id: &UserId,
        change: UserChange,
        event: AuditEvent,
    ) -> Result<Option<UserRow>, StoreError> {
        let id = id.clone();
        self.write_as(event, move |c, event, now| update(c, &id, &change, event, now)).await
    }

    async fn change_password(
        &self,
        id: &UserId,
        password_hash: String,
        next: Option<NewSession>,
        event: AuditEvent,
    ) -> Result<Option<SessionRow>, StoreError> {
        let id = id.clone();
        let change = move |c: &Connection, event: &AuditEvent, now| {
            change_password(c, &id, &password_hash, next.as_ref(), event, now)
        };
        self.write_as(event, change).await
    }

    async fn rehash_password(&self, id: &UserId, was: &str, now: String) -> Result<bool, StoreError> {
        let (id, was) = (id.clone(), was.to_owned());
        let rehash = move |c: &Connection, _| {
            let rows = c
                .prepare_cached("UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?")?
                .execute(params![now, row_id(&id), was])?;
            Ok(rows == 1)
        };
        self.writer.write(One, rehash).await
    }

    async fn delete_user(&self, id: &UserId, event: AuditEvent) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write_as(event, move |c, event, now| delete(c, &id, event, now)).await
    }
}

/// Whether a user has this name or one that looks like it.
fn has_name(connection: &Connection, name: &str) -> Result<bool, Failure> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM users WHERE folded IN (?, ?, ?)")?;
    Ok(statement.exists(names::spellings(name))?)
}

fn add(
    connection: &Connection,
    user: &NewUser,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<UserRow, Failure> {
    names::check(&user.name)?;
    if has_name(connection, &user.name)? {
        return Err(names::taken().into());
    }
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO users (name, folded, password_hash, roles, claims, disabled, created_at) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {COLUMNS}"
    ))?;
    let (roles, claims) = user.as_json();
    let added = statement.query_row(
        params![
            user.name,
            names::fold(&user.name),
            user.password_hash,
            roles,
            claims,
            user.disabled,
            now.millis()
        ],
        from_row,
    )?;
    audit::write(connection, &audit_details::user_added(event, user).about(&added.id), now)?;
    if let Some(identity) = &user.identity {
        let linked = AuditEvent { event: Event::IdentityLinked, by: None, ..event.clone() };
        identities::link(connection, &added.id, identity, &linked, now)?;
    }
    Ok(added)
}

/// Returns the users that may be administrators. The rule checks them exactly.
fn admins(connection: &Connection) -> Result<Vec<UserRow>, Failure> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM users WHERE disabled = 0 AND roles LIKE '%\"admin\"%'"
    ))?;
    TABLE.read_several(&mut statement, [], u32::MAX, from_row)
}

fn update(
    connection: &Connection,
    id: &UserId,
    change: &UserChange,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Option<UserRow>, Failure> {
    let Some(before) = one(connection, id)? else { return Ok(None) };
    check_readable(&before)?;
    let after = change.apply(&before);
    if takes_an_admin(&before, Some(&after)) {
        keep_an_admin(id, &admins(connection)?)?;
    }
    if after.name != before.name {
        rename(connection, id, &after.name)?;
    }
    let (roles, claims) = after.as_json();
    connection
        .prepare_cached("UPDATE users SET roles = ?, claims = ?, disabled = ? WHERE id = ?")?
        .execute(params![roles, claims, after.disabled, row_id(id)])?;
    audit::write(connection, &audit_details::user_changed(event, &before, &after).about(id), now)?;
    Ok(Some(after))
}

/// Gives a user a new name. A trigger ends all sessions of the user.
fn rename(connection: &Connection, id: &UserId, name: &str) -> Result<(), Failure> {
    names::check(name)?;
    let [fold, plain, lower] = names::spellings(name);
    let taken = connection
        .prepare_cached(
            "SELECT 1 FROM users WHERE (folded IN (?1, ?2, ?3) OR lower(name) = lower(?4)) AND id <> ?5",
        )?
        .exists(params![fold, plain, lower, name, row_id(id)])?;
    if taken {
        return Err(names::taken().into());
    }
    connection.prepare_cached("UPDATE users SET name = ?, folded = ? WHERE id = ?")?.execute(params![
        name,
        fold,
        row_id(id)
    ])?;
    Ok(())
}

fn change_password(
    connection: &Connection,
    id: &UserId,
    password_hash: &str,
    next: Option<&NewSession>,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Option<SessionRow>, Failure> {
    let row = one(connection, id)?;
    if !may_set_password(row.as_ref(), next)? {
        return match next {
            Some(_) => Ok(None),
            None => Err(user_deleted().into()),
        };
    }
    connection
        .prepare_cached("UPDATE users SET password_hash = ? WHERE id = ?")?
        .execute(params![password_hash, row_id(id)])?;
    let new = newly_linked(of_user(connection, id)?, now);
    audit::write(connection, &password_changed(event, &new).about(id), now)?;
    sessions::end(connection, &SessionEnd::AllOfUser(id.clone()), &ended_by_password(&event.actor), now)?;
    let Some(next) = next else { return Ok(None) };
    sessions::start(connection, next, &[], u32::MAX, &begun_by_password(id), now).map(Some)
}

fn delete(connection: &Connection, id: &UserId, event: &AuditEvent, now: Timestamp) -> Result<bool, Failure> {
    let Some(before) = one(connection, id)? else { return Ok(false) };
    if takes_an_admin(&before, None) {
        keep_an_admin(id, &admins(connection)?)?;
    }
    connection.prepare_cached("DELETE FROM users WHERE id = ?")?.execute([row_id(id)])?;
    audit::write(connection, &audit_details::user_deleted(event, &before).about(id), now)?;
    Ok(true)
}
