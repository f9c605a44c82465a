//! Follows the keys directory: puts a changed ring in force, and reports in the database which ring this node has in force.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    installation::{Installation, upkeep::ticks},
    keyring::{KeyDirectory, Reload, Ring},
    secret::random,
    session::Tokens,
};

/// The interval at which the keys directory is read. A change must be in force within 5 s.
const RING_POLL: Duration = Duration::from_secs(1);
/// The interval at which a node reports that it is running. A change of its ring is reported at once.
const REPORT: Duration = Duration::from_secs(3);

/// The keys directory, and whether its ring is in force.
pub(crate) struct RingFollower {
    directory: KeyDirectory,
    good: AtomicBool,
    reloading: Mutex<()>,
}

impl RingFollower {
    /// Begins with a ring that was just loaded from `directory`.
    pub(crate) fn new(directory: KeyDirectory) -> Self {
        Self { directory, good: AtomicBool::new(true), reloading: Mutex::new(()) }
    }

    /// Whether the ring in force equals the one in the directory.
    pub(crate) fn is_good(&self) -> bool {
        self.good.load(Ordering::Relaxed)
    }

    /// Puts a changed ring in force. Returns it if it was loaded completely.
    fn reload(&self, tokens: &Tokens) -> Option<Arc<Ring>> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let good = match self.directory.reload(&tokens.ring()) {
            Reload::Unchanged => true,
            Reload::Changed(ring) => {
                tracing::info!(generation = ring.generation, "key ring reloaded");
                tokens.install(ring);
                self.good.store(true, Ordering::Relaxed);
                return Some(tokens.ring());
            }
            Reload::Degraded(ring, error) => {
                if self.is_good() {
                    tracing::error!(%error, "the key ring can't be loaded; the last good key ring stays in force");
                }
                tokens.install(ring);
                false
            }
        };
        self.good.store(good, Ordering::Relaxed);
        None
    }
}

impl Installation {
    /// Reads the keys directory now. If the ring can't be loaded, the last good one stays in force, without the keys that a newer
    /// `ring.json` revokes, and an error is logged.
    pub(crate) async fn reload_ring(self: &Arc<Self>) {
        let installation = Arc::clone(self);
        let reload = move || installation.ring.reload(&installation.sessions.parts().tokens);
        let Ok(Some(ring)) = tokio::task::spawn_blocking(reload).await else { return };
        let store = &self.sessions.parts().store;
        if let Err(error) = store.record_ring(ring.generation, ring.fingerprint).await {
            tracing::warn!(%error, "the generation of the key ring could not be recorded in the database");
        }
    }
}

/// Follows the ring and reports that this node is running, until the installation is dropped.
pub(crate) async fn follow(installation: Weak<Installation>) {
    let mut poll = ticks(RING_POLL);
    let name = node_name();
    let mut reported: Option<(Instant, u64)> = None;
    loop {
        poll.tick().await;
        let Some(installation) = installation.upgrade() else { return };
        installation.reload_ring().await;
        let parts = installation.sessions.parts();
        let generation = parts.tokens.ring().generation;
        if reported.is_none_or(|(at, of)| at.elapsed() >= REPORT || of != generation) {
            reported = Some((Instant::now(), generation));
            let report = parts.store.report_node(&name, generation, env!("CARGO_PKG_VERSION"));
            if let Err(error) = report.await {
                tracing::warn!(%error, "the generation of the key ring in force could not be reported to the database");
            }
        }
    }
}

/// The name of this process among the processes that share its database.
fn node_name() -> String {
    let mut tail = [0; 3];
    // Without randomness only the process id makes the name unique.
    let _ = random(&mut tail);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let tail: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{host}-{}-{tail}", std::process::id())
}
