//! Checks, in the transaction of a change, that the caller still has the right to make the change.

use rusqlite::Connection;

use super::{
    failure::Failure,
    rows::{clients, sessions, users},
};
use crate::{
    clock::Timestamp,
    store::{AuditEvent, Caller},
};

pub(super) fn check(connection: &Connection, event: &AuditEvent, now: Timestamp) -> Result<(), Failure> {
    match &event.by {
        None => Ok(()),
        Some(Caller::Person { sid, user, role }) => {
            let session = sessions::one(connection, *sid)?.filter(|row| row.user_id == *user);
            let user = users::one(connection, user)?;
            Ok(Caller::check_person(*role, session.as_ref(), user.as_ref(), now)?)
        }
        Some(Caller::Client { id, scope }) => {
            Ok(Caller::check_client(scope, clients::one(connection, id)?.as_ref())?)
        }
    }
}
