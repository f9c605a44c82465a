//! The memory that incomplete requests of all connections can hold together.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The bytes that all connections together can hold in addition to a fixed free allowance for each connection.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    pub(crate) left: AtomicUsize,
    refused: AtomicU64,
    /// The time when the log last reported that the budget is used up.
    logged: Mutex<Option<Instant>>,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new(Self::BYTES)
    }
}

impl MemoryBudget {
    /// The size of a server's budget, in bytes.
    const BYTES: usize = 32 << 20;

    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes), refused: AtomicU64::new(0), logged: Mutex::new(None) }
    }

    /// The number of connections that were closed because the budget was used up.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, bytes: usize) -> bool {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.log();
        }
        taken.is_ok()
    }

    /// Logs, at most once a minute, that connections are closed.
    fn log(&self) {
        let Ok(mut logged) = self.logged.try_lock() else { return };
        if logged.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)) {
            *logged = Some(Instant::now());
            let refused = self.refused();
            tracing::warn!(
                refused,
                "incomplete requests use all {} MiB of memory reserved for them; connections that send more of an \
                 incomplete request are closed",
                Self::BYTES >> 20
            );
        }
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}
