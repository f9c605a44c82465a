//! The rows of `identities`, and nonces that are spent.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{audit, users};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{
        AuditEvent, Identity, LinkedIdentity, StoreError,
        rules::{may_link, may_unlink},
    },
};

pub(super) fn owner(connection: &Connection, identity: &Identity) -> Result<Option<UserId>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT user_id FROM identities WHERE issuer = ? AND subject = ?")?;
    let id = statement.query_row([&identity.issuer, &identity.subject], |row| row.get::<_, String>(0));
    // An id that is none can only have been typed in by hand: it names nobody.
    Ok(id.optional()?.and_then(|id| UserId::new(id).ok()))
}

pub(super) fn of_user(connection: &Connection, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT issuer, subject, linked_at FROM identities WHERE user_id = ? ORDER BY issuer, subject",
    )?;
    let rows = statement.query_map([user.as_str()], |row| {
        Ok(LinkedIdentity {
            identity: Identity { issuer: row.get(0)?, subject: row.get(1)? },
            linked_at: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
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

pub(super) fn unlink(
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

pub(super) fn spend(
    connection: &Connection,
    hash: &[u8; 32],
    expires_at: Timestamp,
) -> Result<bool, StoreError> {
    let spent = connection
        .prepare_cached("INSERT INTO used (hash, expires_at) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING")?
        .execute(params![hash, expires_at.millis()])?;
    Ok(spent == 1)
}
