//! Examines a database for `bulla doctor`. Every transaction is read-only.

use std::sync::Arc;

use super::{
    clock, connect::Connector, connect_errors, failure::Failure, feeds::Feeds, migrate, nodes, pool::Pool,
    triggers, unreadable_rows,
};
use crate::{
    clock::Timestamp,
    store::{
        StoreError,
        inspection::{DatabaseFacts, Inspection, compare_schema},
    },
};

/// Lists the tables of this schema that the role may not read and write.
const DENIED: &str = "SELECT c.relname::text, pg_get_userbyid(c.relowner)::text, n.nspname::text
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.oid = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('bulla_schema_history'))
      AND c.relname = ANY ('{users,identities,sessions,clients,revocations,used,audit,ring,nodes,bulla_schema_history}')
      AND NOT (has_table_privilege(c.oid, 'SELECT') AND (c.relname = 'bulla_schema_history' OR (
        has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
        AND has_table_privilege(c.oid, 'DELETE'))))
    ORDER BY c.relname";

/// Examines a database: its kind and its condition.
pub(super) async fn inspect(connector: Connector) -> Result<Inspection, StoreError> {
    let (client, driving) = migrate::connect(&connector).await?;
    migrate::check_fitness(&connector, &client).await?;
    let reads = client.batch_execute("SET default_transaction_read_only = on").await;
    reads.map_err(Failure::from)?;
    if !migrate::has_history(&client).await? {
        let tables =
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1 LIMIT 3";
        let tables = client.query(tables, &[]).await.map_err(Failure::from)?;
        return Ok(Inspection::Foreign(tables.iter().map(|row| row.get(0)).collect()));
    }
    let denied = client.query(DENIED, &[]).await.map_err(Failure::from)?;
    if let Some(first) = denied.first() {
        let tables: Vec<&str> = denied.iter().map(|row| row.get(0)).collect();
        return Err(StoreError::Unavailable(format!(
            "the role may not read and write {}; {}",
            tables.join(", "),
            connect_errors::grant(connector.config(), first.get(1), first.get(2))
        )));
    }
    let found = migrate::newest(&client).await?;
    if let Some(other) = compare_schema(found.into(), migrate::known().into()) {
        return Ok(other);
    }
    driving.abort();
    let pool = Pool::new(connector, 1, Arc::new(Feeds::default()))?;
    let newest = pool.rows("SELECT at FROM audit ORDER BY seq DESC LIMIT 1", &[]).await?;
    let newest = newest.first().map(|row| row.try_get(0)).transpose().map_err(Failure::from)?;
    let only = pool.rows("SELECT current_setting('transaction_read_only') = 'on'", &[]).await?;
    let only = only.first().is_some_and(|row| row.try_get(0).unwrap_or(true));
    let (clock, now) = clock::read(&pool).await?;
    Ok(Inspection::Present(Box::new(DatabaseFacts {
        unwritable: only
            .then(|| "the database is read-only: it is a replica, or it is set to read-only".into()),
        triggers: triggers::missing(&pool).await?,
        unreadable: unreadable_rows::find(&pool).await?,
        clock,
        ring_mark: nodes::ring_mark(&pool).await?,
        now,
        newest: newest.map(Timestamp::from_millis),
    })))
}
