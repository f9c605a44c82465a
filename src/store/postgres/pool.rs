//! The pool: every statement and transaction of the store, in time or not at all, tried again where that is safe.

use std::{pin::pin, sync::Arc, time::Duration};

use deadpool_postgres::{Client, Manager, ManagerConfig, Object, PoolError, Transaction};
use futures_util::{TryStreamExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::{IsolationLevel, Row, types::ToSql};

use super::{connect::Connector, failure::Failure, feeds::Feeds, fitness, revocations};
use crate::{
    secret,
    store::{StoreError, patience::Question},
};

/// How long what concerns everybody may take.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(60);
/// How often what the database rolled back because of others is tried again, within the same patience.
const TRIES: u32 = 12;

/// A value of a statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);
/// Values of a statement.
pub(super) type Values<'a> = &'a [Value<'a>];

/// Connections, made when they are needed.
#[derive(Debug)]
pub(super) struct Pool {
    connections: deadpool_postgres::Pool,
    feeds: Arc<Feeds>,
}

impl Pool {
    pub(super) fn new(connector: Connector, most: usize, feeds: Arc<Feeds>) -> Result<Self, StoreError> {
        let config = connector.config().clone();
        let manager = Manager::from_connect(config, connector, ManagerConfig::default());
        let connections = deadpool_postgres::Pool::builder(manager).max_size(most).build();
        let connections = connections.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { connections, feeds })
    }

    /// The rows of one statement, which is a transaction by itself.
    pub(super) async fn rows(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(self.statement(sql, values).await?.0)
    }

    /// The number of rows that one statement found or changed.
    pub(super) async fn count(&self, sql: &str, values: Values<'_>) -> Result<u64, StoreError> {
        Ok(self.statement(sql, values).await?.1)
    }

    async fn statement(&self, sql: &str, values: Values<'_>) -> Result<(Vec<Row>, u64), StoreError> {
        let question = Question::ask();
        let deadline = question.deadline();
        let mut tries = 0;
        loop {
            let client = self.client(deadline).await?;
            let ran = timeout_at(deadline, async {
                let statement = client.prepare_cached(sql).await?;
                let mut answer = pin!(client.query_raw(&statement, values.iter().copied()).await?);
                let mut rows = Vec::new();
                while let Some(row) = answer.try_next().await? {
                    rows.push(row);
                }
                Ok((rows, answer.rows_affected().unwrap_or_default()))
            });
            if let Some(done) = judge(ran.await, client, &mut tries)? {
                return Ok(done);
            }
            stand_back(tries).await;
        }
    }

    /// A transaction, at the level at which a lock shows what those who held it before have done, whatever the database's
    /// default. The revocations it made reach this process' feeds before it is acknowledged. `longer`: what concerns everybody.
    pub(super) async fn transaction<T, F>(&self, longer: Option<Duration>, change: F) -> Result<T, StoreError>
    where
        F: for<'t> Fn(&'t Transaction<'t>) -> BoxFuture<'t, Result<T, Failure>>,
    {
        let question = longer.is_none().then(Question::ask);
        let deadline = question.as_ref().map(Question::deadline);
        let deadline = deadline.unwrap_or_else(|| Instant::now() + longer.unwrap_or_default());
        let mut tries = 0;
        loop {
            let mut client = self.client(deadline).await?;
            let ran = timeout_at(deadline, async {
                let begin = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
                let transaction = begin.start().await?;
                if let Some(longer) = longer {
                    let most = format!("SET LOCAL statement_timeout = {}", longer.as_millis());
                    transaction.batch_execute(&most).await?;
                }
                let done = change(&transaction).await?;
                let (made, now) = revocations::of_this_transaction(&transaction).await?;
                let read = Instant::now();
                transaction.commit().await?;
                Ok((done, made, now.plus(read.elapsed())))
            });
            if let Some((done, made, now)) = judge(ran.await, client, &mut tries)? {
                self.feeds.publish(made, now);
                return Ok(done);
            }
            stand_back(tries).await;
        }
    }

    /// Whether connections keep their sessions; a pooler may have come in between since the start. Not looked at while all
    /// connections are in use.
    pub(super) async fn check_sessions(&self) -> Result<(), StoreError> {
        let question = Question::ask();
        let deadline = question.deadline();
        if self.connections.status().max_size < 2 {
            return Ok(());
        }
        let one = self.client(deadline).await?;
        let Ok(other) = self.client(deadline).await else { return Ok(()) };
        match timeout_at(deadline, fitness::check_sessions(&one, &other)).await {
            Ok(checked) => Ok(checked?),
            Err(_) => {
                drop((Object::take(one), Object::take(other)));
                Err(StoreError::Unavailable("the database didn't answer in time".into()))
            }
        }
    }

    /// A connection for several statements of the caller's own.
    pub(super) async fn client(&self, deadline: Instant) -> Result<Client, StoreError> {
        match timeout_at(deadline, self.connections.get()).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(PoolError::Backend(error))) => Err(Failure::Database(error).into()),
            Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
            Err(_) => Err(StoreError::Unavailable("no connection to the database in time".into())),
        }
    }
}

/// What an attempt came to: done, to be tried again (`None`), or an error. What a lost or late answer leaves behind is
/// unknown, so its connection is closed.
fn judge<T>(
    ran: Result<Result<T, Failure>, tokio::time::error::Elapsed>,
    client: Client,
    tries: &mut u32,
) -> Result<Option<T>, StoreError> {
    match ran {
        Ok(Ok(done)) => Ok(Some(done)),
        Ok(Err(failure)) if failure.is_worth_another_try() && *tries < TRIES => {
            *tries += 1;
            Ok(None)
        }
        Ok(Err(failure)) => {
            if failure.spoils_the_connection() {
                drop(Object::take(client));
            }
            Err(failure.into())
        }
        Err(_) => {
            drop(Object::take(client));
            Err(StoreError::Unavailable("the database didn't answer in time".into()))
        }
    }
}

/// Waits a little, longer each time and never as long as the others who failed together.
async fn stand_back(tries: u32) {
    let mut byte = [0];
    let jitter = secret::random(&mut byte).map_or(128, |()| u64::from(byte[0]));
    sleep(Duration::from_micros(jitter << tries.min(7))).await;
}
