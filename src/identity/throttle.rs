//! Failed attempts slow the next ones down; good ones don't.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use unicode_normalization::UnicodeNormalization as _;

use crate::clock::Timestamp;

/// Failures in a minute that cost nothing.
const FREE: u32 = 10;
/// After so long without a failure a count starts anew.
const MEMORY: Duration = Duration::from_secs(60);
/// The delay doubles up to this.
const MOST: Duration = Duration::from_secs(60);
/// Counts kept; beyond, those whose delay has run out go first.
const ROOM: usize = 50_000;

/// Come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// When to try again, for `Retry-After`.
    pub retry_after: Duration,
}

/// Counts failures per account and address, per account, and per address (an IPv6 /64 counts as one). Bounded memory.
#[derive(Debug, Default)]
pub struct Throttle {
    state: Mutex<State>,
    /// Keys are hashes under a random state: names aren't kept, and nobody can aim at a bucket.
    hashing: RandomState,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<u64, Count>,
    /// (account, address) pairs that logged in before: spared the account's count.
    known: HashSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    last: Timestamp,
}

impl Count {
    /// When the next attempt may be made.
    fn free_at(self) -> Timestamp {
        let doublings = self.failures.saturating_sub(FREE);
        let delay = match doublings {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(6)).min(MOST),
        };
        self.last.plus(delay)
    }

    fn forgotten(self, now: Timestamp) -> bool {
        now.since(self.last) >= MEMORY.max(MOST) && self.free_at() <= now
    }
}

impl Throttle {
    /// Asked before a password is checked.
    pub fn check(&self, account: &str, address: IpAddr, now: Timestamp) -> Result<(), Throttled> {
        let [pair, whole, place] = self.keys(account, address);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let spared = state.known.contains(&pair);
        let mut free_at = None;
        for key in [Some(pair), Some(whole).filter(|_| !spared), Some(place)].into_iter().flatten() {
            if let Some(count) = state.counts.get_mut(&key) {
                // A clock that was set back lengthens no delay: what seems to lie ahead is counted from now.
                count.last = count.last.min(now);
                free_at = free_at.max(Some(count.free_at()));
            }
        }
        match free_at.filter(|free_at| *free_at > now) {
            Some(free_at) => Err(Throttled { retry_after: free_at.since(now) }),
            None => Ok(()),
        }
    }

    /// A wrong password.
    pub fn failed(&self, account: &str, address: IpAddr, now: Timestamp) {
        let keys = self.keys(account, address);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.counts.len() + keys.len() > ROOM {
            make_room(&mut state.counts, now);
        }
        for key in keys {
            let count = state.counts.entry(key).or_insert(Count { failures: 0, last: now });
            if count.forgotten(now) {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
        }
    }

    /// A right one: this address is spared the account's count from now on.
    pub fn succeeded(&self, account: &str, address: IpAddr) {
        let [pair, ..] = self.keys(account, address);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.counts.remove(&pair);
        if state.known.len() >= ROOM {
            state.known.clear();
        }
        state.known.insert(pair);
    }

    fn keys(&self, account: &str, address: IpAddr) -> [u64; 3] {
        // As names are compared: otherwise each spelling of one would have tries of its own.
        let account = account.nfkc().collect::<String>().to_lowercase();
        let place = network(address);
        [
            self.hashing.hash_one((0, &account, place)),
            self.hashing.hash_one((1, &account)),
            self.hashing.hash_one((2, place)),
        ]
    }
}

/// An address, or the /64 an IPv6 host can pick its own from.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
    }
}

/// Forgets what has run out; if that isn't enough, the mildest: a flood of names can't wash away a long delay.
fn make_room(counts: &mut HashMap<u64, Count>, now: Timestamp) {
    counts.retain(|_, count| !count.forgotten(now));
    for failures in 1.. {
        if counts.len() <= ROOM / 2 {
            return;
        }
        counts.retain(|_, count| count.failures > failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000 + seconds * 1000)
    }

    fn delay(throttle: &Throttle, account: &str, address: IpAddr, now: Timestamp) -> u64 {
        throttle.check(account, address, now).err().map_or(0, |t| t.retry_after.as_secs())
    }

    #[test]
    fn ten_failures_are_free_then_the_delay_doubles_up_to_a_minute() {
        let throttle = Throttle::default();
        let mut delays = Vec::new();
        for _ in 0..18 {
            throttle.failed("ada", HOME, at(0));
            delays.push(delay(&throttle, "ada", HOME, at(0)));
        }
        assert_eq!(delays, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(delay(&throttle, "ada", HOME, at(60)), 0, "then let in");
        for spelling in ["ADA", "\u{ff41}da", "\u{1d41a}d\u{24d0}"] {
            assert_eq!(delay(&throttle, spelling, HOME, at(0)), 60, "{spelling} is ada too");
        }
    }

    #[test]
    fn a_clock_set_back_a_day_lengthens_no_delay() {
        let throttle = Throttle::default();
        for _ in 0..20 {
            throttle.failed("ada", HOME, at(86_400));
        }
        assert_eq!(delay(&throttle, "ada", HOME, at(0)), 60);
        assert_eq!(delay(&throttle, "ada", HOME, at(60)), 0);
    }

    #[test]
    fn an_account_is_slowed_from_everywhere_but_where_its_owner_was() {
        let throttle = Throttle::default();
        throttle.succeeded("ada", HOME);
        for n in 0..20 {
            throttle.failed("ada", IpAddr::from([203, 0, 113, n]), at(0));
        }
        assert!(delay(&throttle, "ada", AWAY, at(0)) > 0);
        assert_eq!(delay(&throttle, "ada", HOME, at(0)), 0);
        assert_eq!(delay(&throttle, "bob", AWAY, at(0)), 0);
    }

    #[test]
    fn an_address_is_slowed_for_all_accounts_and_a_v6_network_is_one() {
        let throttle = Throttle::default();
        for n in 0..20u16 {
            let host = IpAddr::from([0x2001, 0xdb8, 1, 2, n, n, n, n]);
            throttle.failed(&format!("user{n}"), host, at(0));
        }
        assert!(delay(&throttle, "new", "2001:db8:1:2::9".parse().unwrap(), at(0)) > 0);
        assert_eq!(delay(&throttle, "new", "2001:db8:1:3::9".parse().unwrap(), at(0)), 0);
    }

    #[test]
    fn a_flood_of_names_takes_bounded_room_and_washes_no_delay_away() {
        let throttle = Throttle::default();
        for _ in 0..20 {
            throttle.failed("ada", HOME, at(0));
        }
        for n in 0..60_000u32 {
            throttle.failed(&format!("user{n}"), IpAddr::from(n.to_be_bytes()), at(1));
        }
        assert!(throttle.state.lock().unwrap().counts.len() <= ROOM);
        assert!(delay(&throttle, "ada", HOME, at(1)) > 0);
    }
}
