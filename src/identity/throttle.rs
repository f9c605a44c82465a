//! Failed attempts slow the next ones down; good ones don't.

use std::{net::IpAddr, time::Duration};

use crate::clock::Timestamp;

/// Come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// When to try again, for `Retry-After`.
    pub retry_after: Duration,
}

/// Counts failures per account and address, per account, and per address (an IPv6 /64 counts as one). Bounded memory.
#[derive(Debug, Default)]
pub struct Throttle {}

impl Throttle {
    /// Asked before a password is checked.
    pub fn check(&self, account: &str, address: IpAddr, now: Timestamp) -> Result<(), Throttled> {
        let _ = (account, address, now);
        todo!()
    }
    /// A wrong password.
    pub fn failed(&self, account: &str, address: IpAddr, now: Timestamp) {
        let _ = (account, address, now);
    }
    /// A right one: this address is spared the account's count from now on.
    pub fn succeeded(&self, account: &str, address: IpAddr, now: Timestamp) {
        let _ = (account, address, now);
    }
}
