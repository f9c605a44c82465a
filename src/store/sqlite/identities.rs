//! Reads and writes the rows of `identities`.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{SqliteStore, audit, bad::Table, users};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{
        AuditEvent, Identity, IdentityRows, LinkedIdentity, StoreError,
        identities::{may_link, may_unlink},
    },
};

pub(super) const TABLE: Table =
    Table { name: "identities", columns: "issuer, subject, user_id, linked_at", key: 2 };

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<LinkedIdentity> {
    let identity = Identity { issuer: row.get(0)?, subject: row.get(1)? };
    let no_user = |_| rusqlite::Error::InvalidColumnType(2, "identities".into(), rusqlite::types::Type::Text);
    UserId::new(row.get::<_, String>(2)?).map_err(no_user)?;
    let linked_at = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis);
    Ok(LinkedIdentity { identity, linked_at })
}

#[async_trait]
impl IdentityRows for SqliteStore {
    async fn identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError> {
        let identity = identity.clone();
        self.readers.read(move |c| owner(c, &identity)).await
    }

    async fn linked_identities(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        let user = user.clone();
        self.readers.read(move |c| of_user(c, &user)).await
    }

    async fn link(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<(), StoreError> {
        let user = user.clone();
        self.write_as(event, move |c, event, now| link(c, &user, &identity, event, now)).await
    }

    async fn unlink(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<bool, StoreError> {
        let user = user.clone();
        self.write_as(event, move |c, event, now| unlink(c, &user, &identity, event, now)).await
    }
}

pub(super) fn owner(connection: &Connection, identity: &Identity) -> Result<Option<UserId>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT user_id FROM identities WHERE issuer = ? AND subject = ?")?;
    let id =
        statement.query_row([&identity.issuer, &identity.subject], |row| Ok(row.get::<_, String>(0).ok()));
    // An invalid user id can only have been inserted by hand. It belongs to no user.
    Ok(id.optional()?.flatten().and_then(|id| UserId::new(id).ok()))
}

pub(super) fn of_user(connection: &Connection, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT issuer, subject, user_id, linked_at FROM identities WHERE user_id = ? ORDER BY issuer, subject",
    )?;
    TABLE.some(&mut statement, [user.as_str()], u32::MAX, from_row)
}

pub(super) fn link(
    connection: &Connection,
    user: &UserId,
    identity: &Identity,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<(), StoreError> {
    if !may_link(owner(connection, identity)?.as_ref(), user)? {
        return Ok(());
    }
    connection
        .prepare_cached("INSERT INTO identities (issuer, subject, user_id, linked_at) VALUES (?, ?, ?, ?)")?
        .execute(params![identity.issuer, identity.subject, user.as_str(), now.millis()])?;
    audit::write(connection, &event.about(user), now)
}

fn unlink(
    connection: &Connection,
    user: &UserId,
    identity: &Identity,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let has_password = users::one(connection, user)?.is_some_and(|row| row.password_hash.is_some());
    if !may_unlink(identity, &of_user(connection, user)?, has_password)? {
        return Ok(false);
    }
    connection
        .prepare_cached("DELETE FROM identities WHERE issuer = ? AND subject = ? AND user_id = ?")?
        .execute([&identity.issuer, &identity.subject, user.as_str()])?;
    audit::write(connection, &event.about(user), now)?;
    Ok(true)
}
