//! The failures of an attempt, and whether its change was rolled back or its fate is unknown.

use std::{error::Error as _, fmt};

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// The reason why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server or the connection to it failed.
    Database(tokio_postgres::Error),
    /// A rule of the store refuses the change.
    Store(StoreError),
    /// A row contains a value that can't be read: table and column.
    Unreadable(&'static str, String),
    /// The data that was read has changed meanwhile. Nothing was written; the attempt can be repeated.
    Stale,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            Self::Store(_) | Self::Unreadable(..) | Self::Stale => None,
        }
    }

    /// Whether the database has rolled the transaction back because of concurrent ones. Nothing was written, and the next attempt
    /// may succeed.
    pub(super) fn can_be_repeated(&self) -> bool {
        let rolled_back = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
        matches!(self, Self::Stale) || self.state().is_some_and(|state| rolled_back.contains(state))
    }

    /// Whether the failure is a violation of a unique key.
    pub(super) fn is_duplicate_key(&self) -> bool {
        self.state() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// Whether the connection must not be used again: it is broken, the server is closing it, or the server no longer accepts
    /// writes.
    pub(super) fn breaks_connection(&self) -> bool {
        match (self, self.state()) {
            (Self::Store(_) | Self::Unreadable(..) | Self::Stale, _) => false,
            (_, Some(state)) => {
                *state == SqlState::READ_ONLY_SQL_TRANSACTION
                    || ["08", "57P", "0A000", "26000"].iter().any(|class| state.code().starts_with(class))
            }
            (_, None) => true,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => error,
            failure if failure.is_duplicate_key() => {
                Self::Conflict("a row with this name exists already".into())
            }
            Failure::Database(error) => Self::Unavailable(ServerMessage(&error).to_string()),
            Failure::Unreadable(table, column) => Self::Unavailable(format!(
                "column {column} of table {table} can't be read; `bulla doctor` names the row and the statement that repairs it"
            )),
            Failure::Stale => Self::Unavailable("other transactions changed the row repeatedly".into()),
        }
    }
}

/// Displays the server's message without its detail, because the detail quotes rows. If there is no such message, displays the
/// chain of causes.
pub(super) struct ServerMessage<'a>(pub(super) &'a tokio_postgres::Error);

impl fmt::Display for ServerMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.0.as_db_error() {
            let remedy = match *error.code() == SqlState::INSUFFICIENT_PRIVILEGE {
                true => "; `bulla doctor` prints the GRANT statement that the role lacks",
                false => "",
            };
            return write!(f, "{} (SQLSTATE {}){remedy}", error.message(), error.code().code());
        }
        self.0.fmt(f)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
