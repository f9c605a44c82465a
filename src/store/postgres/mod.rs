//! The store on PostgreSQL, shared by any number of nodes (docs/architecture.md). It changes single rows by conditional
//! statements, and sends many rotations in one statement. Triggers write the revocations, and a feed delivers each of them to
//! every node.
//!
//! No code here relies on a strict isolation level. Locks and conditions prevent the anomalies that READ COMMITTED allows, and a
//! transaction that a stricter level aborts is repeated. All times are the database's, from its function `bulla_now()`.

mod audit;
mod callers;
mod clients;
mod clock;
mod connect;
mod connect_errors;
mod connection_thread;
mod environment;
mod failure;
mod feeds;
mod identities;
#[cfg(feature = "sqlite")]
mod import;
mod inspect;
mod lists;
mod migrate;
mod nodes;
mod nonces;
mod parameters;
mod passfile;
mod pool;
mod revocations;
mod rotations;
mod rows;
mod server_checks;
mod session_locks;
mod sessions;
mod tls;
mod triggers;
mod unreadable_rows;
mod upkeep;
mod url;
mod users;

use std::{sync::Arc, time::Duration};

#[cfg(feature = "sqlite")]
pub(super) use self::import::{Import, ImportTarget};
pub use self::url::PostgresUrl;
use self::{
    connect::Connector, connection_thread::ConnectionThread, feeds::Feeds, pool::Pool, rotations::Rotations,
};
use super::{
    Inspection, StoreError,
    time_budget::{COMMAND_QUERY_LIMIT, REQUEST_BUDGET},
};

/// Options for the use of a database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The largest number of connections, without the feed's.
    pub connections: usize,
    /// The largest number of rotations in one statement. With 1, each rotation is a separate statement on a separate connection.
    pub rotations_together: usize,
    /// The time limit of a query outside of a request.
    pub query_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 16, rotations_together: 1024, query_limit: REQUEST_BUDGET }
    }
}

/// A PostgreSQL database of Bulla.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Arc<Pool>,
    rotations: Option<Rotations>,
    feeds: Arc<Feeds>,
    connector: Connector,
    thread: ConnectionThread,
}

impl PostgresStore {
    /// Connects and migrates the schema.
    ///
    /// # Errors
    ///
    /// Fails if the schema is newer than this program, or if the server is older than PostgreSQL 14.
    pub async fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        Self::open_with(url, Options::default()).await
    }

    /// Like [`Self::open`], with options.
    pub async fn open_with(url: &PostgresUrl, options: Options) -> Result<Self, StoreError> {
        let thread = ConnectionThread::start()?;
        let connector = Connector::new(url.connection_settings()?, thread.handle(), options.query_limit);
        migrate::bring_up_to_date(&connector).await?;
        let feeds = Arc::new(Feeds::default());
        let pool = Arc::new(Pool::new(connector.clone(), options.connections, Arc::clone(&feeds))?);
        pool.open_first().await?;
        let together = options.rotations_together;
        let rotations =
            (together > 1).then(|| Rotations::start(Arc::clone(&pool), thread.handle(), together));
        Ok(Self { pool, rotations, feeds, connector, thread })
    }

    /// Whether the database contains Bulla's tables.
    pub async fn exists(url: &PostgresUrl) -> Result<bool, StoreError> {
        let thread = ConnectionThread::start()?;
        migrate::exists(&Connector::new(url.connection_settings()?, thread.handle(), COMMAND_QUERY_LIMIT))
            .await
    }

    /// Examines the database: its kind and its condition. Writes nothing.
    pub(super) async fn inspect(url: &PostgresUrl) -> Result<Inspection, StoreError> {
        let thread = ConnectionThread::start()?;
        inspect::inspect(Connector::new(url.connection_settings()?, thread.handle(), COMMAND_QUERY_LIMIT))
            .await
    }
}
