//! The store on SQLite, inside the program. One writer thread commits queued changes in groups; several threads read
//! (docs/architecture.md).

mod audit;
mod callers;
mod checkpoint;
mod clients;
mod clock;
#[cfg(feature = "postgres")]
mod export;
mod failure;
mod feeds;
mod file_state;
mod identities;
mod inspect;
mod lists;
mod nodes;
mod nonces;
mod open;
mod read_only;
mod readers;
mod revocations;
mod rows;
mod sessions;
mod triggers;
mod unreadable_rows;
mod upkeep;
mod users;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;

#[cfg(feature = "postgres")]
pub(super) use self::export::export;
use self::{
    checkpoint::Checkpointer,
    failure::Failure,
    feeds::Feeds,
    file_state::FileState,
    readers::Readers,
    writer::{Statements::Several, Writer},
};
use super::{AuditEvent, Inspection, StoreError};
use crate::clock::{Clock, Timestamp};

/// How long a connection waits for a lock that another process holds, if the options don't set another time.
const BUSY_TIMEOUT: Duration = Duration::from_millis(700);

/// Options for opening a database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The largest number of changes in one transaction. With 1, each change is a separate transaction.
    pub group_commit_max: usize,
    /// Whether the file's group may read the database.
    pub allow_group_read: bool,
    /// How long a change waits for a lock that another process holds.
    pub lock_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { group_commit_max: 1024, allow_group_read: false, lock_limit: BUSY_TIMEOUT }
    }
}

/// A SQLite database of Bulla.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    writer: Writer,
    readers: Readers,
    feeds: Arc<Feeds>,
    state: Arc<FileState>,
    _checkpointer: Checkpointer,
}

impl SqliteStore {
    /// Opens the database, creates it if it is missing, migrates it, and starts the threads.
    ///
    /// # Errors
    ///
    /// Fails if the schema is newer than this program, or if SQLite is older than 3.51.3.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::open_with(path, clock, Options::default())
    }

    /// Like [`Self::open`], with options.
    pub fn open_with(path: &Path, clock: Arc<dyn Clock>, options: Options) -> Result<Self, StoreError> {
        let connection = open::open_and_migrate(path, options.allow_group_read)?;
        connection.busy_timeout(options.lock_limit).map_err(Failure::from)?;
        let state = Arc::new(FileState::record(path)?);
        let feeds = Arc::new(Feeds::default());
        let (commit_lock, group) = (Arc::default(), options.group_commit_max);
        Ok(Self {
            path: path.to_owned(),
            writer: Writer::start(
                connection,
                Arc::clone(&clock),
                Arc::clone(&feeds),
                Arc::clone(&state),
                Arc::clone(&commit_lock),
                group,
            )?,
            readers: Readers::open(path, Arc::clone(&state))?,
            _checkpointer: Checkpointer::start(path, Arc::clone(&state), commit_lock)?,
            clock,
            feeds,
            state,
        })
    }

    /// Whether the file contains Bulla's tables. Writes nothing.
    pub(super) fn exists(path: &Path) -> Result<bool, StoreError> {
        read_only::is_ours(path)
    }

    /// Examines the file: its kind and its condition. Writes nothing.
    pub(super) fn inspect(path: &Path, clock: &dyn Clock) -> Result<Inspection, StoreError> {
        inspect::inspect(path, clock)
    }

    /// Returns how many transactions the writer has committed. Many changes share one transaction.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Makes a change that has an event, if the event's caller still has the right to make it.
    async fn write_as<T: Send + 'static>(
        &self,
        event: AuditEvent,
        change: impl FnOnce(&Connection, &AuditEvent, Timestamp) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let checked = move |c: &Connection, now| {
            callers::check(c, &event, now)?;
            change(c, &event, now)
        };
        self.writer.write(Several, checked).await
    }
}
