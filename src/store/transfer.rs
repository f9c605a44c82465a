//! Moves an installation from SQLite to PostgreSQL. The rows are read as plain values, table by table, from one snapshot, and are
//! written in one transaction.

use std::path::Path;

use tokio::sync::mpsc;

use super::{
    Actor, StoreError,
    postgres::{Import, ImportTarget, PostgresUrl},
    sqlite,
    transfer_stream::{Next, Source, TABLES},
};
use crate::clock::Timestamp;

/// The outcome of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOutcome {
    /// The number of moved rows of each table. The new store contains no other rows.
    Transferred(Vec<(&'static str, u64)>),
    /// The same rows were already moved at this time. Nothing was changed.
    AlreadyTransferred(Timestamp),
}

/// Moves all data from a SQLite file to an empty PostgreSQL database, completely or not at all.
///
/// The move can be stopped at any moment and run again. If the database already contains the data, a fingerprint of the moved
/// rows shows this, and nothing is changed. Ids and numbers stay the same, no number is used twice, and no session ends. `now` is
/// the old store's time: rows that have expired by then are not moved. `actor` is the person who moves the data, for the audit.
///
/// # Errors
///
/// `Conflict` if the target contains other data, or if the source has changed since an earlier move; `Unavailable` or `Schema` if
/// one of the databases can't be used.
pub async fn transfer(
    from: &Path,
    to: &PostgresUrl,
    now: Timestamp,
    actor: &Actor,
) -> Result<TransferOutcome, StoreError> {
    let import = Import::start(to).await?;
    let target = import.target().await?;
    let mut source = read(from, now);
    match target {
        ImportTarget::Empty => import.take(source, from, actor).await.map(TransferOutcome::Transferred),
        ImportTarget::Transferred { at, fingerprint } => {
            for table in &TABLES {
                while let Next::Rows(_) = source.next(table).await? {}
            }
            let (_, now) = source.end().await?;
            if now == fingerprint {
                return Ok(TransferOutcome::AlreadyTransferred(at));
            }
            Err(StoreError::Conflict(format!(
                "{} has changed since it was moved to {to} at {at}; if no server has used {to} since then, drop that \
                 database, create it again and run this command again",
                from.display()
            )))
        }
        ImportTarget::Taken(tables) => Err(StoreError::Conflict(format!(
            "{to} contains other data already ({}); name an empty database with --to",
            tables.join(", ")
        ))),
    }
}

/// Reads a SQLite file in a separate thread, at most as fast as the rows are consumed.
fn read(path: &Path, now: Timestamp) -> Source {
    let (send, parts) = mpsc::channel(4);
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let gone = |_| StoreError::Unavailable("the import has stopped".into());
        let read = sqlite::export(&path, now, &mut |part| send.blocking_send(Ok(part)).map_err(gone));
        read.or_else(|error| send.blocking_send(Err(error)))
    });
    Source::new(parts)
}
