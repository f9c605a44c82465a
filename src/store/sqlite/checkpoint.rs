//! Runs checkpoints on a separate connection, so that copying the write-ahead log (WAL) into the database delays no commit.

use std::{
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use rusqlite::{Connection, Row};

use super::{
    failure::Failure,
    file_state::{self, FileState},
    open,
};
use crate::store::StoreError;

/// How often the size of the WAL is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The size of the WAL at which a checkpoint runs.
const WAL_CHECKPOINT_BYTES: u64 = 4 << 20;
/// The size of the WAL at which it is truncated as well, as soon as no reader uses it.
const WAL_TRUNCATE_BYTES: u64 = 32 << 20;
/// The maximum time that a truncation waits for readers. Commits wait for a truncation, so this must be short.
const TRUNCATE_TIMEOUT: Duration = Duration::from_millis(50);
/// A truncation starts only if at most this number of WAL pages is not in the database yet.
const MAX_PAGES_LEFT: u32 = 1000;
/// The maximum number of passive checkpoints, which delay no commit, before the truncation is given up for this time.
const MAX_PASSIVE_RUNS: usize = 8;

/// The thread of the checkpoints. When dropped, waits for a last checkpoint, which leaves a short WAL. If the WAL was removed while it
/// was open, no later start can recover from it, so a process that ended in the middle of this checkpoint would damage the database.
#[derive(Debug)]
pub(super) struct Checkpointer {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Checkpointer {
    /// Starts the thread. A commit holds `commit_lock` for reading, so holding it for writing prevents the writer from beginning a
    /// commit.
    pub(super) fn start(
        path: &Path,
        state: Arc<FileState>,
        commit_lock: Arc<RwLock<()>>,
    ) -> Result<Self, StoreError> {
        let connection = open::connect(path)?;
        connection.busy_timeout(TRUNCATE_TIMEOUT).map_err(Failure::from)?;
        let wal = file_state::wal(path)?;
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let mut failing = false;
            loop {
                let end = stopped.recv_timeout(CHECK_INTERVAL) != Err(RecvTimeoutError::Timeout);
                let size = std::fs::metadata(&wal).map_or(0, |about| about.len());
                if !end && size < WAL_CHECKPOINT_BYTES {
                    continue;
                }
                if state.may_checkpoint() {
                    let done = match end || size >= WAL_TRUNCATE_BYTES {
                        true => truncate(&connection, &commit_lock),
                        false => checkpoint(&connection),
                    };
                    let done = done.inspect_err(|error| state.record_failure(error));
                    if let Err(error) = &done
                        && !failing
                    {
                        tracing::warn!(%error, "checkpoints fail; the WAL grows until one succeeds");
                    }
                    failing = done.is_err();
                }
                if end {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("bulla-checkpoint".into()).spawn(run).map_err(|error| {
            StoreError::Unavailable(format!("a thread for checkpoints could not be started: {error}"))
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

/// Copies pages of the WAL into the database; returns how many are left. Commits and reads continue meanwhile.
fn checkpoint(connection: &Connection) -> Result<u32, StoreError> {
    let (all, done) = run(connection, "PASSIVE")?;
    Ok(all.saturating_sub(done))
}

/// Like [`checkpoint`], and truncates the WAL to zero bytes if that takes only a moment.
fn truncate(connection: &Connection, commit_lock: &RwLock<()>) -> Result<u32, StoreError> {
    for _ in 0..MAX_PASSIVE_RUNS {
        let left = checkpoint(connection)?;
        if left <= MAX_PAGES_LEFT {
            let _alone = commit_lock.write().unwrap_or_else(PoisonError::into_inner);
            run(connection, "TRUNCATE")?;
            return Ok(0);
        }
    }
    checkpoint(connection)
}

/// Runs a checkpoint. Returns the number of pages in the WAL and how many of them are in the database.
fn run(connection: &Connection, mode: &str) -> Result<(u32, u32), StoreError> {
    let count = |row: &Row<'_>, at| row.get::<_, i64>(at).map(|count| u32::try_from(count).unwrap_or(0));
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    Ok(connection.query_row(&sql, [], |row| Ok((count(row, 1)?, count(row, 2)?))).map_err(Failure::from)?)
}
