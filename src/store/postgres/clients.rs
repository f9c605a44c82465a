//! Reads and writes the rows of `clients`.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use futures_util::FutureExt as _;

use super::{
    PostgresStore, audit, callers,
    failure::Failure,
    rows::{
        Values,
        clients::{COLUMNS, from_row, key, now, read_locked, unreadable},
        unreadable::{read_one, read_several},
    },
};
use crate::{
    clock::Timestamp,
    ids::ClientId,
    store::{
        AuditEvent, ClientChange, ClientRow, ClientRows, NewClient, StoreError, rows::taken,
        rules::audit_details,
    },
};

#[async_trait]
impl ClientRows for PostgresStore {
    async fn client(&self, id: &ClientId) -> Result<(Option<ClientRow>, Timestamp), StoreError> {
        // Reads the row and the time in one statement.
        let sql = format!(
            "SELECT bulla_now() AS now, {COLUMNS} FROM (SELECT) AS always LEFT JOIN clients AS c ON c.id = $1"
        );
        let rows = self.pool.rows(&sql, &[&id.as_str()]).await?;
        let row = rows.first().ok_or_else(|| unreadable("id"))?;
        let read = || -> Result<_, Failure> {
            let there: Option<&str> = row.try_get("id")?;
            let client = there.map(|_| read_one(from_row(row), || key(row))).transpose()?.flatten();
            Ok((client, Timestamp::from_millis(row.try_get("now")?)))
        };
        Ok(read()?)
    }

    async fn clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<ClientRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM clients AS c WHERE c.id COLLATE \"C\" > $1 ORDER BY c.id COLLATE \"C\" LIMIT $2"
        );
        let mut after = after.map_or_else(String::new, ClientId::to_string);
        loop {
            let rows = self.pool.rows(&sql, &[&after, &i64::from(limit)]).await?;
            let page = read_several(&rows, from_row, key)?;
            // If all rows of a page are unreadable, continues with the next page, because an empty page would look like the end of
            // the list.
            let Some(last) = rows.last().filter(|_| page.is_empty()) else { return Ok(page) };
            after = last.try_get("id").map_err(Failure::from)?;
        }
    }

    async fn add_client(&self, client: NewClient, event: AuditEvent) -> Result<ClientRow, StoreError> {
        self.pool.transaction(None, |t| add(t, client.clone(), event.clone()).boxed()).await
    }

    async fn change_client(
        &self,
        id: &ClientId,
        change: ClientChange,
        event: AuditEvent,
    ) -> Result<Option<ClientRow>, StoreError> {
        self.pool.transaction(None, |t| update(t, id.clone(), change.clone(), event.clone()).boxed()).await
    }

    async fn delete_client(&self, id: &ClientId, event: AuditEvent) -> Result<bool, StoreError> {
        self.pool.transaction(None, |t| delete(t, id.clone(), event.clone()).boxed()).await
    }

    async fn record_issuance(
        &self,
        judged: &ClientRow,
        event: AuditEvent,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.pool.transaction(None, |t| issue(t, judged.clone(), event.clone()).boxed()).await
    }
}

/// Transactions that add a client run one after the other. Otherwise two clients of the same name could be added at the same
/// time.
async fn add(t: &Transaction<'_>, new: NewClient, event: AuditEvent) -> Result<ClientRow, Failure> {
    callers::lock_caller_and_check(t, &event).await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('bulla clients', 0))";
    t.query(&t.prepare_cached(lock).await?, &[]).await?;
    let known = "SELECT FROM clients WHERE id = $1 OR name = $2";
    if t.query_opt(&t.prepare_cached(known).await?, &[&new.id.as_str(), &new.name]).await?.is_some() {
        return Err(taken().into());
    }
    let row = new.row(now(t).await?);
    let sql =
        "INSERT INTO clients (id, name, secret_hash, former_hash, former_until, jwks, scopes, audiences,
        redirect_uris, disabled, created_at, public) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    write(t, &row, sql).await?;
    audit::write(t, &audit_details::client_named(&event, &row.name).about(&row.id)).await?;
    Ok(row)
}

async fn write(t: &Transaction<'_>, row: &ClientRow, sql: &str) -> Result<(), Failure> {
    let columns = row.columns();
    let (hash, former) = (columns.secret_hash.as_ref(), columns.former_hash.as_ref());
    let (hash, former) = (hash.map(<[u8; 32]>::as_slice), former.map(<[u8; 32]>::as_slice));
    let values: Values<'_> = &[
        &row.id.as_str(),
        &row.name,
        &hash,
        &former,
        &columns.former_until,
        &row.jwks,
        &columns.scopes,
        &columns.audiences,
        &columns.redirect_uris,
        &i32::from(row.disabled),
        &row.created_at.millis(),
        &i32::from(row.public),
    ];
    t.execute(&t.prepare_cached(sql).await?, values).await?;
    Ok(())
}

async fn update(
    t: &Transaction<'_>,
    id: ClientId,
    change: ClientChange,
    event: AuditEvent,
) -> Result<Option<ClientRow>, Failure> {
    callers::lock_caller_and_check(t, &event).await?;
    let Some((before, now)) = read_locked(t, &id, "FOR UPDATE").await? else { return Ok(None) };
    let after = change.apply(&before, now)?;
    let sql = "UPDATE clients SET name = $2, secret_hash = $3, former_hash = $4, former_until = $5, jwks = $6, scopes = $7,
        audiences = $8, redirect_uris = $9, disabled = $10, created_at = $11, public = $12 WHERE id = $1";
    write(t, &after, sql).await?;
    audit::write(t, &audit_details::client_changed(&event, &before, &after).about(&id)).await?;
    Ok(Some(after))
}

async fn delete(t: &Transaction<'_>, id: ClientId, event: AuditEvent) -> Result<bool, Failure> {
    callers::lock_caller_and_check(t, &event).await?;
    let sql = "DELETE FROM clients WHERE id = $1 RETURNING name";
    let Some(row) = t.query_opt(&t.prepare_cached(sql).await?, &[&id.as_str()]).await? else {
        return Ok(false);
    };
    audit::write(t, &audit_details::client_named(&event, row.try_get(0)?).about(&id)).await?;
    Ok(true)
}

async fn issue(
    t: &Transaction<'_>,
    judged: ClientRow,
    event: AuditEvent,
) -> Result<Option<Timestamp>, Failure> {
    match read_locked(t, &judged.id, "FOR SHARE").await? {
        Some((row, now)) if row == judged => {
            audit::write(t, &event).await?;
            Ok(Some(now))
        }
        _ => Ok(None),
    }
}
