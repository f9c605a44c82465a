//! Counts the streams that ended with their session, for one audit row per session.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::ids::Sid;

/// The streams of each session that were cut off since its last audit row.
#[derive(Debug, Default)]
pub(super) struct CutStreams(Mutex<HashMap<Sid, u64>>);

impl CutStreams {
    /// Counts a stream. Returns whether it is the first one since the last audit row.
    pub(super) fn add(&self, sid: Sid) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(sid).or_default();
        *count += 1;
        *count == 1
    }

    /// The number of streams since the last audit row; the next row begins at 0.
    pub(super) fn take(&self, sid: Sid) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&sid).unwrap_or_default()
    }
}
