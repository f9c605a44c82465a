//! Imports all data of another store into an empty database, in one transaction during which no other client can write.

use std::{path::Path, pin::pin, time::Duration};

use serde_json::json;
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::{
    PostgresUrl,
    audit::{self, EventColumns},
    connect::Connector,
    connection_thread::ConnectionThread,
    failure::{Failure, ServerMessage},
    migrate,
    rows::bigint,
};
use crate::{
    clock::Timestamp,
    store::{
        Actor, AuditEvent, Event, StoreError,
        time_budget::COMMAND_QUERY_LIMIT,
        transfer_stream::{Next, RingMark, Row, Source, TABLES, Table, Value},
    },
};

/// How long the import waits for other users of the tables.
const LOCKS: Duration = Duration::from_secs(5);

/// A database that is about to be filled. If this is dropped before the commit, nothing has changed.
#[derive(Debug)]
pub(in crate::store) struct Import {
    client: Client,
    _driving: JoinHandle<()>,
    _thread: ConnectionThread,
}

/// The contents of the target database.
#[derive(Debug)]
pub(in crate::store) enum ImportTarget {
    /// The database is empty, except perhaps for the mark of a ring.
    Empty,
    /// The database contains the result of an earlier move.
    Transferred { at: Timestamp, fingerprint: String },
    /// The database contains rows of these tables.
    Taken(Vec<String>),
}

impl Import {
    /// Connects, migrates the schema, and locks the tables against writes of all other clients.
    pub(in crate::store) async fn start(url: &PostgresUrl) -> Result<Self, StoreError> {
        let thread = ConnectionThread::start()?;
        let connector = Connector::new(url.connection_settings()?, thread.handle(), COMMAND_QUERY_LIMIT);
        migrate::bring_up_to_date(&connector).await?;
        let (client, driving) = migrate::connect(&connector).await?;
        let tables = TABLES.map(|table| table.name).join(", ");
        let begin = format!(
            "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = {};
             BEGIN ISOLATION LEVEL READ COMMITTED; LOCK TABLE {tables}, ring IN SHARE ROW EXCLUSIVE MODE",
            LOCKS.as_millis()
        );
        client.batch_execute(&begin).await.map_err(Failure::from)?;
        Ok(Self { client, _driving: driving, _thread: thread })
    }

    /// Examines the contents of the database.
    pub(in crate::store) async fn target(&self) -> Result<ImportTarget, StoreError> {
        Ok(self.find_target().await?)
    }

    async fn find_target(&self) -> Result<ImportTarget, Failure> {
        // A second transfer recognizes the first one by its event.
        let moved = "SELECT at, detail FROM audit WHERE event = $1 ORDER BY seq DESC LIMIT 1";
        if let Some(row) = self.client.query_opt(moved, &[&Event::DatabaseMigrated.as_str()]).await? {
            let detail: serde_json::Value = serde_json::from_str(row.try_get(1)?).unwrap_or_default();
            let fingerprint = detail["fingerprint"].as_str().unwrap_or_default().to_owned();
            return Ok(ImportTarget::Transferred {
                at: Timestamp::from_millis(row.try_get(0)?),
                fingerprint,
            });
        }
        let each = TABLES.map(|table| format!("SELECT '{0}' WHERE EXISTS (SELECT FROM {0})", table.name));
        let rows = self.client.query(&each.join(" UNION ALL "), &[]).await?;
        let taken = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
        Ok(if taken.is_empty() { ImportTarget::Empty } else { ImportTarget::Taken(taken) })
    }

    /// Imports everything; returns the number of rows of each table.
    pub(in crate::store) async fn take(
        self,
        mut source: Source,
        from: &Path,
        actor: &Actor,
    ) -> Result<Vec<(&'static str, u64)>, StoreError> {
        // The nodes received the transferred revocations long ago, so their times stay: they must not count from this commit.
        self.run("ALTER TABLE revocations DISABLE TRIGGER revoked_late").await?;
        let mut rows = Vec::new();
        for table in &TABLES {
            rows.push((table.name, self.table(table, &mut source).await?));
        }
        let (mark, fingerprint) = source.end().await?;
        self.ring(mark).await?;
        let counts: serde_json::Map<_, _> =
            rows.iter().map(|(name, n)| ((*name).into(), (*n).into())).collect();
        let detail = json!({"from": from.display().to_string(), "fingerprint": fingerprint, "rows": counts});
        let event = AuditEvent::new(Event::DatabaseMigrated, actor.clone(), "").with(detail);
        let EventColumns { event, actor, subject, detail } = (&event).into();
        let noted = self.client.execute(audit::INSERT, &[&event, &actor, &subject, &detail]).await;
        noted.map_err(Failure::from)?;
        self.run("ALTER TABLE revocations ENABLE TRIGGER revoked_late; COMMIT").await?;
        Ok(rows)
    }

    async fn run(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.client.batch_execute(sql).await.map_err(Failure::from)?)
    }

    async fn table(&self, table: &Table, source: &mut Source) -> Result<u64, StoreError> {
        let Table { name, columns, numbers, .. } = table;
        let types =
            self.client.prepare(&format!("SELECT {columns} FROM {name}")).await.map_err(Failure::from)?;
        let types: Vec<Type> = types.columns().iter().map(|column| column.type_().clone()).collect();
        let copy = format!("COPY {name} ({columns}) FROM STDIN (FORMAT binary)");
        let sink = self.client.copy_in(&copy).await.map_err(Failure::from)?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        let highest = loop {
            match source.next(table).await? {
                Next::Rows(rows) => {
                    for row in rows {
                        let row = self::row(table, row, &types)?;
                        writer.as_mut().write_raw(row).await.map_err(|error| in_table(name, &error))?;
                    }
                }
                Next::End(highest) => break highest,
            }
        };
        let copied = writer.finish().await.map_err(|error| in_table(name, &error))?;
        if let Some(column) = numbers {
            let advance = format!(
                "SELECT setval('{name}_{column}_seq', $1) FROM {name}_{column}_seq WHERE last_value < $1 OR NOT is_called"
            );
            if highest > 0 {
                self.client.execute(&advance, &[&highest]).await.map_err(Failure::from)?;
            }
        }
        Ok(copied)
    }

    /// Imports the mark of the ring. A server that was started too early may have left a mark. It must be of the same ring.
    async fn ring(&self, mark: Option<RingMark>) -> Result<(), StoreError> {
        let Some((generation, fingerprint)) = mark else { return Ok(()) };
        let sql =
            "INSERT INTO ring (one, generation, fingerprint) VALUES (1, $1, $2) ON CONFLICT (one) DO UPDATE
            SET generation = excluded.generation, fingerprint = excluded.fingerprint
            WHERE ring.generation < excluded.generation OR ring = excluded";
        let written = self.client.execute(sql, &[&bigint(generation), &fingerprint.as_slice()]).await;
        match written.map_err(Failure::from)? {
            0 => Err(StoreError::Conflict(
                "the database has recorded a newer or another key ring; name an empty database".into(),
            )),
            _ => Ok(()),
        }
    }
}

/// Adds the table's name to the server's error message.
fn in_table(table: &str, error: &tokio_postgres::Error) -> StoreError {
    StoreError::Unavailable(format!("table {table}: {}", ServerMessage(error)))
}

fn row(table: &Table, row: Row, types: &[Type]) -> Result<Vec<Sent>, StoreError> {
    let values = row.into_iter().zip(types).zip(table.columns.split(','));
    let values = values.map(|((value, kind), column)| {
        let unfit = || {
            StoreError::Unavailable(format!(
                "table {}: the column {} has a value that is not of type {kind}",
                table.name,
                column.trim()
            ))
        };
        sent(value, kind).ok_or_else(unfit)
    });
    values.collect()
}

type Sent = Box<dyn ToSql + Sync + Send>;

/// Converts a value to the type of its column. `None` if the value has another type, because SQLite stores values of any type.
fn sent(value: Value, column: &Type) -> Option<Sent> {
    Some(match (value, column) {
        (Value::Integer(integer), &Type::INT8) => Box::new(integer),
        (Value::Integer(integer), &Type::INT4) => Box::new(i32::try_from(integer).ok()?),
        (Value::Text(text), &Type::TEXT) => Box::new(audit::text(&text)),
        (Value::Bytes(bytes), &Type::BYTEA) => Box::new(bytes),
        (Value::Null, &Type::INT8) => Box::new(None::<i64>),
        (Value::Null, &Type::TEXT) => Box::new(None::<String>),
        (Value::Null, &Type::BYTEA) => Box::new(None::<Vec<u8>>),
        _ => return None,
    })
}
