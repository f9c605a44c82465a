//! Reads and writes the rows of `identities`.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    SqliteStore, audit,
    failure::Failure,
    rows::{
        identities::{of_user, owner},
        users,
    },
};
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{
        AuditEvent, Identity, IdentityRows, LinkedIdentity, StoreError,
        rules::identities::{may_link, may_unlink},
    },
};

#[async_trait]
impl IdentityRows for SqliteStore {
    async fn user_of_identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError> {
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

pub(super) fn link(
    connection: &Connection,
    user: &UserId,
    identity: &Identity,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<(), Failure> {
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
) -> Result<bool, Failure> {
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
