//! Whether the database can still be trusted to be the one that was opened, and to keep what it acknowledges.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::store::StoreError;

/// Shared by the writer, the readers and the follower of one database.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    file: (u64, u64),
    broken: AtomicBool,
}

impl State {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { path: path.to_owned(), file: identity(path)?, broken: AtomicBool::new(false) })
    }

    /// Refuses once something was seen after which nothing may be acknowledged.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Broken);
        }
        Ok(())
    }

    /// A failed sync leaves it unknown what is on the disk: only a restart, which recovers from the WAL, makes that known again.
    pub(super) fn judge(&self, error: &StoreError) {
        if matches!(error, StoreError::Broken) {
            self.broken.store(true, Ordering::Release);
        }
    }

    /// Looks whether the file at the path is still the one that was opened.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            return self.check();
        }
        tracing::error!(database = %self.path.display(), "the database file was replaced or removed while open; restart");
        self.broken.store(true, Ordering::Release);
        Err(StoreError::Broken)
    }
}

fn identity(path: &Path) -> Result<(u64, u64), StoreError> {
    let about = std::fs::metadata(path);
    about
        .map(|m| (m.dev(), m.ino()))
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))
}
