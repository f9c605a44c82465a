//! Searches the refresh rule itself for faults.
//!
//! A search visits every interleaving of tabs, nodes, a thief and a logout, with answers delayed, reordered and lost, within small
//! bounds of time. Time advances in ticks of one second. W is the replay window, R the least time between rotations, A the life of
//! an access token, L the longest one-way latency, F the time between pardons. The searches named *shown to fail* show that the
//! search would find a fault if there were one.

mod one_client;
mod several_nodes;

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};

use bulla::internals::{
    clock::Timestamp,
    secret::Digest,
    session::{
        Pardon,
        refresh::{Chain, Outcome, RefreshAttempt, Rule, decide},
    },
};

const KEY: Digest = Digest([1; 32]);

/// The fields of a session row that the searches use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    generation: u64,
    rotated_at: i64,
    pardoned: Option<(u64, i64)>,
}

impl Row {
    const NEW: Self = Self { generation: 0, rotated_at: 0, pardoned: None };

    /// The outcome according to the real rule.
    fn decide(&self, generation: u64, now: i64, rule: &Rule) -> Outcome {
        let time = |ticks: i64| Timestamp::from_millis(ticks * 1000);
        let row = Chain {
            secret_hash: KEY,
            generation: self.generation,
            rotated_at: time(self.rotated_at),
            pardoned: self.pardoned.map(|(generation, at)| (generation, time(at))),
            ends_at: time(i64::from(i32::MAX)),
            agent: "",
        };
        decide(&row, &RefreshAttempt { secret_hash: KEY, generation, agent: "" }, time(now), rule)
    }

    /// The row after an outcome, and the generation that the answer carries; `None` if the row is deleted.
    fn after(self, outcome: Outcome, now: i64) -> Option<(Self, Option<u64>)> {
        match outcome {
            Outcome::Invalid | Outcome::Reuse => None,
            Outcome::RepeatAccess => Some((self, None)),
            Outcome::RepeatSame | Outcome::PardonAgain => Some((self, Some(self.generation))),
            Outcome::Rotate { to } | Outcome::Forward { to } => {
                Some((Self { generation: to, rotated_at: now, ..self }, Some(to)))
            }
            Outcome::Pardon { generation } => {
                let row = Self { rotated_at: now, pardoned: Some((generation, now)), ..self };
                Some((row, Some(self.generation)))
            }
        }
    }
}

/// The bounds of a search.
#[derive(Clone, Copy)]
struct Bounds {
    w: u64,
    r: u64,
    a: i64,
    l: i64,
    f: u64,
    /// The time at which the search ends.
    t: i64,
    /// The largest number of the owner's requests and answers in progress at once.
    tabs: usize,
    /// Whether tabs renew at any time. Otherwise they renew only after the access token has expired (the steps of the guard).
    any_time: bool,
    /// The number of answers that may be lost.
    losses: u8,
}

const BOUNDS: Bounds = Bounds { w: 3, r: 6, a: 12, l: 1, f: 60, t: 22, tabs: 3, any_time: true, losses: 0 };

impl Bounds {
    fn rule(&self) -> Rule {
        Rule {
            window: Duration::from_secs(self.w),
            rotate_after: Duration::from_secs(self.r),
            pardon: Pardon::Every(Duration::from_secs(self.f)),
            bind_agent: false,
        }
    }
}

/// The states that have been seen, and those still to explore, in order of discovery.
struct Frontier<S> {
    seen: HashSet<S>,
    queue: VecDeque<S>,
}

impl<S: Clone + Eq + Hash> Frontier<S> {
    fn from(start: S) -> Self {
        Self { seen: HashSet::from([start.clone()]), queue: VecDeque::from([start]) }
    }

    fn push(&mut self, state: S) {
        if !self.seen.contains(&state) {
            self.seen.insert(state.clone());
            self.queue.push_back(state);
        }
    }
}

fn without<T: Clone>(list: &[T], at: usize) -> Vec<T> {
    let mut rest = list.to_vec();
    rest.remove(at);
    rest
}

fn with<T: Clone + Ord>(list: &[T], new: T) -> Vec<T> {
    let mut longer = list.to_vec();
    longer.push(new);
    longer.sort();
    longer
}
