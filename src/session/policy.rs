//! The times and bounds a session lives by.

use std::time::Duration;

/// Clocks of nodes and openers may differ by this much.
pub const SKEW: Duration = Duration::from_secs(60);
/// No access token lives longer, whatever the settings.
pub const ACCESS_CEILING: Duration = Duration::from_secs(15 * 60);
/// How long past its end a row counts as live, and how long a revocation is kept: the ceiling plus twice the skew.
pub const KEEP: Duration = Duration::from_secs(17 * 60);

/// How often a late parent of *another* generation is forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pardon {
    /// Once in this time; must be above the refresh idle.
    Every(Duration),
    /// Never: any late parent is reuse.
    Never,
}

/// What happens to access tokens when the revocation feed is older than `max_staleness`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStale {
    /// They go on passing; `/health/ready` says so.
    Serve,
    /// They are refused as *cannot tell*.
    Refuse,
}

/// Lifetimes and rules (DESIGN 4.2, 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Life of an access token; at most [`ACCESS_CEILING`].
    pub access_max_age: Duration,
    /// Sliding life of a session.
    pub refresh_idle: Duration,
    /// Absolute life of a session.
    pub session_max_age: Duration,
    /// W: how long a lost answer may be asked for again.
    pub replay_window: Duration,
    /// How often a later one is pardoned.
    pub pardon: Pardon,
    /// Live sessions a user may have; the oldest go.
    pub session_cap: u32,
    /// A row - 1 repeat from another `User-Agent` is a pardon.
    pub bind_agent: bool,
    /// How old the feed may be.
    pub max_staleness: Duration,
    /// And what then.
    pub on_stale: OnStale,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            access_max_age: Duration::from_secs(120),
            refresh_idle: Duration::from_secs(30 * 60),
            session_max_age: Duration::from_secs(7 * 24 * 3600),
            replay_window: Duration::from_secs(10),
            pardon: Pardon::Every(Duration::from_secs(3600)),
            session_cap: 20,
            bind_agent: false,
            max_staleness: Duration::from_secs(10),
            on_stale: OnStale::Serve,
        }
    }
}

/// A policy that contradicts itself; names the setting and the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

impl Policy {
    /// R: the least time between rotations, half the life of an access token.
    pub fn rotate_after(&self) -> Duration {
        self.access_max_age / 2
    }

    /// Checks the bounds of DESIGN 4.2 to 4.4.
    pub fn check(&self) -> Result<(), PolicyError> {
        todo!()
    }
}
