//! How revocations leave the store: what one is, and who listens.

use std::{fmt, str::FromStr};

use crate::{clock::Timestamp, ids::Sid};

/// What a revocation is aimed at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// One session (or service token): its `sid`.
    Session(Sid),
    /// A client's tokens issued until then.
    Client(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(sid) => sid.fmt(f),
            Self::Client(id) => write!(f, "client:{id}"),
        }
    }
}

impl FromStr for Target {
    type Err = crate::ids::BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("client:") {
            Some(id) => Ok(Self::Client(id.into())),
            None => text.parse().map(Self::Session),
        }
    }
}

/// One row of `revocations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its number, never used twice.
    pub seq: i64,
    /// What is revoked.
    pub target: Target,
    /// Since when.
    pub revoked_at: Timestamp,
    /// No token it could concern lives longer.
    pub expires_at: Timestamp,
}

/// Who follows the table: the denylist.
pub trait Feed: Send + Sync {
    /// Everything in force; replaces what was there (first load, or `seq` went back).
    fn replace(&self, all: Vec<Revocation>);
    /// New ones, read when it was `now` by the store's time. Some may be known already.
    fn add(&self, new: Vec<Revocation>, now: Timestamp);
    /// The table was just looked at and nothing is missing (called at least every second while the store answers).
    fn fresh(&self);
}

/// Stops the following when dropped.
pub struct FollowHandle(#[allow(dead_code)] /* held for its Drop */ Box<dyn Send + Sync>);

impl FollowHandle {
    /// Wraps what stops the follower when dropped.
    pub fn new(stopper: impl Send + Sync + 'static) -> Self {
        Self(Box::new(stopper))
    }
}

impl fmt::Debug for FollowHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FollowHandle")
    }
}
