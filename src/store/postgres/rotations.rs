//! Sends queued rotations to the database in batches, one statement for each batch.
//!
//! The statement locks the rows in the order of their keys, so that two batches never wait for each other. It skips a row that
//! another transaction has locked: only the caller who needs that row waits for it.

use std::{collections::HashSet, sync::Arc};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout_at,
};

use super::{pool::Pool, rows::bigint, sessions};
use crate::{
    clock::Timestamp,
    store::{SessionChange, SessionRow, StoreError, Written},
};

/// The largest number of waiting rotations. Above it, the store answers "can't tell" at once.
const QUEUE: usize = 4096;

const STATEMENT: &str = "
    WITH asked AS (
      SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
          $8::bigint[], $9::bigint[])
        WITH ORDINALITY AS a (sid, hash, generation, rotated, pardoned_gen, pardoned_at, next, now, idle, i)
    ), free AS (
      SELECT s.ctid AS place, a.i, a.next, a.now, a.idle FROM asked AS a JOIN sessions AS s ON s.sid = a.sid
      WHERE s.secret_hash = a.hash AND s.generation = a.generation AND s.rotated_at = a.rotated
        AND s.pardoned_gen IS NOT DISTINCT FROM a.pardoned_gen AND s.pardoned_at IS NOT DISTINCT FROM a.pardoned_at
      ORDER BY s.sid FOR NO KEY UPDATE OF s SKIP LOCKED
    )
    UPDATE sessions AS s SET generation = free.next, rotated_at = free.now, idle_expires_at = free.idle
    FROM free WHERE s.ctid = free.place RETURNING free.i";

struct Job {
    judged: SessionRow,
    change: SessionChange,
    answer: oneshot::Sender<Result<Written, StoreError>>,
}

/// Passes rotations to the task that sends them.
#[derive(Debug)]
pub(super) struct Rotations {
    queue: mpsc::Sender<Job>,
    pool: Arc<Pool>,
}

impl Rotations {
    /// Starts the task. A statement contains at most `most` rotations.
    pub(super) fn start(pool: Arc<Pool>, thread: &Handle, most: usize) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        thread.spawn(run(Arc::clone(&pool), jobs, most));
        Self { queue, pool }
    }

    /// Queues a rotation and waits until it is durable or known not to have happened.
    pub(super) async fn rotate(
        &self,
        judged: SessionRow,
        change: SessionChange,
    ) -> Result<Written, StoreError> {
        let (answer, answered) = oneshot::channel();
        let full = |_| StoreError::Unavailable("too many changes are waiting".into());
        self.queue.try_send(Job { judged, change, answer }).map_err(full)?;
        let query = self.pool.timed_query();
        match timeout_at(query.deadline(), answered).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) => Err(StoreError::Unavailable("the store is closing".into())),
            Err(_) => Err(StoreError::Unavailable("the database didn't answer in time".into())),
        }
    }
}

/// Runs one statement at a time. While one statement commits, the next rotations queue up, and then share one sync to disk.
async fn run(pool: Arc<Pool>, mut queue: mpsc::Receiver<Job>, most: usize) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, most).await > 0 {
        // Skips callers who have stopped waiting: they were already answered "can't tell".
        batch.retain(|job| !job.answer.is_closed());
        commit(&pool, std::mem::take(&mut batch)).await;
    }
}

async fn commit(pool: &Arc<Pool>, batch: Vec<Job>) {
    let applied = match send(pool, &batch).await {
        Ok(applied) => applied,
        Err(error) => {
            for job in batch {
                let _ = job.answer.send(Err(error.clone()));
            }
            return;
        }
    };
    let changed: HashSet<_> = applied.iter().map(|at| batch[*at].judged.sid).collect();
    for (at, job) in batch.into_iter().enumerate() {
        if changed.contains(&job.judged.sid) {
            let written = if applied.contains(&at) { Written::Applied } else { Written::Lost };
            let _ = job.answer.send(Ok(written));
        } else {
            // The row was changed, deleted, or only locked by another transaction. A separate statement waits for the lock and
            // finds out.
            let pool = Arc::clone(pool);
            tokio::spawn(async move {
                let _ = job.answer.send(sessions::change(&pool, &job.judged, job.change, None).await);
            });
        }
    }
}

/// Returns the indexes of the rotations that were applied.
async fn send(pool: &Pool, batch: &[Job]) -> Result<HashSet<usize>, StoreError> {
    let judged = || batch.iter().map(|job| &job.judged);
    let after: Vec<SessionRow> = batch.iter().map(|job| job.judged.after(job.change)).collect();
    let sids: Vec<String> = judged().map(|row| row.sid.to_string()).collect();
    let hashes: Vec<&[u8]> = judged().map(|row| row.secret_hash.0.as_slice()).collect();
    let generations: Vec<i64> = judged().map(|row| bigint(row.generation)).collect();
    let rotated: Vec<i64> = judged().map(|row| row.rotated_at.millis()).collect();
    let pardoned: Vec<Option<i64>> = judged().map(|row| row.pardoned_gen.map(bigint)).collect();
    let pardoned_at: Vec<Option<i64>> = judged().map(|row| row.pardoned_at.map(Timestamp::millis)).collect();
    let next: Vec<i64> = after.iter().map(|row| bigint(row.generation)).collect();
    let now: Vec<i64> = after.iter().map(|row| row.rotated_at.millis()).collect();
    let idle: Vec<i64> = after.iter().map(|row| row.idle_expires_at.millis()).collect();
    let rows = pool
        .rows(
            STATEMENT,
            &[&sids, &hashes, &generations, &rotated, &pardoned, &pardoned_at, &next, &now, &idle],
        )
        .await?;
    // The database numbers the rows from 1.
    let numbers = rows.iter().map(|row| row.try_get::<_, i64>(0));
    let numbers = numbers.map(|i| i.map(|i| usize::try_from(i - 1).unwrap_or(usize::MAX)));
    numbers.collect::<Result<_, _>>().map_err(|error| super::failure::Failure::from(error).into())
}
