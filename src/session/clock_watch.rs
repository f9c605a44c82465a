//! Watches the store's clock beside the boot clock: the edge around the pure rule of [`crate::store::leap`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    clock::since_boot,
    store::{
        ClockMark, Leap, Store, StoreError, Written,
        leap::{Look, look},
    },
};

/// How old the mark in the store may become. A change is written at once.
const WRITE: Duration = Duration::from_secs(60);

/// What this process has seen of the clock.
#[derive(Debug, Default)]
pub(super) struct ClockWatch(Mutex<Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    last: Option<Look>,
    leap: Option<Leap>,
}

impl ClockWatch {
    pub(super) fn leap(&self) -> Option<Leap> {
        self.seen().leap
    }

    fn seen(&self) -> Seen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads both clocks, judges, and remembers: here, and in the store where that is new or the mark is old.
    pub(super) async fn look(&self, store: &dyn Store) -> Result<Option<Leap>, StoreError> {
        let before = since_boot();
        let (mark, now) = store.clock_mark().await?;
        let Seen { last, leap: known } = self.seen();
        // The boot clock before the question for the time of the first look, after it for the second: never too short.
        let new = look(mark, last, Look { now, boot: since_boot() });
        let old = |mark: ClockMark| now.since(mark.seen) >= WRITE || now < mark.seen;
        let stale = mark.is_none_or(|mark| mark.leap != new.leap || old(mark));
        let written = !stale || store.note_clock(mark, new).await? == Written::Applied;
        // Another server was faster: the next look judges anew, from the same time.
        let last = if written { Some(Look { now, boot: before }) } else { last };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seen { last, leap: new.leap };
        say(known, new.leap);
        Ok(new.leap)
    }
}

fn say(known: Option<Leap>, found: Option<Leap>) {
    match (known, found) {
        (None, Some(leap)) => tracing::warn!(before = %leap.before, since = %leap.since, "{leap}"),
        (Some(known), Some(leap)) if known != leap => {
            tracing::warn!(before = %leap.before, since = %leap.since, "{leap}");
        }
        (Some(_), None) => tracing::info!("the clock is trusted: what has expired is deleted again"),
        _ => {}
    }
}
