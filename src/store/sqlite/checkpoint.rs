//! Checkpoints from a connection of their own: the WAL goes back into the database without a COMMIT waiting for it.

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
    open,
    state::{self, State},
};
use crate::store::StoreError;

/// How often the size of the WAL is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// From this size on it is checkpointed.
const WAL_BYTES: u64 = 4 << 20;
/// From this size on it is cut back as well, as soon as no reader holds it.
const WAL_TOO_LONG: u64 = 32 << 20;
/// A cut keeps commits waiting: for readers, no longer than this,
const PATIENCE: Duration = Duration::from_millis(50);
/// and for pages of the WAL that aren't in the database yet, no more than these,
const FEW: u32 = 1000;
/// to which the others are brought down without keeping anybody waiting, in so many goes.
const GOES: usize = 8;

/// Stops the thread when dropped; a last checkpoint leaves a short WAL behind.
#[derive(Debug)]
pub(super) struct Checkpointer {
    #[allow(dead_code, reason = "held for its Drop, which the thread sees")]
    stop: mpsc::Sender<()>,
}

impl Checkpointer {
    /// `turn` is read while a commit runs, and so keeps the writer from beginning one while it is written.
    pub(super) fn start(path: &Path, state: Arc<State>, turn: Arc<RwLock<()>>) -> Result<Self, StoreError> {
        let connection = open::connect(path)?;
        connection.busy_timeout(PATIENCE)?;
        let wal = state::wal(path)?;
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let mut failing = false;
            loop {
                let end = stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout);
                let size = std::fs::metadata(&wal).map_or(0, |about| about.len());
                if !end && size < WAL_BYTES {
                    continue;
                }
                if state.may_checkpoint() {
                    let done = match end || size >= WAL_TOO_LONG {
                        true => cut(&connection, &turn),
                        false => checkpoint(&connection),
                    };
                    let done = done.inspect_err(|error| state.judge(error));
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
        thread::Builder::new()
            .name("bulla-checkpoint".into())
            .spawn(run)
            .map_err(|error| StoreError::Unavailable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { stop })
    }
}

/// Pages of the WAL go into the database; returns how many are left. Commits and readers go on meanwhile.
fn checkpoint(connection: &Connection) -> Result<u32, StoreError> {
    let (all, done) = run(connection, "PASSIVE")?;
    Ok(all.saturating_sub(done))
}

/// The same, and the WAL is cut back to nothing if that is a matter of a moment.
fn cut(connection: &Connection, turn: &RwLock<()>) -> Result<u32, StoreError> {
    for _ in 0..GOES {
        let left = checkpoint(connection)?;
        if left <= FEW {
            let _alone = turn.write().unwrap_or_else(PoisonError::into_inner);
            run(connection, "TRUNCATE")?;
            return Ok(0);
        }
    }
    checkpoint(connection)
}

/// Pages in the WAL, and how many of them are in the database.
fn run(connection: &Connection, mode: &str) -> Result<(u32, u32), StoreError> {
    let count = |row: &Row<'_>, at| row.get::<_, i64>(at).map(|count| u32::try_from(count).unwrap_or(0));
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    Ok(connection.query_row(&sql, [], |row| Ok((count(row, 1)?, count(row, 2)?)))?)
}
