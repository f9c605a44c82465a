//! The live revocations in memory: one lookup, no I/O.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::metrics::histogram::Histogram;

use crate::{
    clock::Timestamp,
    ids::Sid,
    store::{Feed, Revocation, Target},
};

/// Parts of the map, each with a lock of its own, so that adding to one holds up few lookups.
const SHARDS: usize = 64;

/// Bounds of the lag that are counted, in seconds: a second is the promise.
const LAGS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Follows the store's feed; asked for every access token.
///
/// A revoked sid is refused whatever its token's age: its row is gone for good. A client's tokens are refused if
/// they were issued until the revocation. About 60 bytes of memory for each live revocation.
pub struct Denylist {
    /// Until when each is held, in milliseconds from `born`.
    sids: Box<[RwLock<HashMap<Sid, u64>>]>,
    /// Since when each is revoked, and until when that is held.
    clients: RwLock<HashMap<String, (Timestamp, u64)>>,
    len: AtomicUsize,
    /// Milliseconds from `born` to the last time the feed was known to be complete.
    fresh: AtomicU64,
    born: Instant,
    /// Seconds from a revocation to its being in force here.
    lag: Histogram,
    /// Serialises `replace` with `add`, so that nothing added meanwhile is dropped.
    changing: Mutex<()>,
}

impl fmt::Debug for Denylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denylist").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Default for Denylist {
    fn default() -> Self {
        Self {
            sids: (0..SHARDS).map(|_| RwLock::default()).collect(),
            clients: RwLock::default(),
            len: AtomicUsize::new(0),
            fresh: AtomicU64::new(0),
            born: Instant::now(),
            lag: Histogram::new(LAGS),
            changing: Mutex::new(()),
        }
    }
}

impl Denylist {
    /// Whether this session has been revoked.
    pub fn denies(&self, sid: Sid) -> bool {
        self.len.load(Ordering::Acquire) > 0
            && self.shard(sid).read().unwrap_or_else(PoisonError::into_inner).contains_key(&sid)
    }

    /// Whether a client's token, issued then, has been revoked with all of that client's.
    pub fn denies_client(&self, client: &str, issued_at: Timestamp) -> bool {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.get(client).is_some_and(|(revoked_at, _)| issued_at <= *revoked_at)
    }

    /// How many revocations are held.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long ago the feed was last known to be complete.
    pub fn age(&self) -> Duration {
        self.born.elapsed().saturating_sub(Duration::from_millis(self.fresh.load(Ordering::Acquire)))
    }

    /// How long revocations took to come into force here, in seconds by the store's time; those loaded at the start aside.
    pub fn lag(&self) -> &Histogram {
        &self.lag
    }

    /// Forgets revocations that no living token can concern any more: those that have been held for as long as they were
    /// made for. By a clock that nobody sets; what a wrong one forgot would pass again when it is set right.
    pub fn prune(&self) {
        self.forget(self.elapsed());
    }

    fn forget(&self, now: u64) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        for shard in &self.sids {
            shard.write().unwrap_or_else(PoisonError::into_inner).retain(|_, until| *until > now);
        }
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, (_, until)| *until > now);
        drop(clients);
        self.count();
    }

    fn elapsed(&self) -> u64 {
        millis(self.born.elapsed())
    }

    /// Sids are random, so any of their bytes spreads them.
    fn shard(&self, sid: Sid) -> &RwLock<HashMap<Sid, u64>> {
        &self.sids[usize::from(sid.0[15]) % SHARDS]
    }

    /// `first` is told when those were revoked that weren't known before.
    fn insert_all(&self, new: Vec<Revocation>, first: impl Fn(Timestamp)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // Lookups must not take the short cut of an empty list while these go in.
        self.len.fetch_add(new.len(), Ordering::AcqRel);
        for revocation in new {
            let revoked_at = revocation.revoked_at;
            if self.insert(revocation) {
                first(revoked_at);
            }
        }
        self.count();
    }

    /// Whether it wasn't there before.
    fn insert(&self, revocation: Revocation) -> bool {
        let Revocation { target, revoked_at, expires_at, .. } = revocation;
        let until = self.elapsed() + millis(expires_at.since(revoked_at));
        match target {
            Target::Session(sid) => {
                let mut shard = self.shard(sid).write().unwrap_or_else(PoisonError::into_inner);
                shard.insert(sid, until).is_none()
            }
            Target::Client(id) => {
                let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
                let known = clients.get(&id).map(|(at, _)| *at);
                clients.insert(id, (known.unwrap_or(revoked_at).max(revoked_at), until));
                known.is_none_or(|known| known < revoked_at)
            }
        }
    }

    fn count(&self) {
        let sids: usize =
            self.sids.iter().map(|s| s.read().unwrap_or_else(PoisonError::into_inner).len()).sum();
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner).len();
        self.len.store(sids + clients, Ordering::Release);
    }
}

impl Feed for Denylist {
    /// Adds before it removes: at no moment is a revocation missing that is in both.
    fn replace(&self, all: Vec<Revocation>) {
        self.insert_all(all.clone(), |_| ());
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let keep: std::collections::HashSet<Target> =
            all.into_iter().map(|revocation| revocation.target).collect();
        for shard in &self.sids {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|sid, _| keep.contains(&Target::Session(*sid)));
        }
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|id, _| keep.contains(&Target::Client(id.clone())));
        drop(clients);
        self.count();
    }

    fn add(&self, new: Vec<Revocation>, now: Timestamp) {
        self.insert_all(new, |revoked_at| self.lag.observe(now.since(revoked_at).as_secs_f64()));
    }

    fn fresh(&self) {
        self.fresh.store(self.elapsed(), Ordering::Release);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(seq: i64, target: Target, at: i64) -> Revocation {
        let revoked_at = Timestamp::from_millis(at);
        Revocation { seq, target, revoked_at, expires_at: revoked_at.plus(Duration::from_secs(1020)) }
    }

    #[test]
    fn a_revoked_session_is_denied_until_nothing_can_live_any_more() {
        let (list, sid, other) = (Denylist::default(), Sid([1; 16]), Sid([2; 16]));
        assert!(!list.denies(sid));
        list.add(vec![revocation(1, Target::Session(sid), 0)], Timestamp::EPOCH);
        assert!(list.denies(sid) && !list.denies(other));
        list.prune();
        list.forget(1_019_999);
        assert!(list.denies(sid), "17 minutes from when it was heard of");
        list.forget(1_020_000 + list.elapsed());
        assert!(!list.denies(sid) && list.is_empty());
    }

    #[test]
    fn a_clients_earlier_tokens_are_denied_and_later_ones_are_not() {
        let list = Denylist::default();
        list.add(vec![revocation(1, Target::Client("cron".into()), 500)], Timestamp::EPOCH);
        assert!(list.denies_client("cron", Timestamp::from_millis(500)));
        assert!(!list.denies_client("cron", Timestamp::from_millis(501)));
        assert!(!list.denies_client("other", Timestamp::from_millis(500)));
    }

    #[test]
    fn replacing_drops_what_is_gone_and_keeps_the_rest() {
        let (list, kept, gone) = (Denylist::default(), Sid([1; 16]), Sid([2; 16]));
        list.add(
            vec![revocation(1, Target::Session(kept), 0), revocation(2, Target::Session(gone), 0)],
            Timestamp::EPOCH,
        );
        list.replace(vec![revocation(1, Target::Session(kept), 0)]);
        assert!(list.denies(kept) && !list.denies(gone));
        assert_eq!(list.len(), 1);
    }
}
