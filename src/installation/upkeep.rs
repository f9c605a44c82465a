//! The tasks that watch the clock and the triggers of the database and that delete expired rows.

use std::{
    sync::{Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{installation::Installation, store::StoreError};

/// The interval at which the clock is checked. The triggers of the database are checked every second time.
const WATCH: Duration = Duration::from_secs(5);
/// The interval at which the age of the revocation feed is checked for streams.
const STALENESS: Duration = Duration::from_millis(500);
/// The interval at which expired rows are deleted.
const SWEEP: Duration = Duration::from_secs(60);

/// The triggers of the database that were missing, disabled or changed at the last check.
#[derive(Debug, Default)]
pub(crate) struct TriggerCheck(Mutex<Vec<String>>);

impl TriggerCheck {
    /// Whether all triggers were unchanged and active at the last check.
    pub(crate) fn is_good(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Installation {
    /// Checks the triggers of the database. Without them a session can be ended in a database shell without being revoked. Logs a
    /// change of the result.
    pub(crate) async fn check_triggers(&self) -> Result<(), StoreError> {
        let wrong = self.sessions.parts().store.missing_triggers().await?;
        let mut known = self.triggers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != wrong {
            match wrong.is_empty() {
                true => tracing::info!("all triggers of the database are present and unchanged again"),
                false => tracing::error!(
                    triggers = %wrong.join(", "),
                    "triggers of the database are missing, disabled or changed: a session that is deleted in a \
                     database shell is not revoked; `bulla init` restores the triggers"
                ),
            }
        }
        *known = wrong;
        Ok(())
    }
}

/// Checks the clock and the triggers until the installation is dropped.
pub(crate) async fn check_periodically(installation: Weak<Installation>) {
    let mut time = ticks(WATCH);
    for turn in 0_u64.. {
        time.tick().await;
        let Some(installation) = installation.upgrade() else { return };
        if let Err(error) = installation.sessions.check_clock().await {
            tracing::debug!(%error, "the clock could not be checked");
        }
        if turn % 2 == 1
            && let Err(error) = installation.check_triggers().await
        {
            tracing::warn!(%error, "the triggers of the database could not be checked");
        }
    }
}

/// Ends the streams that wait for the end of their session when the revocation feed is too old, until the installation is dropped.
/// One task does this for all streams.
pub(crate) async fn end_stale_streams(installation: Weak<Installation>) {
    let mut time = ticks(STALENESS);
    loop {
        time.tick().await;
        let Some(installation) = installation.upgrade() else { return };
        installation.sessions.wake_if_stale();
    }
}

/// Deletes expired rows until the installation is dropped. This is a separate task, because deleting a million rows must not delay
/// the revocation of a key.
pub(crate) async fn sweep(installation: Weak<Installation>, audit_keep: Duration) {
    let mut time = ticks(SWEEP);
    // The first sweep waits for a period, because other tasks need the store at the start.
    time.reset();
    loop {
        time.tick().await;
        let Some(installation) = installation.upgrade() else { return };
        if let Err(error) = installation.sessions.sweep(audit_keep).await {
            tracing::warn!(%error, "expired rows could not be deleted");
        }
        if let Err(error) = installation.logins.record_the_unrecorded().await {
            tracing::warn!(%error, "the number of unrecorded events could not be recorded in the audit log");
        }
    }
}

/// An interval that does not catch up on missed ticks. After a delay, the next tick follows a full period later.
pub(crate) fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
