//! Reads and writes the rows of `clients`.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::{
    SqliteStore, audit,
    failure::Failure,
    rows::clients::{COLUMNS, TABLE, from_row, one},
    writer::Statements::Several,
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
impl ClientRows for SqliteStore {
    async fn client(&self, id: &ClientId) -> Result<(Option<ClientRow>, Timestamp), StoreError> {
        let (id, clock) = (id.clone(), Arc::clone(&self.clock));
        self.readers.read(move |c| Ok((one(c, &id)?, clock.now()))).await
    }

    async fn clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<ClientRow>, StoreError> {
        let after = after.cloned();
        let page = move |c: &Connection| {
            let sql = format!("SELECT {COLUMNS} FROM clients WHERE id > ? ORDER BY id");
            let after = after.as_ref().map_or("", ClientId::as_str);
            TABLE.read_several(&mut *c.prepare_cached(&sql)?, [after], limit, from_row)
        };
        self.readers.read(page).await
    }

    async fn add_client(&self, client: NewClient, event: AuditEvent) -> Result<ClientRow, StoreError> {
        self.write_as(event, move |c, event, now| add(c, client, event, now)).await
    }

    async fn change_client(
        &self,
        id: &ClientId,
        change: ClientChange,
        event: AuditEvent,
    ) -> Result<Option<ClientRow>, StoreError> {
        let id = id.clone();
        self.write_as(event, move |c, event, now| update(c, &id, &change, event, now)).await
    }

    async fn delete_client(&self, id: &ClientId, event: AuditEvent) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write_as(event, move |c, event, now| delete(c, &id, event, now)).await
    }

    async fn record_issuance(
        &self,
        judged: &ClientRow,
        event: AuditEvent,
    ) -> Result<Option<Timestamp>, StoreError> {
        let judged = judged.clone();
        self.writer.write(Several, move |c, now| issue(c, &judged, &event, now)).await
    }
}

fn add(
    connection: &Connection,
    new: NewClient,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<ClientRow, Failure> {
    let known = connection
        .prepare_cached("SELECT 1 FROM clients WHERE id = ? OR name = ?")?
        .exists([new.id.as_str(), &new.name])?;
    if known {
        return Err(taken().into());
    }
    let row = new.row(now);
    write(
        connection,
        &row,
        "INSERT INTO clients (id, name, secret_hash, former_hash, former_until, jwks, scopes, audiences, redirect_uris,
           disabled, created_at, public)
         VALUES (:id, :name, :hash, :former, :until, :jwks, :scopes, :audiences, :uris, :disabled, :created, :public)",
    )?;
    audit::write(connection, &audit_details::client_named(event, &row.name).about(&row.id), now)?;
    Ok(row)
}

fn write(connection: &Connection, row: &ClientRow, sql: &str) -> Result<(), Failure> {
    let columns = row.columns();
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": row.id.as_str(), ":name": row.name, ":hash": columns.secret_hash, ":former": columns.former_hash,
        ":until": columns.former_until, ":jwks": row.jwks, ":scopes": columns.scopes,
        ":audiences": columns.audiences, ":uris": columns.redirect_uris, ":disabled": row.disabled,
        ":created": row.created_at.millis(), ":public": row.public,
    })?;
    Ok(())
}

fn update(
    connection: &Connection,
    id: &ClientId,
    change: &ClientChange,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Option<ClientRow>, Failure> {
    let Some(before) = one(connection, id)? else { return Ok(None) };
    let after = change.apply(&before, now)?;
    write(
        connection,
        &after,
        "UPDATE clients SET name = :name, secret_hash = :hash, former_hash = :former, former_until = :until,
           jwks = :jwks, scopes = :scopes, audiences = :audiences, redirect_uris = :uris, disabled = :disabled,
           created_at = :created, public = :public WHERE id = :id",
    )?;
    audit::write(connection, &audit_details::client_changed(event, &before, &after).about(id), now)?;
    Ok(Some(after))
}

fn delete(
    connection: &Connection,
    id: &ClientId,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<bool, Failure> {
    let sql = "DELETE FROM clients WHERE id = ? RETURNING CAST(name AS TEXT)";
    // The name of a row inserted by hand may be any bytes. Such a row must be deletable too.
    let name = connection.prepare_cached(sql)?.query_row([id.as_str()], |row| {
        Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default()).into_owned())
    });
    let Some(name) = name.optional()? else { return Ok(false) };
    audit::write(connection, &audit_details::client_named(event, &name).about(id), now)?;
    Ok(true)
}

fn issue(
    connection: &Connection,
    judged: &ClientRow,
    event: &AuditEvent,
    now: Timestamp,
) -> Result<Option<Timestamp>, Failure> {
    if one(connection, &judged.id)?.as_ref() != Some(judged) {
        return Ok(None);
    }
    audit::write(connection, event, now)?;
    Ok(Some(now))
}
