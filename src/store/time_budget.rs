//! Limits the time that a request waits for a store. The limit holds for all queries of the request together, not for each query.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// The time after which a query fails with "can't tell": less than a second, everything included.
pub(super) const REQUEST_BUDGET: Duration = Duration::from_millis(900);

/// The time limit of a query of the command line. A person who waits for a command prefers a late answer to an error on a slow link
/// or a busy machine.
pub(super) const COMMAND_QUERY_LIMIT: Duration = Duration::from_secs(5);

/// The time limit of operations on the data of all users, such as ending all sessions or loading all revocations.
pub(super) const LONG_TIME_LIMIT: Duration = Duration::from_secs(60);

tokio::task_local! {
    /// The rest of the time limit.
    static LEFT: Cell<Duration>;
}

/// Runs a future with one time limit for all its store queries together. Time between the queries does not count. Inside another
/// such future, that future's limit applies.
pub(crate) async fn with_time_budget<T>(queries: impl Future<Output = T>) -> T {
    match LEFT.try_with(|_| ()) {
        Ok(()) => queries.await,
        Err(_) => LEFT.scope(Cell::new(REQUEST_BUDGET), queries).await,
    }
}

/// A running query. Its duration is subtracted from the limit when it is dropped.
#[derive(Debug)]
pub(super) struct TimedQuery {
    started: Instant,
    budget: Duration,
}

impl TimedQuery {
    /// Starts a query. Outside of a request its time limit is `limit`.
    pub(super) fn start(limit: Duration) -> Self {
        Self { started: Instant::now(), budget: LEFT.try_with(Cell::get).unwrap_or(limit) }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.started + self.budget
    }
}

impl Drop for TimedQuery {
    fn drop(&mut self) {
        // Outside of `with_time_budget` there is no shared limit to reduce.
        let _ = LEFT.try_with(|left| left.set(left.get().saturating_sub(self.started.elapsed())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn query(takes: u64) -> Duration {
        let query = TimedQuery::start(REQUEST_BUDGET);
        tokio::time::sleep(Duration::from_millis(takes)).await;
        query.budget
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_queries_does_not_count_towards_the_shared_limit() {
        let millis = Duration::from_millis;
        with_time_budget(async {
            assert_eq!(query(300).await, millis(900));
            tokio::time::sleep(millis(5000)).await;
            assert_eq!(with_time_budget(query(500)).await, millis(600));
            assert_eq!(query(500).await, millis(100));
            assert_eq!(query(0).await, millis(0));
        })
        .await;
        assert_eq!(query(500).await, millis(900), "each query outside of a request has the whole budget");
        assert_eq!(query(0).await, millis(900));
    }
}
