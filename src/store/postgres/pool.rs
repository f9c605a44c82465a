//! The connection pool. It runs every statement and transaction of the store within a time limit, and repeats it if that is safe.

use std::{pin::pin, sync::Arc, time::Duration};

use deadpool_postgres::{Client, Manager, ManagerConfig, Object, PoolError, Transaction};
use futures_util::{TryStreamExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::{IsolationLevel, Row};

use super::{
    connect::{CONNECT_TIME_LIMIT, Connector},
    failure::Failure,
    feeds::Feeds,
    rows::{Values, revocations},
    server_checks,
};
use crate::{
    secret,
    store::{StoreError, time_budget::TimedQuery},
};

/// How many times a transaction that the database rolled back because of concurrent ones is repeated, within the same time limit.
const TRIES: u32 = 12;

/// The connections, opened when they are needed.
#[derive(Debug)]
pub(super) struct Pool {
    connections: deadpool_postgres::Pool,
    /// The time limit of a query outside of a request.
    query_limit: Duration,
    feeds: Arc<Feeds>,
}

impl Pool {
    pub(super) fn new(connector: Connector, most: usize, feeds: Arc<Feeds>) -> Result<Self, StoreError> {
        let (config, query_limit) = (connector.config().clone(), connector.query_limit());
        let manager = Manager::from_connect(config, connector, ManagerConfig::default());
        let connections = deadpool_postgres::Pool::builder(manager).max_size(most).build();
        let connections = connections.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { connections, query_limit, feeds })
    }

    /// Opens the first connection with the time limit of a start. The first query then spends no part of its own, shorter time
    /// limit on connecting: name resolution, TLS and the check of the password take about seven round trips.
    pub(super) async fn open_first(&self) -> Result<(), StoreError> {
        self.client(Instant::now() + CONNECT_TIME_LIMIT).await.map(drop)
    }

    /// Starts the time limit of a query.
    pub(super) fn timed_query(&self) -> TimedQuery {
        TimedQuery::start(self.query_limit)
    }

    /// Returns the rows of one statement, which is a transaction by itself.
    pub(super) async fn rows(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(self.statement(sql, values).await?.0)
    }

    /// Returns the number of rows that one statement found or changed.
    pub(super) async fn count(&self, sql: &str, values: Values<'_>) -> Result<u64, StoreError> {
        Ok(self.statement(sql, values).await?.1)
    }

    async fn statement(&self, sql: &str, values: Values<'_>) -> Result<(Vec<Row>, u64), StoreError> {
        let query = self.timed_query();
        let deadline = query.deadline();
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
            back_off(tries).await;
        }
    }

    /// Runs a transaction at the isolation level READ COMMITTED, whatever the database's default: after waiting for a lock, a
    /// statement sees the changes of the lock's previous holder. The revocations of the transaction reach this process's feeds
    /// before it is acknowledged. `longer` is a longer time limit, for operations that concern all users.
    pub(super) async fn transaction<T, F>(&self, longer: Option<Duration>, change: F) -> Result<T, StoreError>
    where
        F: for<'t> Fn(&'t Transaction<'t>) -> BoxFuture<'t, Result<T, Failure>>,
    {
        let query = longer.is_none().then(|| self.timed_query());
        let deadline = query.as_ref().map(TimedQuery::deadline);
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
            back_off(tries).await;
        }
    }

    /// Checks that the connections keep their sessions, because an operator may have put a pooler in front of the server since the
    /// start. Skips the check while all connections are in use.
    pub(super) async fn check_sessions(&self) -> Result<(), StoreError> {
        let query = self.timed_query();
        let deadline = query.deadline();
        if self.connections.status().max_size < 2 {
            return Ok(());
        }
        let one = self.client(deadline).await?;
        let Ok(other) = self.client(deadline).await else { return Ok(()) };
        match timeout_at(deadline, server_checks::check_sessions(&one, &other)).await {
            Ok(checked) => Ok(checked?),
            Err(_) => {
                drop((Object::take(one), Object::take(other)));
                Err(StoreError::Unavailable("the database didn't answer in time".into()))
            }
        }
    }

    /// Returns a connection for several statements of the caller.
    pub(super) async fn client(&self, deadline: Instant) -> Result<Client, StoreError> {
        match timeout_at(deadline, self.connections.get()).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(PoolError::Backend(error))) => Err(Failure::Database(error).into()),
            Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
            Err(_) => Err(StoreError::Unavailable("no connection to the database in time".into())),
        }
    }
}

/// Judges the result of an attempt: done, to be repeated (`None`), or an error. After a lost or late answer the state of the
/// connection is unknown, so the connection is closed.
fn judge<T>(
    ran: Result<Result<T, Failure>, tokio::time::error::Elapsed>,
    client: Client,
    tries: &mut u32,
) -> Result<Option<T>, StoreError> {
    match ran {
        Ok(Ok(done)) => Ok(Some(done)),
        Ok(Err(failure)) if failure.can_be_repeated() && *tries < TRIES => {
            *tries += 1;
            Ok(None)
        }
        Ok(Err(failure)) => {
            if failure.breaks_connection() {
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

/// Waits a short random time, longer after each attempt, so that transactions that failed together do not start again together.
async fn back_off(tries: u32) {
    let mut byte = [0];
    let jitter = secret::random(&mut byte).map_or(128, |()| u64::from(byte[0]));
    sleep(Duration::from_micros(jitter << tries.min(7))).await;
}
