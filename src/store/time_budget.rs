//! Limits the time that a request waits for a store. The limit holds for all queries of the request together, not for each query.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// The time after which a query fails with "can't tell": less than a second, everything included.
pub(super) const PATIENCE: Duration = Duration::from_millis(900);

/// The time limit of operations that concern all users.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(60);

tokio::task_local! {
    /// The rest of the time limit.
    static LEFT: Cell<Duration>;
}

/// Runs a future with one time limit for all its store queries together. Time between the queries does not count. Inside another
/// such future, that future's limit applies.
pub(crate) async fn patiently<T>(asking: impl Future<Output = T>) -> T {
    match LEFT.try_with(|_| ()) {
        Ok(()) => asking.await,
        Err(_) => LEFT.scope(Cell::new(PATIENCE), asking).await,
    }
}

/// A running query. Its duration is subtracted from the limit when it is dropped.
#[derive(Debug)]
pub(super) struct Question {
    asked: Instant,
    patience: Duration,
}

impl Question {
    pub(super) fn ask() -> Self {
        Self { asked: Instant::now(), patience: LEFT.try_with(Cell::get).unwrap_or(PATIENCE) }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.asked + self.patience
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        // Outside of `patiently` there is no shared limit to reduce.
        let _ = LEFT.try_with(|left| left.set(left.get().saturating_sub(self.asked.elapsed())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn question(takes: u64) -> Duration {
        let question = Question::ask();
        tokio::time::sleep(Duration::from_millis(takes)).await;
        question.patience
    }

    #[tokio::test(start_paused = true)]
    async fn questions_share_a_patience_and_what_is_done_in_between_takes_none() {
        let millis = Duration::from_millis;
        patiently(async {
            assert_eq!(question(300).await, millis(900));
            tokio::time::sleep(millis(5000)).await;
            assert_eq!(patiently(question(500)).await, millis(600));
            assert_eq!(question(500).await, millis(100));
            assert_eq!(question(0).await, millis(0));
        })
        .await;
        assert_eq!(question(500).await, millis(900), "on its own each has all of it");
        assert_eq!(question(0).await, millis(900));
    }
}
