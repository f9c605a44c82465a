//! What went wrong, and what that says about the change: rolled back for certain, or unknown.

use std::{error::Error as _, fmt};

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server or the way to it.
    Database(tokio_postgres::Error),
    /// A rule.
    Store(StoreError),
    /// A row holds what can't be read: table and column.
    Unreadable(&'static str, String),
    /// What was read has changed meanwhile: nothing is written, try again.
    Moved,
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
            Self::Store(_) | Self::Unreadable(..) | Self::Moved => None,
        }
    }

    /// The database has rolled it back because of others: nothing was done, and the next attempt may succeed.
    pub(super) fn is_worth_another_try(&self) -> bool {
        let rolled_back = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
        matches!(self, Self::Moved) || self.state().is_some_and(|state| rolled_back.contains(state))
    }

    /// A key is taken.
    pub(super) fn is_a_duplicate(&self) -> bool {
        self.state() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// A connection that must not be used again: broken, being ended by the server, or to a server that takes no writes
    /// any more.
    pub(super) fn spoils_the_connection(&self) -> bool {
        match (self, self.state()) {
            (Self::Store(_) | Self::Unreadable(..) | Self::Moved, _) => false,
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
            failure if failure.is_a_duplicate() => Self::Conflict("a row with this name exists".into()),
            Failure::Database(error) => Self::Unavailable(Said(&error).to_string()),
            Failure::Unreadable(table, column) => Self::Unavailable(format!(
                "column {column} of table {table} can't be read; `bulla doctor` names the row and what mends it"
            )),
            Failure::Moved => Self::Unavailable("the row kept changing".into()),
        }
    }
}

/// The server's message without its detail, which quotes rows; else the chain of causes.
pub(super) struct Said<'a>(pub(super) &'a tokio_postgres::Error);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.0.as_db_error() {
            let mends = match *error.code() == SqlState::INSUFFICIENT_PRIVILEGE {
                true => "; `bulla doctor` prints the GRANT that the role lacks",
                false => "",
            };
            return write!(f, "{} (SQLSTATE {}){mends}", error.message(), error.code().code());
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
