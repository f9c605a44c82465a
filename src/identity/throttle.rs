//! Slows down guessing: an attempt is charged before its proof is checked, and a success takes its own charge back.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use unicode_normalization::UnicodeNormalization as _;

use crate::clock::{Clock, Timestamp};

/// Failures without a delay.
const FREE: u32 = 10;
/// Failures from which on the delay no longer grows.
const MOST_FAILURES: u32 = FREE + 7;
/// The delay doubles up to this.
const MOST_DELAY: Duration = Duration::from_secs(60);
/// One failure is forgiven in each of these that passes without another. A count that has reached the longest delay is
/// forgotten after 17 minutes: whoever tries once in each delay keeps the delay.
const FORGIVES: Duration = Duration::from_secs(60);
/// How long an attempt waits for others in flight to be decided.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests of OAuth clients that may wait.
const CLIENTS: usize = 1024;
/// Counts kept, and pairs of account and address kept.
const ROOM: usize = 50_000;
/// Characters of an account's name that count. No user has a longer name, and folding costs time for each.
const NAME_MAX: usize = 129;

/// Whose attempts are counted. Each kind has counts of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Account<'a> {
    /// A user, by the name that was typed.
    User(&'a str),
    /// A provider of identities: it is not known which of its people fails.
    Provider(&'a str),
    /// An OAuth client, by the id that was sent.
    Client(&'a str),
}

impl Account<'_> {
    fn kind(self) -> usize {
        match self {
            Self::User(_) => 0,
            Self::Provider(_) => 1,
            Self::Client(_) => 2,
        }
    }
}

/// Come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// When to try again, for `Retry-After`.
    pub retry_after: Duration,
    /// Why.
    pub reason: Reason,
}

/// What an attempt was refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Failures of this account from anywhere, and nothing else: an address it has logged in from is spared ([`Throttle::spare`]).
    Account,
    /// Failures of this account from this address, or of all accounts of this kind from this address.
    Address,
    /// As many attempts wait for others in flight as may.
    Busy,
}

/// Counts failures per account and address, per user, and per address (an IPv6 /64 counts as one). Bounded memory.
#[derive(Debug)]
pub struct Throttle {
    state: Mutex<State>,
    /// An attempt was decided.
    decided: Notify,
    /// Attempts of people that may wait.
    room: usize,
    /// Keys are hashes under a random state: names aren't kept, and nobody can aim at a bucket.
    hashing: RandomState,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<u64, Count>,
    known: Known,
    /// Pairs about which the past has been asked.
    asked: Known,
    /// By kind of account, so that a crowd of programs keeps no person waiting.
    waiting: [usize; 3],
}

/// Pairs of account and address, the oldest of which go first. Those that have logged in are spared the user's count.
#[derive(Debug, Default)]
struct Known {
    last: HashMap<u64, u64>,
    order: VecDeque<(u64, u64)>,
    next: u64,
}

impl Known {
    fn add(&mut self, pair: u64) {
        self.next += 1;
        self.last.insert(pair, self.next);
        self.order.push_back((pair, self.next));
        // Entries that a later login has overtaken stand in the order only.
        while self.last.len() > ROOM || self.order.len() > 2 * ROOM {
            let Some((oldest, at)) = self.order.pop_front() else { break };
            if self.last.get(&oldest) == Some(&at) {
                self.last.remove(&oldest);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    /// Attempts charged and not decided yet.
    pending: u32,
    /// When the next attempt may be made.
    free_at: Timestamp,
    /// Since when nothing has been forgiven.
    since: Timestamp,
}

impl Count {
    fn new(now: Timestamp) -> Self {
        Self { failures: 0, pending: 0, free_at: now, since: now }
    }

    /// Forgives what is to be forgiven by now. A clock that was set back lengthens no delay: what seems to lie ahead is counted
    /// from now.
    fn at(&mut self, now: Timestamp) {
        if self.since > now {
            self.since = now;
            self.free_at = self.free_at.min(now.plus(self.delay()));
        }
        let forgiven =
            u32::try_from(now.since(self.since).as_secs() / FORGIVES.as_secs()).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_sub(forgiven);
        self.since = if self.failures == 0 { now } else { self.since.plus(FORGIVES * forgiven) };
    }

    fn fail(&mut self, now: Timestamp) {
        self.failures = (self.failures + 1).min(MOST_FAILURES);
        self.free_at = now.plus(self.delay());
        self.since = now;
    }

    fn delay(self) -> Duration {
        match self.failures.saturating_sub(FREE) {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(6)).min(MOST_DELAY),
        }
    }

    /// Attempts that may be in flight at once: the free ones that are left; then one at a time.
    fn room(self) -> u32 {
        FREE.saturating_sub(self.failures).max(1)
    }

    fn is_nothing(self) -> bool {
        self.failures == 0 && self.pending == 0
    }
}

/// What an attempt's counts say at present.
enum Judgement {
    Admitted,
    Waits,
    Refused(Throttled),
}

/// An attempt that may be checked now. Dropped undecided, as by a client that hangs up, it is a failure.
#[derive(Debug)]
#[must_use]
pub struct Charge<'t> {
    throttle: &'t Throttle,
    keys: Keys,
    at: Timestamp,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Succeeded,
    Undecided,
}

/// The counts of an attempt.
#[derive(Clone, Copy, Debug)]
struct Keys {
    /// This account at this address; none where the address is unknown.
    pair: Option<u64>,
    /// The account from anywhere; none where strangers' failures would keep all its people out.
    account: Option<u64>,
    /// The address; none where it is unknown.
    address: Option<u64>,
}

impl Keys {
    fn all(self) -> impl Iterator<Item = u64> {
        [self.pair, self.account, self.address].into_iter().flatten()
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(64)
    }
}

impl Throttle {
    /// `room`: how many attempts may wait while others of the same account or address are in flight.
    pub fn new(room: usize) -> Self {
        Self { state: Mutex::default(), decided: Notify::new(), room, hashing: RandomState::new() }
    }

    /// Asked before a proof is checked: charges the attempt. Where the free attempts are all in flight it waits until some are
    /// decided, so that good logins of many people behind one address come in one after the other.
    pub async fn admit(
        &self,
        account: Account<'_>,
        address: Option<IpAddr>,
        clock: &dyn Clock,
    ) -> Result<Charge<'_>, Throttled> {
        let keys = self.keys(account, address);
        let deadline = Instant::now() + PATIENCE;
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let decided = self.decided.notified();
            tokio::pin!(decided);
            decided.as_mut().enable();
            let now = clock.now();
            match self.judge(keys, now, waiting.is_some()) {
                Judgement::Admitted => {
                    return Ok(Charge { throttle: self, keys, at: now, outcome: None });
                }
                Judgement::Refused(throttled) => return Err(throttled),
                Judgement::Waits => {}
            }
            let busy = Throttled { retry_after: Duration::from_secs(2), reason: Reason::Busy };
            if waiting.is_none() {
                waiting = Some(Waiting::begin(self, account.kind()).ok_or(busy)?);
            }
            timeout_at(deadline, decided).await.map_err(|_| busy)?;
        }
    }

    /// Whether it is worth asking if this user has logged in from this address: once for each pair, since whoever is refused
    /// may come again and again.
    pub fn may_ask(&self, account: Account<'_>, address: IpAddr) -> bool {
        let Some(pair) = self.keys(account, Some(address)).pair else { return false };
        let mut state = self.lock();
        let asks = !state.asked.last.contains_key(&pair);
        if asks {
            state.asked.add(pair);
        }
        asks
    }

    /// An address that this user has logged in from, by an account of the past: spared the user's count from now on.
    pub fn spare(&self, account: Account<'_>, address: IpAddr) {
        if let Some(pair) = self.keys(account, Some(address)).pair {
            self.lock().known.add(pair);
        }
    }

    /// Judges, and charges what is admitted. Who has waited for others and sees them fail is refused: only the free attempts
    /// are checked of those that come at once.
    fn judge(&self, keys: Keys, now: Timestamp, has_waited: bool) -> Judgement {
        let mut state = self.lock();
        let spared = keys.pair.is_some_and(|pair| state.known.last.contains_key(&pair));
        let (mut free_at, mut reason, mut waits) = (now, None, false);
        for key in keys.all().filter(|key| !(spared && Some(*key) == keys.account)) {
            let Some(count) = state.counts.get_mut(&key) else { continue };
            count.at(now);
            let mut free = count.free_at;
            if has_waited && count.failures >= FREE {
                free = free.max(now.plus(Duration::from_secs(1)));
            }
            if free > now {
                let of_account = Some(key) == keys.account;
                reason = if of_account && reason.is_none() {
                    Some(Reason::Account)
                } else {
                    Some(Reason::Address)
                };
                free_at = free_at.max(free);
            }
            waits |= count.pending >= count.room();
        }
        match reason {
            Some(reason) => Judgement::Refused(Throttled { retry_after: free_at.since(now), reason }),
            None if waits => Judgement::Waits,
            None => {
                state.charge(keys, now);
                Judgement::Admitted
            }
        }
    }

    fn decide(&self, keys: Keys, outcome: Option<Outcome>, now: Timestamp) {
        let mut state = self.lock();
        for key in keys.all() {
            let Some(count) = state.counts.get_mut(&key) else { continue };
            count.at(now);
            count.pending = count.pending.saturating_sub(1);
            match outcome {
                // The owner's own slips are forgotten. Those of others from the address stay, and so do those of the account:
                // else ten guesses and one login with an account of one's own would be free again and again.
                Some(Outcome::Succeeded) if Some(key) == keys.pair => {
                    *count = Count { pending: count.pending, ..Count::new(now) }
                }
                Some(Outcome::Succeeded | Outcome::Undecided) => {}
                None => {
                    count.fail(now);
                }
            }
            if count.is_nothing() {
                state.counts.remove(&key);
            }
        }
        if let (Some(Outcome::Succeeded), Some(pair)) = (outcome, keys.pair) {
            state.known.add(pair);
        }
        drop(state);
        self.decided.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self, account: Account<'_>, address: Option<IpAddr>) -> Keys {
        let kind = account.kind();
        let name = match account {
            Account::User(name) => folded(name),
            Account::Provider(name) | Account::Client(name) => name.chars().take(NAME_MAX).collect(),
        };
        let network = address.map(network);
        Keys {
            pair: network.map(|network| self.hashing.hash_one((0, kind, &name, network))),
            account: matches!(account, Account::User(_)).then(|| self.hashing.hash_one((1, kind, &name))),
            address: network.map(|network| self.hashing.hash_one((2, kind, network))),
        }
    }
}

impl State {
    fn charge(&mut self, keys: Keys, now: Timestamp) {
        if self.counts.len() + 3 > ROOM {
            make_room(&mut self.counts, now);
        }
        for key in keys.all() {
            self.counts.entry(key).or_insert(Count::new(now)).pending += 1;
        }
    }
}

impl Charge<'_> {
    /// The proof holds: the charge is taken back, and a user's address is spared the user's count from now on.
    pub fn succeeded(mut self) {
        self.outcome = Some(Outcome::Succeeded);
    }

    /// Nothing could be checked, by no fault of the one who asks: the charge is taken back.
    pub fn undecided(mut self) {
        self.outcome = Some(Outcome::Undecided);
    }

    /// The proof is wrong: the charge stays.
    pub fn failed(self) {}
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.throttle.decide(self.keys, self.outcome, self.at);
    }
}

/// A place among those who wait.
struct Waiting<'t> {
    throttle: &'t Throttle,
    kind: usize,
}

impl<'t> Waiting<'t> {
    fn begin(throttle: &'t Throttle, kind: usize) -> Option<Self> {
        // A client's secret costs no hashing: more may wait for it.
        let room =
            if kind == Account::Client("").kind() { throttle.room.max(CLIENTS) } else { throttle.room };
        let waiting = &mut throttle.lock().waiting[kind];
        (*waiting < room).then(|| {
            *waiting += 1;
            Self { throttle, kind }
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.throttle.lock().waiting[self.kind] -= 1;
    }
}

/// A user's name as names are compared, so that each spelling of one shares its count. Cut before it is folded: one
/// character may fold to 18, and each costs time.
pub(crate) fn folded(name: &str) -> String {
    name.trim().chars().take(NAME_MAX).nfkc().collect::<String>().to_lowercase()
}

/// An address, or the /64 an IPv6 host can pick its own from.
pub(crate) fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
    }
}

/// Forgets what is forgiven; if that isn't enough, the mildest: a flood of names can't wash away a long delay.
fn make_room(counts: &mut HashMap<u64, Count>, now: Timestamp) {
    counts.retain(|_, count| {
        count.at(now);
        !count.is_nothing()
    });
    for failures in 1..MOST_FAILURES {
        if counts.len() <= ROOM / 2 {
            return;
        }
        counts.retain(|_, count| count.failures > failures || count.pending > 0);
    }
}

#[cfg(test)]
mod tests;
