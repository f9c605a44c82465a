//! Watches whether the open database is still the same file, and whether its changes reach the disk.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::store::StoreError;

/// The state of a database, shared by its writer, readers, follower and checkpoints.
#[derive(Debug)]
pub(super) struct FileState {
    path: PathBuf,
    /// The database and its write-ahead log (WAL). Committed data is in one of the two. SQLite keeps both files while a connection
    /// is open.
    files: [(PathBuf, Identity); 2],
    broken: AtomicBool,
    unsynced: AtomicBool,
}

/// Device and inode.
type Identity = (u64, u64);

impl FileState {
    /// Records the state of an open database.
    pub(super) fn record(path: &Path) -> Result<Self, StoreError> {
        let file = |path: PathBuf| identity(&path).map(|identity| (path, identity));
        let files = [file(path.to_owned())?, file(wal(path)?)?];
        Ok(Self {
            path: path.to_owned(),
            files,
            broken: AtomicBool::default(),
            unsynced: AtomicBool::default(),
        })
    }

    /// Fails if the files were replaced or a sync failed. From then on no change may be acknowledged.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Broken);
        }
        Ok(())
    }

    /// Records a failed sync. After it, the contents of the disk are unknown. Only a restart, which recovers from the WAL, makes
    /// them known again.
    pub(super) fn record_failure(&self, error: &StoreError) {
        if matches!(error, StoreError::Broken) {
            self.broken.store(true, Ordering::Release);
            self.unsynced.store(true, Ordering::Release);
        }
    }

    /// Whether the disk is reliable, so that the WAL may still be copied into the open database. This is useful if the files were
    /// replaced: the old file then contains all acknowledged changes.
    pub(super) fn may_checkpoint(&self) -> bool {
        !self.unsynced.load(Ordering::Acquire)
    }

    /// Checks that the files are still the ones that were opened.
    pub(super) fn check_files(&self) -> Result<(), StoreError> {
        if self.files.iter().all(|(path, file)| identity(path).is_ok_and(|now| now == *file)) {
            return self.check();
        }
        if !self.broken.swap(true, Ordering::AcqRel) {
            tracing::error!(database = %self.path.display(), "the database file was replaced or removed while it was \
                open; restart the server");
        }
        Err(StoreError::Broken)
    }
}

/// Returns the path of a database's WAL. It lies next to the file itself, not next to a link to it.
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
