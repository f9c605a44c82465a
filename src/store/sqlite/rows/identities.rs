//! Reads the rows of `identities`.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::table::Table;
use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{Identity, LinkedIdentity, sqlite::failure::Failure},
};

pub(in crate::store::sqlite) const TABLE: Table =
    Table { name: "identities", columns: "issuer, subject, user_id, linked_at", key: 2 };

pub(in crate::store::sqlite) fn from_row(row: &Row<'_>) -> rusqlite::Result<LinkedIdentity> {
    let identity = Identity { issuer: row.get(0)?, subject: row.get(1)? };
    let no_user = |_| rusqlite::Error::InvalidColumnType(2, "identities".into(), rusqlite::types::Type::Text);
    UserId::new(row.get::<_, String>(2)?).map_err(no_user)?;
    let linked_at = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis);
    Ok(LinkedIdentity { identity, linked_at })
}

pub(in crate::store::sqlite) fn owner(
    connection: &Connection,
    identity: &Identity,
) -> Result<Option<UserId>, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT user_id FROM identities WHERE issuer = ? AND subject = ?")?;
    let id =
        statement.query_row([&identity.issuer, &identity.subject], |row| Ok(row.get::<_, String>(0).ok()));
    // An invalid user id can only have been inserted by hand. It belongs to no user.
    Ok(id.optional()?.flatten().and_then(|id| UserId::new(id).ok()))
}

pub(in crate::store::sqlite) fn of_user(
    connection: &Connection,
    user: &UserId,
) -> Result<Vec<LinkedIdentity>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT issuer, subject, user_id, linked_at FROM identities WHERE user_id = ? ORDER BY issuer, subject",
    )?;
    TABLE.read_several(&mut statement, [user.as_str()], u32::MAX, from_row)
}
