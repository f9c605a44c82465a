//! The result of the last check of the store, for probes.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// How long the result of one check of the store is reused. The limit is needed because a check writes durably and any client can
/// cause one.
const LOOK: Duration = Duration::from_secs(1);

/// The health of the store. At most one check runs at a time, and at most one per second. All other requests get its result.
#[derive(Debug, Default)]
pub(crate) struct StoreHealth(Mutex<Option<(Instant, bool)>>);

impl StoreHealth {
    pub(crate) async fn look(&self, healthy: impl AsyncFnOnce() -> bool) -> bool {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        match *last {
            // A request that waited for a check gets its result.
            Some((at, well)) if at >= asked || (well && at.elapsed() < LOOK) => return well,
            // After a failed check the request waits for the next check, because the fault may be over by then.
            Some((at, _)) => sleep_until(at + LOOK).await,
            None => {}
        }
        let well = healthy().await;
        *last = Some((Instant::now(), well));
        well
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_store_is_checked_once_a_second_for_any_number_of_requests() {
        let (health, looks, well) = (StoreHealth::default(), Cell::new(0), Cell::new(true));
        let ask = || {
            health.look(async || {
                looks.set(looks.get() + 1);
                // The check takes as long as a synced write.
                tokio::time::sleep(Duration::from_millis(20)).await;
                well.get()
            })
        };
        let all = |answer: bool, answers: Vec<bool>| answers.iter().all(|said| *said == answer);
        assert!(all(true, join_all((0..1000).map(|_| ask())).await));
        assert_eq!(looks.get(), 1, "all of them wait for the same look");
        for _ in 0..97 {
            tokio::time::advance(Duration::from_millis(10)).await;
            assert!(ask().await);
        }
        assert_eq!(looks.get(), 1, "an answer is good for a second");
        well.set(false);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert!(all(false, join_all((0..1000).map(|_| ask())).await));
        assert_eq!(looks.get(), 2);
        let (failed, begun) = (looks.get(), Instant::now());
        for _ in 0..5 {
            assert!(all(false, join_all((0..100).map(|_| ask())).await));
        }
        // During a fault, requests wait for the next check and cause no additional checks.
        let seconds = begun.elapsed().as_secs();
        assert!(looks.get() - failed <= seconds + 1, "{} looks in {seconds} s", looks.get() - failed);
        well.set(true);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(ask().await, "it is seen that a fault is over");
    }
}
