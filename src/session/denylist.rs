//! Holds the live revocations in memory. A lookup does no I/O.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::metrics::histogram::Histogram;

use crate::{
    clock::Timestamp,
    ids::Sid,
    session::watch::Waiting,
    store::{Feed, Revocation, RevocationTarget},
};

/// Number of parts of the map. Each part has its own lock, so that an insertion delays few lookups.
const SHARDS: usize = 64;

/// The upper bounds of the buckets of the lag histogram, in seconds. The promised bound is one second.
const LAGS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The revocations in force. The store's feed updates it, and every access token is checked against it.
///
/// A revoked sid is refused at any age of its token, because its row is gone for good. A token of a client is refused if it was
/// issued at or before the revocation of the client's tokens. Each live revocation takes about 60 bytes of memory.
pub struct Denylist {
    /// The time until which each revocation is held, in milliseconds from `born`.
    sids: Box<[RwLock<HashMap<Sid, u64>>]>,
    /// The time of the revocation for each client, and the time until which it is held.
    clients: RwLock<HashMap<String, (Timestamp, u64)>>,
    len: AtomicUsize,
    /// Milliseconds from `born` to the last time the feed was known to be complete.
    fresh: AtomicU64,
    born: Instant,
    /// Seconds between a revocation and its taking effect in this process.
    lag: Histogram,
    /// Serialises `replace` with `add`, so that no revocation that is added meanwhile is lost.
    changing: Mutex<()>,
    /// The futures that wait for the end of their session.
    waiting: Arc<Waiting>,
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
            waiting: Arc::default(),
        }
    }
}

impl Denylist {
    /// Whether this session has been revoked.
    pub fn denies(&self, sid: Sid) -> bool {
        self.len.load(Ordering::Acquire) > 0
            && self.shard(sid).read().unwrap_or_else(PoisonError::into_inner).contains_key(&sid)
    }

    /// Whether a client's token that was issued at `issued_at` has been revoked together with all tokens of that client.
    pub fn denies_client(&self, client: &str, issued_at: Timestamp) -> bool {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.get(client).is_some_and(|(revoked_at, _)| issued_at <= *revoked_at)
    }

    /// The number of revocations that are held.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether no revocation is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long ago the feed was last known to be complete.
    pub fn age(&self) -> Duration {
        self.born.elapsed().saturating_sub(Duration::from_millis(self.fresh.load(Ordering::Acquire)))
    }

    /// The time that revocations took to come into force here, in seconds by the store's clock. Does not count the revocations that
    /// were loaded at the start.
    pub fn lag(&self) -> &Histogram {
        &self.lag
    }

    /// The futures that wait for the end of their session. A revocation wakes them.
    pub(super) fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// Removes revocations that have been held for their full time: no valid token can be affected by them any more. Time is
    /// measured with a monotonic clock. If a wrong wall clock decided, tokens would be accepted again after it is corrected.
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

    /// Sids are random, so any of their bytes distributes them evenly.
    fn shard(&self, sid: Sid) -> &RwLock<HashMap<Sid, u64>> {
        &self.sids[usize::from(sid.0[15]) % SHARDS]
    }

    /// Calls `first` with the time of each revocation that was not known before.
    fn insert_all(&self, new: Vec<Revocation>, first: impl Fn(Timestamp)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // A lookup takes a short cut if the list is empty. The length is raised first, so that no lookup takes it during the
        // insertion.
        self.len.fetch_add(new.len(), Ordering::AcqRel);
        for revocation in new {
            let revoked_at = revocation.revoked_at;
            if self.insert(revocation) {
                first(revoked_at);
            }
        }
        self.count();
    }

    /// Returns whether the revocation is new.
    fn insert(&self, revocation: Revocation) -> bool {
        let Revocation { target, revoked_at, expires_at, .. } = revocation;
        let until = self.elapsed() + millis(expires_at.since(revoked_at));
        match target {
            RevocationTarget::Session(sid) => {
                let mut shard = self.shard(sid).write().unwrap_or_else(PoisonError::into_inner);
                let is_new = shard.insert(sid, until).is_none();
                drop(shard);
                self.waiting.wake(sid);
                is_new
            }
            RevocationTarget::Client(id) => {
                let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
                let known = clients.get(&id).map(|(at, _)| *at);
                clients.insert(id, (known.unwrap_or(revoked_at).max(revoked_at), until));
                drop(clients);
                self.waiting.wake_all();
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
    /// Adds before it removes, so that a revocation in both the old and the new set is never missing.
    fn replace(&self, all: Vec<Revocation>) {
        self.insert_all(all.clone(), |_| ());
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let keep: std::collections::HashSet<RevocationTarget> =
            all.into_iter().map(|revocation| revocation.target).collect();
        for shard in &self.sids {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|sid, _| keep.contains(&RevocationTarget::Session(*sid)));
        }
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|id, _| keep.contains(&RevocationTarget::Client(id.clone())));
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

    fn revocation(seq: i64, target: RevocationTarget, at: i64) -> Revocation {
        let revoked_at = Timestamp::from_millis(at);
        Revocation { seq, target, revoked_at, expires_at: revoked_at.plus(Duration::from_secs(1020)) }
    }

    #[test]
    fn a_revoked_session_is_denied_until_all_its_tokens_have_expired() {
        let (list, sid, other) = (Denylist::default(), Sid([1; 16]), Sid([2; 16]));
        assert!(!list.denies(sid));
        list.add(vec![revocation(1, RevocationTarget::Session(sid), 0)], Timestamp::EPOCH);
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
        list.add(vec![revocation(1, RevocationTarget::Client("cron".into()), 500)], Timestamp::EPOCH);
        assert!(list.denies_client("cron", Timestamp::from_millis(500)));
        assert!(!list.denies_client("cron", Timestamp::from_millis(501)));
        assert!(!list.denies_client("other", Timestamp::from_millis(500)));
    }

    #[test]
    fn replacing_the_revocations_drops_only_those_that_are_gone() {
        let (list, kept, gone) = (Denylist::default(), Sid([1; 16]), Sid([2; 16]));
        list.add(
            vec![
                revocation(1, RevocationTarget::Session(kept), 0),
                revocation(2, RevocationTarget::Session(gone), 0),
            ],
            Timestamp::EPOCH,
        );
        list.replace(vec![revocation(1, RevocationTarget::Session(kept), 0)]);
        assert!(list.denies(kept) && !list.denies(gone));
        assert_eq!(list.len(), 1);
    }
}
