//! Limits how often a change of a session's address or agent is recorded.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    clock::Timestamp,
    ids::Sid,
    store::{Device, SessionRow},
};

/// The number of changes of one session that are recorded within [`SPAN`]. Each change adds a row to the audit, and the holder of
/// one refresh token could send a different agent with each request.
const MOST: u32 = 4;
const SPAN: Duration = Duration::from_secs(60);

/// The number of sessions that are remembered.
const SESSIONS: usize = 16_384;

/// The changes that were recorded recently.
#[derive(Debug, Default)]
pub(super) struct Moves {
    recent: Mutex<HashMap<Sid, Recent>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Recent {
    since: Timestamp,
    count: u32,
    /// Hash of the device that was last recorded. If sessions are bound to their agent, the row keeps the old agent; this field
    /// ensures that a change is recorded only once.
    last: u64,
}

impl Moves {
    /// Whether a renewal comes from another address or agent than the row has, and may be recorded. An unknown address does not
    /// count as another one.
    pub(super) fn is_new(&self, row: &SessionRow, device: &Device, now: Timestamp) -> bool {
        let was = &row.device;
        let moved = was.user_agent != device.user_agent || (was.ip != device.ip && !device.ip.is_empty());
        moved && self.may_record(row.sid, self.hasher.hash_one((&device.user_agent, &device.ip)), now)
    }

    fn may_record(&self, sid: Sid, device: u64, now: Timestamp) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |since: Timestamp| now.since(since) >= SPAN;
        if recent.len() >= SESSIONS && !recent.contains_key(&sid) {
            recent.retain(|_, known| !is_over(known.since));
            if recent.len() >= SESSIONS {
                return false;
            }
        }
        let known = recent.entry(sid).or_insert(Recent { since: now, count: 0, last: !device });
        if is_over(known.since) {
            (known.since, known.count) = (now, 0);
        }
        if known.last == device || known.count >= MOST {
            return false;
        }
        (known.count, known.last) = (known.count + 1, device);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000 + seconds * 1000)
    }

    #[test]
    fn changes_of_one_session_are_recorded_a_few_times_a_minute() {
        let moves = Moves::default();
        let recorded =
            (0..600).filter(|second| moves.may_record(Sid([1; 16]), *second as u64, at(*second))).count();
        assert_eq!(recorded, 40);
        assert!(moves.may_record(Sid([2; 16]), 7, at(600)), "each session has its own count");
        assert!(!moves.may_record(Sid([2; 16]), 7, at(900)), "a device is recorded once in a row");
    }

    #[test]
    fn the_number_of_remembered_sessions_is_bounded_and_they_expire_after_a_minute() {
        let moves = Moves::default();
        let sid = |n: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            Sid(bytes)
        };
        let most = SESSIONS as u32;
        assert!((0..most).all(|n| moves.may_record(sid(n), 1, at(0))));
        assert!(!moves.may_record(sid(most), 1, at(59)) && moves.may_record(sid(0), 2, at(59)));
        assert!(moves.may_record(sid(most), 1, at(60)));
        assert!(moves.recent.lock().unwrap().len() <= SESSIONS);
    }
}
