//! The only writer: a thread that commits queued changes in one transaction (group commit).
//!
//! A change is acknowledged after its transaction has committed and its revocations have reached the feeds.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{failure::Failure, feeds::Feeds, file_state::FileState};
use crate::{
    clock::{Clock, Timestamp},
    store::StoreError,
};

/// The largest number of waiting changes. Above it, the store answers "can't tell" at once.
const QUEUE: usize = 4096;

/// Tells the caller the result of its change, once the result of the commit is known.
type Acknowledge = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Makes its change in the transaction that has begun, or receives the error if there is no transaction.
type Job = Box<dyn FnOnce(Result<(&Connection, Timestamp), StoreError>) -> Acknowledge + Send>;

/// Whether a change is one statement, which is atomic by itself, or several statements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Statements {
    One,
    Several,
}

/// Passes changes to the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: SyncSender<Job>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread. It ends when the writer is dropped.
    pub(super) fn start(
        connection: Connection,
        clock: Arc<dyn Clock>,
        feeds: Arc<Feeds>,
        state: Arc<FileState>,
        commit_lock: Arc<RwLock<()>>,
        group: usize,
    ) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::sync_channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let (group, counted) = (group.max(1), Arc::clone(&commits));
        let run = Run { connection, clock, feeds, state, commit_lock, group, commits: counted };
        thread::Builder::new().name("bulla-writer".into()).spawn(move || run.until_closed(&jobs)).map_err(
            |error| {
                StoreError::Unavailable(format!(
                    "a thread for writing the database could not be started: {error}"
                ))
            },
        )?;
        Ok(Self { queue, commits })
    }

    /// Returns how many transactions have been committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Queues a change and waits until it is durable or known not to have happened.
    pub(super) async fn write<T, F>(&self, statements: Statements, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, Timestamp) -> Result<T, Failure> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |begun| {
            let done = begun.and_then(|(connection, now)| {
                let done = match statements {
                    Statements::One => change(connection, now),
                    Statements::Several => within_savepoint(connection, || change(connection, now)),
                };
                Ok(done?)
            });
            Box::new(move |committed| drop(answer.send(committed.and(done))))
        });
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Unavailable("too many changes are waiting".into()),
            TrySendError::Disconnected(_) => StoreError::Unavailable("the writer has stopped".into()),
        })?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the writer has stopped".into())))
    }
}

fn within_savepoint<T>(
    connection: &Connection,
    change: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    run("SAVEPOINT change")?;
    match change() {
        Ok(done) => run("RELEASE change").map(|_| done).map_err(Into::into),
        Err(error) => {
            // A failure that has rolled back the whole transaction (disk full) leaves no savepoint. The commit then
            // reports the failure.
            let _ = run("ROLLBACK TO change").and_then(|_| run("RELEASE change"));
            Err(error)
        }
    }
}

struct Run {
    connection: Connection,
    clock: Arc<dyn Clock>,
    feeds: Arc<Feeds>,
    state: Arc<FileState>,
    /// A commit holds this lock for reading. Holding it for writing excludes commits.
    commit_lock: Arc<RwLock<()>>,
    group: usize,
    commits: Arc<AtomicU64>,
}

impl Run {
    fn until_closed(self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let batch: Vec<Job> =
                std::iter::once(first).chain(jobs.try_iter().take(self.group - 1)).collect();
            self.commit(batch);
        }
    }

    fn commit(&self, batch: Vec<Job>) {
        let _commit = self.commit_lock.read().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = Vec::with_capacity(batch.len());
        let outcome = self.transact(batch, &mut waiting);
        if outcome.is_err() {
            if !self.connection.is_autocommit() {
                // No change of the batch is acknowledged. If even the rollback fails, closing the connection rolls back.
                let _ = self.connection.execute_batch("ROLLBACK");
            }
        } else {
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.feeds.publish(&self.connection, self.clock.now());
        }
        for acknowledge in waiting {
            acknowledge(outcome.clone());
        }
    }

    /// Runs one transaction with all changes of the batch, or with none.
    fn transact(&self, batch: Vec<Job>, waiting: &mut Vec<Acknowledge>) -> Result<(), StoreError> {
        let begun = self.state.check().and_then(|()| {
            self.execute("BEGIN IMMEDIATE")?;
            Ok(self.clock.now())
        });
        for job in batch {
            // A change that failed for lack of space can have rolled back the whole transaction. Without this check, the next
            // change would be committed separately.
            let open = match &begun {
                Ok(_) if self.connection.is_autocommit() => Err(rolled_back()),
                Ok(now) => Ok((&self.connection, *now)),
                Err(error) => Err(error.clone()),
            };
            waiting.push(job(open));
        }
        begun?;
        if self.connection.is_autocommit() {
            return Err(rolled_back());
        }
        self.execute("COMMIT").inspect_err(|error| self.state.record_failure(error))?;
        // Changes written to a file that was replaced meanwhile are lost.
        self.state.check_files()
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        Ok(done.map(drop).map_err(Failure::from)?)
    }
}

fn rolled_back() -> StoreError {
    StoreError::Unavailable("the transaction was rolled back".into())
}
