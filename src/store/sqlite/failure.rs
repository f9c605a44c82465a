//! The failures of reads and changes inside this room. They become a [`StoreError`] where the result leaves the room, so that the
//! types of `rusqlite` are not part of the public API.

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// The reason why a read or a change failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite failed.
    Database(rusqlite::Error),
    /// A rule of the store refuses the change, or the store has failed before.
    Store(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    /// SQLite's error messages contain no values of rows.
    fn from(failure: Failure) -> Self {
        let error = match failure {
            Failure::Store(error) => return error,
            Failure::Database(error) => error,
        };
        let extended = error.sqlite_error().map(|e| e.extended_code);
        let sync = [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC];
        if extended.is_some_and(|e| sync.contains(&e)) {
            tracing::error!(%error, "the database could not be synced to the disk");
            return Self::Broken;
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => {
                Self::Conflict("a row with this name exists already".into())
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Unavailable("another process has locked the database".into())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
