//! Slows down guessing of passwords and other proofs. Each attempt is charged before its proof is checked, and the charge is
//! taken back if the attempt succeeds.

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

use crate::{
    clock::{Clock, Timestamp},
    store::NAME_MAX,
};

/// The number of failures without a delay.
const FREE: u32 = 10;
/// The number of failures from which the delay no longer grows.
const MOST_FAILURES: u32 = FREE + 7;
/// The longest delay. The delay doubles up to this value.
const MOST_DELAY: Duration = Duration::from_secs(60);
/// One failure is forgiven for each such period that passes without another failure. A count that has reached the longest delay
/// is forgotten after 17 minutes. An attacker who tries once in each delay keeps the longest delay.
const FORGIVES: Duration = Duration::from_secs(60);
/// How long an attempt waits for the results of other attempts.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest number of waiting requests of OAuth clients.
const CLIENTS: usize = 1024;
/// The largest number of counts, and of pairs of account and address.
const ROOM: usize = 50_000;
/// The number of characters of an account's name that are used. No user has a longer name, and folding takes time for each
/// character.
const USED_CHARS: usize = NAME_MAX + 1;

/// The kind of account whose attempts are counted. Each kind has separate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Account<'a> {
    /// A user, by the name that was typed.
    User(&'a str),
    /// A provider of identities. It is not known which of the provider's users failed.
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

/// The refusal of an attempt that must be repeated later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throttled {
    /// The time after which to try again, for `Retry-After`.
    pub(crate) retry_after: Duration,
    /// The reason for the refusal.
    pub(crate) reason: Reason,
}

/// The reason why an attempt was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Only the failures of this account from any address. An address from which the account has logged in before is exempt
    /// ([`Throttle::exempt`]).
    Account,
    /// The failures of this account from this address, or of all accounts of this kind from this address.
    Address,
    /// Too many attempts are waiting for the results of others.
    Busy,
}

/// Counts failures per account and address, per user, and per address (an IPv6 /64 counts as one address). Its memory is bounded.
#[derive(Debug)]
pub(crate) struct Throttle {
    state: Mutex<State>,
    /// Notified when the result of an attempt is known.
    decided: Notify,
    /// The largest number of waiting attempts of people.
    room: usize,
    /// Keys are hashes with a random state. So names are not stored, and an attacker can't choose names that share a bucket.
    hashing: RandomState,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<u64, Count>,
    known: Known,
    /// Pairs whose past logins were already looked up.
    asked: Known,
    /// The number of waiting attempts by kind of account, so that many waiting programs do not block people.
    waiting: [usize; 3],
}

/// Pairs of account and address, with the oldest removed first. Pairs that have logged in are exempt from the user's count.
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
        // An entry that a later login has replaced is only in the order.
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
    /// Attempts that are charged and whose result is not known yet.
    pending: u32,
    /// The time of the next allowed attempt.
    free_at: Timestamp,
    /// The time since when no failure was forgiven.
    since: Timestamp,
}

impl Count {
    fn new(now: Timestamp) -> Self {
        Self { failures: 0, pending: 0, free_at: now, since: now }
    }

    /// Forgives the failures that are due at `now`. If the clock was set back, times in the future are counted from now, so no
    /// delay gets longer.
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

    /// Returns how many attempts may be in progress at once: the remaining free attempts, or one if none remain.
    fn room(self) -> u32 {
        FREE.saturating_sub(self.failures).max(1)
    }

    fn is_empty(self) -> bool {
        self.failures == 0 && self.pending == 0
    }
}

/// The state of an attempt according to its counts.
enum Admission {
    Admitted,
    Waits,
    Refused(Throttled),
}

/// An attempt whose proof may be checked now. It counts as a failure if it is dropped without a result, for example because the
/// client hangs up.
#[derive(Debug)]
#[must_use]
pub(crate) struct Charge<'t> {
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

/// The keys of the counts of an attempt.
#[derive(Clone, Copy, Debug)]
struct Keys {
    /// This account at this address; `None` if the address is unknown.
    pair: Option<u64>,
    /// The account from any address; `None` for accounts other than users, because failures of strangers would lock out all
    /// people behind such an account.
    account: Option<u64>,
    /// The address; `None` if it is unknown.
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
    /// Creates a throttle. `room` is the number of attempts that may wait while others of the same account or address are in
    /// progress.
    pub(crate) fn new(room: usize) -> Self {
        Self { state: Mutex::default(), decided: Notify::new(), room, hashing: RandomState::new() }
    }

    /// Charges an attempt before its proof is checked. If all free attempts are in progress, waits until some results are known.
    /// The valid logins of many people behind one address then succeed one after the other.
    ///
    /// # Errors
    ///
    /// Fails if the attempt is refused, with the time after which to try again.
    pub(crate) async fn admit(
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
            match self.check_and_charge(keys, now, waiting.is_some()) {
                Admission::Admitted => {
                    return Ok(Charge { throttle: self, keys, at: now, outcome: None });
                }
                Admission::Refused(throttled) => return Err(throttled),
                Admission::Waits => {}
            }
            let busy = Throttled { retry_after: Duration::from_secs(2), reason: Reason::Busy };
            if waiting.is_none() {
                waiting = Some(Waiting::begin(self, account.kind()).ok_or(busy)?);
            }
            timeout_at(deadline, decided).await.map_err(|_| busy)?;
        }
    }

    /// Whether to look up if this user has logged in from this address before. True only once for each pair, because a refused
    /// client may come again and again.
    pub(crate) fn should_look_up(&self, account: Account<'_>, address: IpAddr) -> bool {
        let Some(pair) = self.keys(account, Some(address)).pair else { return false };
        let mut state = self.lock();
        let asks = !state.asked.last.contains_key(&pair);
        if asks {
            state.asked.add(pair);
        }
        asks
    }

    /// Exempts an address from the user's count from now on, because earlier records show that the user has logged in from it.
    pub(crate) fn exempt(&self, account: Account<'_>, address: IpAddr) {
        if let Some(pair) = self.keys(account, Some(address)).pair {
            self.lock().known.add(pair);
        }
    }

    /// Judges an attempt, and charges it if it is admitted. An attempt that has waited is refused once the free attempts have
    /// failed: of many attempts at once, only the free ones are checked.
    fn check_and_charge(&self, keys: Keys, now: Timestamp, has_waited: bool) -> Admission {
        let mut state = self.lock();
        let exempted = keys.pair.is_some_and(|pair| state.known.last.contains_key(&pair));
        let (mut free_at, mut reason, mut waits) = (now, None, false);
        for key in keys.all().filter(|key| !(exempted && Some(*key) == keys.account)) {
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
            Some(reason) => Admission::Refused(Throttled { retry_after: free_at.since(now), reason }),
            None if waits => Admission::Waits,
            None => {
                state.charge(keys, now);
                Admission::Admitted
            }
        }
    }

    fn record_result(&self, keys: Keys, outcome: Option<Outcome>, now: Timestamp) {
        let mut state = self.lock();
        for key in keys.all() {
            let Some(count) = state.counts.get_mut(&key) else { continue };
            count.at(now);
            count.pending = count.pending.saturating_sub(1);
            match outcome {
                // A success deletes the failures of this account from this address. The failures of the address and of the
                // account from elsewhere stay. Otherwise an attacker could repeat ten guesses and one login with their own
                // account without a delay.
                Some(Outcome::Succeeded) if Some(key) == keys.pair => {
                    *count = Count { pending: count.pending, ..Count::new(now) }
                }
                Some(Outcome::Succeeded | Outcome::Undecided) => {}
                None => {
                    count.fail(now);
                }
            }
            if count.is_empty() {
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
            Account::Provider(name) | Account::Client(name) => name.chars().take(USED_CHARS).collect(),
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
    /// The proof is valid. The charge is taken back, and a user's address is exempt from the user's count from now on.
    pub(crate) fn succeeded(mut self) {
        self.outcome = Some(Outcome::Succeeded);
    }

    /// The proof could not be checked, and this is not the client's fault. The charge is taken back.
    pub(crate) fn undecided(mut self) {
        self.outcome = Some(Outcome::Undecided);
    }

    /// The proof is wrong. The charge stays.
    pub(crate) fn failed(self) {}
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.throttle.record_result(self.keys, self.outcome, self.at);
    }
}

/// A place among the waiting attempts.
struct Waiting<'t> {
    throttle: &'t Throttle,
    kind: usize,
}

impl<'t> Waiting<'t> {
    fn begin(throttle: &'t Throttle, kind: usize) -> Option<Self> {
        // Checking a client's secret needs no password hashing, so more attempts may wait.
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

/// Folds a user's name in the same way as names are compared, so that all spellings of a name share a count. The name is cut
/// before it is folded, because one character may fold to 18, and each takes time.
pub(crate) fn folded(name: &str) -> String {
    name.trim().chars().take(USED_CHARS).nfkc().collect::<String>().to_lowercase()
}

/// Returns an address; for IPv6 its /64 network, from which a host can choose its own addresses.
pub(crate) fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
    }
}

/// Removes the forgiven counts. If that is not enough, removes those with the fewest failures, so that many new names can't push
/// out a count with a long delay.
fn make_room(counts: &mut HashMap<u64, Count>, now: Timestamp) {
    counts.retain(|_, count| {
        count.at(now);
        !count.is_empty()
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
