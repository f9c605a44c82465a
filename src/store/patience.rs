//! How long somebody waits for a store: for all that a request asks together, not as long again for each question.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// How long a question may take before the answer is "cannot tell": under a second, everything included.
pub(super) const PATIENCE: Duration = Duration::from_millis(900);

tokio::task_local! {
    /// What is left of it.
    static LEFT: Cell<Duration>;
}

/// All that this future asks of a store has the patience of one question together; what it does in between takes nothing
/// of that. Within another one it has that one's.
pub(crate) async fn patiently<T>(asking: impl Future<Output = T>) -> T {
    match LEFT.try_with(|_| ()) {
        Ok(()) => asking.await,
        Err(_) => LEFT.scope(Cell::new(PATIENCE), asking).await,
    }
}

/// A question under way; what it took is known when it is dropped.
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
        // Outside of any such future nobody counts.
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
