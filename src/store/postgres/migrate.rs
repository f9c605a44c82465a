//! Migrates the schema to the newest version, under a lock, so that any number of nodes may start at once.

use std::{error::Error, time::Duration};

use tokio::time::timeout;
use tokio_postgres::{Client, error::SqlState};

use super::{
    connect::{CONNECT_TIME_LIMIT, Connector},
    connect_errors,
    failure::{Failure, ServerMessage},
    pool::Pool,
    server_checks,
};
use crate::store::StoreError;

mod embedded {
    refinery::embed_migrations!("src/store/migrations/postgres");
}

/// The advisory lock that the migrating node holds.
const LOCK: i64 = 0x0062_756c_6c61_0001;
/// How long a node waits for another node's migration, and the time limit of its own migration.
const MIGRATION_TIME_LIMIT: Duration = Duration::from_secs(120);
/// The table of applied migrations. Its name contains `bulla`, because other programs may share the database.
const HISTORY: &str = "bulla_schema_history";
/// The oldest supported version of PostgreSQL. Older versions lack range scans by row address (TID) and the numeric `extract`.
const LEAST_POSTGRES: i32 = 140_000;

/// Whether Bulla's tables exist.
pub(super) async fn exists(connector: &Connector) -> Result<bool, StoreError> {
    let (client, _driving) = connect(connector).await?;
    check_fitness(connector, &client).await?;
    Ok(has_history(&client).await?)
}

/// Connects, checks the server, and migrates the schema. Refuses a schema that is newer than this program.
pub(super) async fn bring_up_to_date(connector: &Connector) -> Result<(), StoreError> {
    let (mut client, _driving) = connect(connector).await?;
    check_fitness(connector, &client).await?;
    let work = async {
        check_server(&client).await?;
        let limit = MIGRATION_TIME_LIMIT.as_millis();
        let settings = format!("SET statement_timeout = {limit}; SET lock_timeout = {limit}");
        client.batch_execute(&settings).await?;
        client.query_one("SELECT pg_advisory_lock($1)::text", &[&LOCK]).await?;
        let known = known();
        let found = newest(&client).await?;
        if found > known {
            return Err(Failure::Store(StoreError::Schema(format!(
                "the schema has version {found}, this program knows versions up to {known}; run a newer version of bulla"
            ))));
        }
        if found < known {
            let mut runner = embedded::migrations::runner().set_abort_divergent(true);
            runner.set_migration_table_name(HISTORY);
            runner.run_async(&mut client).await.map_err(|error| explain(&error))?;
        }
        Ok(())
    };
    // The lock ends with the connection.
    match timeout(MIGRATION_TIME_LIMIT, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Unavailable("updating the schema took too long".into())),
    }
}

/// Returns the server's error message. For a missing privilege it adds the remedy, because new users often meet this error: since
/// PostgreSQL 15 not every role may create tables.
fn explain(error: &refinery::Error) -> StoreError {
    let mut cause: &(dyn Error + 'static) = error;
    let message = loop {
        if let Some(error) = cause.downcast_ref::<tokio_postgres::Error>() {
            let remedy = match error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
                true => {
                    "; the role that creates the tables must own the database (createdb --owner ROLE NAME)"
                }
                false => "",
            };
            break format!("{}{remedy}", ServerMessage(error));
        }
        match cause.source() {
            Some(source) => cause = source,
            None => break error.to_string(),
        }
    };
    StoreError::Schema(format!("the schema can't be updated: {message}"))
}

/// Opens a connection outside the pool.
pub(super) async fn connect(
    connector: &Connector,
) -> Result<(Client, tokio::task::JoinHandle<()>), StoreError> {
    match timeout(CONNECT_TIME_LIMIT, connector.connect(std::sync::Arc::default())).await {
        Ok(connected) => Ok(connected.map_err(|error| connect_errors::explain(error, connector.config()))?),
        Err(_) => Err(StoreError::Unavailable("no connection to the database in time".into())),
    }
}

/// Returns the version of the schema after all migrations of this program.
pub(super) fn known() -> i32 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().map(|m| m.version()).max().unwrap_or_default()
}

/// Refuses a server whose faults no migration repairs.
pub(super) async fn check_fitness(connector: &Connector, client: &Client) -> Result<(), StoreError> {
    let checks = async {
        server_checks::check_encoding(client).await?;
        let (other, _driving) = connect(connector).await?;
        Ok::<_, StoreError>(server_checks::check_sessions(client, &other).await?)
    };
    let late = |_| StoreError::Unavailable("the database didn't answer in time".into());
    timeout(Duration::from_secs(10), checks).await.map_err(late)?
}

async fn check_server(client: &Client) -> Result<(), Failure> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
        current_setting('fsync')";
    let row = client.query_one(sql, &[]).await?;
    if row.try_get::<_, i32>(0)? < LEAST_POSTGRES {
        let version: &str = row.try_get(1)?;
        return Err(StoreError::Schema(format!(
            "PostgreSQL {version} is too old; version 14 or newer is required"
        ))
        .into());
    }
    if row.try_get::<_, &str>(2)? == "off" {
        tracing::warn!("the database runs with fsync = off: changes that it has acknowledged can be lost");
    }
    Ok(())
}

pub(super) async fn has_history(client: &Client) -> Result<bool, Failure> {
    let row = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&HISTORY]).await?;
    Ok(row.try_get(0)?)
}

/// Returns the version of the schema, 0 if there is none.
pub(super) async fn newest(client: &Client) -> Result<i32, Failure> {
    if !has_history(client).await? {
        return Ok(0);
    }
    let sql = format!("SELECT coalesce(max(version), 0) FROM {HISTORY}");
    Ok(client.query_one(&sql, &[]).await?.try_get(0)?)
}

/// Returns the migrations that this program knows, in order.
pub(super) fn migrations() -> Vec<String> {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().filter_map(|migration| migration.sql().map(str::to_owned)).collect()
}

/// Whether a newer program has migrated the schema while this one runs.
pub(super) async fn is_newer(pool: &Pool) -> Result<bool, StoreError> {
    let rows = pool.rows(&format!("SELECT coalesce(max(version), 0) FROM {HISTORY}"), &[]).await?;
    let version = rows.first().map(|row| row.try_get::<_, i32>(0)).transpose().map_err(Failure::from)?;
    Ok(version.unwrap_or_default() > known())
}
