//! The readers: a few threads with a connection each, so that a slow disk does not block the event loop.
//!
//! All readers take from one queue. Under load, no reader sleeps between two reads, and each read needs at most one wake-up. A
//! connection pool would need two: one for the waiting caller, and one for the blocking thread.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{failure::Failure, file_state::FileState, open};
use crate::store::StoreError;

/// The number of reader threads.
const CONNECTIONS: usize = 3;
/// The largest number of waiting reads. Above it, the store answers "can't tell" at once.
const QUEUE: usize = 4096;
/// How long a read waits for its turn before the answer is "can't tell".
const MAX_WAIT: Duration = Duration::from_millis(700);

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The reader threads. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Arc<Queue>,
    state: Arc<FileState>,
}

impl Readers {
    pub(super) fn open(path: &Path, state: Arc<FileState>) -> Result<Self, StoreError> {
        let readers = Self { queue: Arc::default(), state };
        for _ in 0..CONNECTIONS {
            let connection = open::connect(path)?;
            connection.execute_batch("PRAGMA query_only = ON").map_err(Failure::from)?;
            let queue = Arc::clone(&readers.queue);
            let run = move || {
                while let Some(job) = queue.next() {
                    job(&connection);
                }
            };
            thread::Builder::new().name("bulla-reader".into()).spawn(run).map_err(|error| {
                StoreError::Unavailable(format!(
                    "a thread for reading the database could not be \
                    started: {error}"
                ))
            })?;
        }
        Ok(readers)
    }

    /// Runs one read on a reader thread.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.state.check()?;
        let (answer, mut answered) = oneshot::channel();
        // The first to set this flag decides: the thread that begins the read, or the caller whose time limit has passed.
        let decided = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&decided);
        let exhausted = || StoreError::Unavailable("too many reads are waiting".into());
        self.queue
            .push(Box::new(move |connection| {
                if !answer.is_closed() && !begun.swap(true, Ordering::AcqRel) {
                    let _ = answer.send(read(connection).map_err(StoreError::from));
                }
            }))
            .map_err(|_| exhausted())?;
        let answer = match tokio::time::timeout(MAX_WAIT, &mut answered).await {
            Ok(answer) => answer,
            Err(_) if !decided.swap(true, Ordering::AcqRel) => return Err(exhausted()),
            Err(_) => answered.await,
        };
        answer.unwrap_or_else(|_| Err(StoreError::Unavailable("a read was interrupted".into())))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The waiting reads, in the order of their arrival.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// The number of threads that wait for a job.
    idle: usize,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Queue {
    /// Adds a job. Returns it if too many are waiting.
    fn push(&self, job: Job) -> Result<(), Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.jobs.len() >= QUEUE {
            return Err(job);
        }
        waiting.jobs.push_back(job);
        let somebody_sleeps = waiting.idle > 0;
        drop(waiting);
        if somebody_sleeps {
            self.more.notify_one();
        }
        Ok(())
    }

    /// Waits for the next job. `None` once the queue is closed.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while !waiting.closed {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            waiting.idle += 1;
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
        None
    }

    fn close(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.closed = true;
        waiting.jobs.clear();
        drop(waiting);
        self.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_caller_that_stops_waiting_leaves_the_connection_usable() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("bulla.db");
        let _open = open::open_and_migrate(&path, false).unwrap();
        let readers = Arc::new(Readers::open(&path, Arc::new(FileState::record(&path).unwrap())).unwrap());
        for _ in 0..CONNECTIONS {
            let (readers, (started, starts)) = (Arc::clone(&readers), tokio::sync::oneshot::channel());
            let read = tokio::spawn(async move {
                let slow = move |_: &Connection| {
                    let _ = started.send(());
                    std::thread::sleep(Duration::from_millis(100));
                    Ok(())
                };
                readers.read(slow).await
            });
            starts.await.unwrap();
            read.abort();
        }
        assert_eq!(readers.read(|_| Ok(7)).await.unwrap(), 7);
    }
    #[tokio::test]
    async fn a_waiting_read_times_out_and_a_read_that_has_begun_does_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("bulla.db");
        let _open = open::open_and_migrate(&path, false).unwrap();
        let readers = Arc::new(Readers::open(&path, Arc::new(FileState::record(&path).unwrap())).unwrap());
        let mut slow = Vec::new();
        for n in 0..CONNECTIONS {
            let (readers, (started, starts)) = (Arc::clone(&readers), oneshot::channel());
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            let read = tokio::spawn(async move {
                let held = move |_: &Connection| {
                    let _ = (started.send(()), wait.recv());
                    Ok(n)
                };
                readers.read(held).await
            });
            starts.await.unwrap();
            slow.push((read, go_on));
        }
        // From here on the clock is paused, so the time limit of a waiting read passes at once.
        tokio::time::pause();
        let ran = Arc::new(AtomicBool::new(false));
        let run = Arc::clone(&ran);
        let late = readers.read(move |_| Ok(run.swap(true, Ordering::SeqCst))).await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))));
        for (n, (read, go_on)) in slow.into_iter().enumerate() {
            go_on.send(()).unwrap();
            assert_eq!(read.await.unwrap().unwrap(), n);
        }
        tokio::time::resume();
        readers.read(|_| Ok(())).await.unwrap();
        assert!(!ran.load(Ordering::SeqCst), "what was given up is not done later");
    }
}
