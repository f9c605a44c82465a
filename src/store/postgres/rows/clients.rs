//! Reads the rows of `clients`.

use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::unreadable::{literal, read_one};
use crate::{
    clock::Timestamp,
    ids::ClientId,
    secret::Digest,
    store::{ClientRow, postgres::failure::Failure, rows::ClientColumns},
};

pub(in crate::store::postgres) const COLUMNS: &str =
    "c.id, c.name, c.secret_hash, c.former_hash, c.former_until, c.jwks, c.scopes, c.audiences,
    c.redirect_uris, c.disabled, c.created_at, c.public";

pub(in crate::store::postgres) fn unreadable(column: &str) -> Failure {
    Failure::Unreadable("clients", column.to_owned())
}

pub(in crate::store::postgres) fn all_rows() -> String {
    format!("SELECT {COLUMNS} FROM clients AS c")
}

pub(in crate::store::postgres) fn check(row: &Row) -> Result<(), Failure> {
    from_row(row).map(drop)
}

pub(in crate::store::postgres) fn key(row: &Row) -> String {
    format!("id = {}", literal(row.try_get("id").unwrap_or_default()))
}

pub(in crate::store::postgres) fn from_row(row: &Row) -> Result<ClientRow, Failure> {
    let hash = |column: &str| -> Result<Option<[u8; 32]>, Failure> {
        let bytes: Option<&[u8]> = row.try_get(column)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| unreadable(column))).transpose()
    };
    let columns = ClientColumns {
        secret_hash: hash("secret_hash")?,
        former_hash: hash("former_hash")?,
        former_until: row.try_get("former_until")?,
        scopes: row.try_get("scopes")?,
        audiences: row.try_get("audiences")?,
        redirect_uris: row.try_get("redirect_uris")?,
    };
    Ok(ClientRow {
        id: ClientId::new(row.try_get::<_, String>("id")?).map_err(|_| unreadable("id"))?,
        name: row.try_get("name")?,
        secret_hash: columns.secret_hash.map(Digest),
        former: columns.former(),
        jwks: row.try_get("jwks")?,
        public: row.try_get::<_, i32>("public")? != 0,
        scopes: columns.scope().ok_or_else(|| unreadable("scopes"))?,
        audiences: columns.audiences().ok_or_else(|| unreadable("audiences"))?,
        redirect_uris: columns.redirect_uris().ok_or_else(|| unreadable("redirect_uris"))?,
        disabled: row.try_get::<_, i32>("disabled")? != 0,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
    })
}

/// Reads the row of a client, and the time. `lock` is the locking clause; the lock is held until the commit. Another transaction
/// that changes the row has either committed before and is visible here, or waits for this one.
pub(in crate::store::postgres) async fn read_locked(
    t: &Transaction<'_>,
    id: &ClientId,
    lock: &str,
) -> Result<Option<(ClientRow, Timestamp)>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM clients AS c WHERE c.id = $1 {lock}");
    let Some(row) = t.query_opt(&t.prepare_cached(&sql).await?, &[&id.as_str()]).await? else {
        return Ok(None);
    };
    let Some(client) = read_one(from_row(&row), || key(&row))? else { return Ok(None) };
    Ok(Some((client, now(t).await?)))
}

pub(in crate::store::postgres) async fn now(t: &Transaction<'_>) -> Result<Timestamp, Failure> {
    let row = t.query_one(&t.prepare_cached("SELECT bulla_now()").await?, &[]).await?;
    Ok(Timestamp::from_millis(row.try_get(0)?))
}
