//! Checkpoints from a connection of their own: the WAL goes back into the database without a COMMIT waiting for it.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use super::open;
use crate::store::StoreError;

/// How often the size of the WAL is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// From this size on it is checkpointed.
const WAL_BYTES: u64 = 4 << 20;
/// From this size on it is cut back as well, as soon as no reader holds it.
const WAL_TOO_LONG: u64 = 64 << 20;

/// Stops the thread when dropped; a last checkpoint leaves a short WAL behind.
#[derive(Debug)]
pub(super) struct Checkpointer {
    #[allow(dead_code, reason = "held for its Drop, which the thread sees")]
    stop: mpsc::Sender<()>,
}

impl Checkpointer {
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let connection = open::connect(path)?;
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        let wal = PathBuf::from(wal);
        let (stop, stopped) = mpsc::channel();
        let run = move || loop {
            let end = stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout);
            let size = std::fs::metadata(&wal).map_or(0, |about| about.len());
            let mode = match size {
                _ if end => "TRUNCATE",
                WAL_TOO_LONG.. => "TRUNCATE",
                WAL_BYTES.. => "PASSIVE",
                _ => continue,
            };
            let done = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
            if let Err(error) = done {
                tracing::warn!(%error, "a checkpoint failed; the WAL grows until one succeeds");
            }
            if end {
                return;
            }
        };
        thread::Builder::new()
            .name("bulla-checkpoint".into())
            .spawn(run)
            .map_err(|error| StoreError::Unavailable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { stop })
    }
}
