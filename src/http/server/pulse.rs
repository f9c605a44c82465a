//! Detects worker threads that no longer run their tasks.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often each worker shows that it runs.
const BEAT: Duration = Duration::from_millis(500);

/// The times at which the workers last ran.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// For each worker the milliseconds from `start` to its last beat.
    beats: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { start: Instant::now(), beats: Mutex::default() }
    }
}

impl Pulse {
    /// Watches the thread of the caller from now on. The thread must run the tasks of actix.
    pub(super) fn join(self: &Arc<Self>) {
        let beat = Arc::new(AtomicU64::new(self.now()));
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&beat));
        let mut worker = Worker { pulse: Arc::clone(self), beat };
        actix_web::rt::spawn(async move {
            loop {
                tokio::time::sleep(BEAT).await;
                worker.beat();
            }
        });
    }

    /// Whether every worker ran within this time.
    pub fn is_alive(&self, within: Duration) -> bool {
        let now = self.now();
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.iter().all(|beat| now.saturating_sub(beat.load(Ordering::Relaxed)) <= within)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A watched worker. A worker that ends, as all do at a shutdown, is no longer watched.
struct Worker {
    pulse: Arc<Pulse>,
    beat: Arc<AtomicU64>,
}

impl Worker {
    fn beat(&mut self) {
        self.beat.store(self.pulse.now(), Ordering::Relaxed);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut beats = self.pulse.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.retain(|beat| !Arc::ptr_eq(beat, &self.beat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_worker_that_is_blocked_is_noticed_until_it_runs_again() {
        let pulse = Arc::new(Pulse::default());
        pulse.join();
        assert!(pulse.is_alive(Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!pulse.is_alive(Duration::from_millis(10)), "nothing ran on this thread for 20 ms");
        let blocked = pulse.beats.lock().unwrap()[0].load(Ordering::Relaxed);
        while pulse.beats.lock().unwrap()[0].load(Ordering::Relaxed) == blocked {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(pulse.is_alive(Duration::from_secs(60)));
    }

    #[test]
    fn a_worker_that_has_ended_is_not_watched() {
        let pulse = Arc::new(Pulse::default());
        actix_web::rt::System::new().block_on(async { pulse.join() });
        assert_eq!(pulse.beats.lock().unwrap().len(), 0);
        assert!(pulse.is_alive(Duration::ZERO));
    }
}
