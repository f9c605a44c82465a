//! The errors of a store, and the outcome of a conditional write.

/// The errors of a store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store can't answer at present: it is unreachable, locked, overloaded, full or failing. Nothing was acknowledged.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A sync to disk failed, or the database file was replaced. The store acknowledges nothing until a restart has recovered it.
    #[error(
        "the database files were replaced or could not be synced to the disk; restart the server to recover"
    )]
    Broken,
    /// The database can't be used by this program until an operator has acted: the schema is newer than the program or can't be
    /// migrated, the database belongs to another program, other users can write its file, or the version or the settings of SQLite
    /// or of the server are not supported. The text says which.
    #[error("{0}")]
    Schema(String),
    /// The change is refused because of existing data or a rule: for example the name is taken, looks like a taken one or is not
    /// valid, the identity is linked to another user, or the row can't be read. The text says why. Nothing was written.
    #[error("{0}")]
    Conflict(String),
    /// The last administrator can't be removed.
    #[error("the last administrator can't be removed; give another user the role `admin` first")]
    LastAdmin,
    /// The last way to log in can't be removed.
    #[error("this is the last way to sign in; set a password or link another identity first")]
    LastWayIn,
    /// The data on which the change was based, for example the password, has changed since it was read. Nothing was written.
    #[error("the row has changed since it was read; nothing was written; try again")]
    Stale,
    /// The session or the client that requested the change has ended, or has lost the role or scope that the change needs.
    /// Nothing was written.
    #[error("the session or client that requested this change has ended; nothing was written")]
    CallerEnded,
}

/// The error for a text that names no database. The message does not repeat the text, because the text may contain a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadDatabase(pub String);

/// The outcome of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The write is committed durably.
    Applied,
    /// The row has changed since it was judged. Nothing was written; the caller must read and judge again.
    Lost,
}

impl Written {
    /// Converts the number of rows that a conditional write has changed.
    pub(in crate::store) fn from_count(rows: u64) -> Self {
        if rows == 0 { Self::Lost } else { Self::Applied }
    }
}
