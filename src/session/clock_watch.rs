//! Compares the store's clock with the boot clock. The rule itself is the pure function in [`crate::store::clock_leap`]; this file
//! does its I/O.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    clock::since_boot,
    store::{
        ClockLeap, ClockMark, Store, StoreError, Written,
        clock_leap::{ClockReading, detect_leap},
    },
};

/// The maximum age of the mark in the store. A mark with a new result is written at once.
const WRITE: Duration = Duration::from_secs(60);

/// The last look at the clocks, and the leap that it found.
#[derive(Debug, Default)]
pub(super) struct ClockWatch(Mutex<Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    last: Option<ClockReading>,
    leap: Option<ClockLeap>,
}

impl ClockWatch {
    pub(super) fn leap(&self) -> Option<ClockLeap> {
        self.seen().leap
    }

    fn seen(&self) -> Seen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads both clocks, judges them and remembers the result in this process. Also writes it to the store if the result is new or
    /// the stored mark is old.
    pub(super) async fn look(&self, store: &dyn Store) -> Result<Option<ClockLeap>, StoreError> {
        let before = since_boot();
        let (mark, now) = store.clock_mark().await?;
        let Seen { last, leap: known } = self.seen();
        // The boot clock is read twice: before the store is asked, for use as the earlier reading, and after it, as the later
        // reading. So the time between two looks is never measured too short.
        let new = detect_leap(mark, last, ClockReading { now, boot: since_boot() });
        let old = |mark: ClockMark| now.since(mark.seen) >= WRITE || now < mark.seen;
        let stale = mark.is_none_or(|mark| mark.leap != new.leap || old(mark));
        let written = !stale || store.write_clock_mark(mark, new).await? == Written::Applied;
        // If another server has written first, the next look judges again from the same earlier reading.
        let last = if written { Some(ClockReading { now, boot: before }) } else { last };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seen { last, leap: new.leap };
        log_change(known, new.leap);
        Ok(new.leap)
    }
}

fn log_change(known: Option<ClockLeap>, found: Option<ClockLeap>) {
    match (known, found) {
        (None, Some(leap)) => tracing::warn!(before = %leap.before, since = %leap.since, "{leap}"),
        (Some(known), Some(leap)) if known != leap => {
            tracing::warn!(before = %leap.before, since = %leap.since, "{leap}");
        }
        (Some(_), None) => tracing::info!("the clock is trusted again, so expired rows are deleted again"),
        _ => {}
    }
}
