//! Whether the database can still be trusted to be the one that was opened, and to keep what it acknowledges.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::store::StoreError;

/// Shared by the writer, the readers, the follower and the checkpoints of one database.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    /// The database and its WAL: what is committed is in either. SQLite keeps both while a connection is open.
    files: [(PathBuf, Identity); 2],
    broken: AtomicBool,
    unsynced: AtomicBool,
}

/// Device and inode.
type Identity = (u64, u64);

impl State {
    /// Of a database that is open.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let file = |path: PathBuf| identity(&path).map(|identity| (path, identity));
        let files = [file(path.to_owned())?, file(wal(path)?)?];
        Ok(Self {
            path: path.to_owned(),
            files,
            broken: AtomicBool::default(),
            unsynced: AtomicBool::default(),
        })
    }

    /// Refuses once something was seen after which nothing may be acknowledged.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Broken);
        }
        Ok(())
    }

    /// Takes a failed sync to heart. It leaves unknown what is on the disk: only a restart, which recovers from the WAL, makes that known again.
    pub(super) fn judge(&self, error: &StoreError) {
        if matches!(error, StoreError::Broken) {
            self.broken.store(true, Ordering::Release);
            self.unsynced.store(true, Ordering::Release);
        }
    }

    /// Whether the disk keeps what it says it keeps, so that the WAL may still go into the database that is open. That
    /// is worth doing when the files were replaced: whatever was acknowledged is whole in the one file.
    pub(super) fn may_checkpoint(&self) -> bool {
        !self.unsynced.load(Ordering::Acquire)
    }

    /// Looks whether the files are still the ones that were opened.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        if self.files.iter().all(|(path, file)| identity(path).is_ok_and(|now| now == *file)) {
            return self.check();
        }
        if !self.broken.swap(true, Ordering::AcqRel) {
            tracing::error!(database = %self.path.display(), "the database file was replaced or removed while open; restart");
        }
        Err(StoreError::Broken)
    }
}

/// The WAL of a database: it lies beside the file itself, not beside a link to it.
pub(super) fn wal(database: &Path) -> Result<PathBuf, StoreError> {
    let mut wal = database.canonicalize().map_err(|error| unreadable(database, &error))?.into_os_string();
    wal.push("-wal");
    Ok(wal.into())
}

fn identity(path: &Path) -> Result<Identity, StoreError> {
    let about = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    Ok((about.dev(), about.ino()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
