//! The lifetimes and limits of sessions.

use std::{fmt, time::Duration};

use crate::{
    clock::{SKEW, Timestamp},
    text_names::text_names,
};

/// The maximum life of an access token, whatever the settings say.
pub const ACCESS_CEILING: Duration = Duration::from_secs(15 * 60);
/// The time after its end in which a session's row still counts as live, so that its deletion is recorded as a revocation; and the
/// life of a revocation. It is [`ACCESS_CEILING`] plus twice [`SKEW`].
pub const KEEP: Duration = Duration::from_secs(ACCESS_CEILING.as_secs() + 2 * SKEW.as_secs());

/// How often a session is pardoned for a late token of a generation that was not pardoned before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pardon {
    /// Once in this time, which must be longer than `refresh_idle`.
    Every(Duration),
    /// Never: every late repeat is reuse.
    Never,
}

/// What happens to access tokens when the revocation feed is older than `max_staleness`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStale {
    /// They are still accepted; `/health/ready` reports the state.
    Serve,
    /// They are refused as *cannot tell*.
    Refuse,
}

text_names!(OnStale { Serve = "serve", Refuse = "refuse" });

/// The lifetimes and rules of sessions (docs/design/sessions.md). All times must be above zero and at most 10 years.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The life of an access token (default 2 minutes, at most 15 minutes). Nodes refuse an older token; a revocation takes effect
    /// within a second regardless of it.
    pub access_max_age: Duration,
    /// The time after which a session ends unless its refresh token is rotated (default 30 minutes, at most `session_max_age`).
    pub refresh_idle: Duration,
    /// The time after which a session ends in any case (default 7 days).
    pub session_max_age: Duration,
    /// W: the time after a rotation in which its answer can be requested again if it was lost (default 10 seconds, at most a
    /// quarter of `access_max_age`).
    pub replay_window: Duration,
    /// How often a repeat after `replay_window` is pardoned (default once an hour).
    pub pardon: Pardon,
    /// The number of live sessions that a user can have (default 20, at least 1). A further login ends the oldest ones.
    pub session_cap: u32,
    /// Whether a repeat of the last rotation from another `User-Agent` needs a pardon (default no).
    pub bind_agent: bool,
    /// The time after a login in which people can change their login methods without showing the password again (default 10
    /// minutes).
    pub reauth_within: Duration,
    /// The maximum age of the revocation feed (default 10 seconds). [`Policy::on_stale`] applies when the feed is older.
    pub max_staleness: Duration,
    /// What happens to access tokens when the feed is older (default [`OnStale::Serve`]).
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
            reauth_within: Duration::from_secs(600),
            max_staleness: Duration::from_secs(10),
            on_stale: OnStale::Serve,
        }
    }
}

/// The policy breaks a bound. The text names the setting and its bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

impl Policy {
    /// R: the least time between two rotations, half the life of an access token.
    #[doc(hidden)]
    pub fn rotate_after(&self) -> Duration {
        self.access_max_age / 2
    }

    /// Whether a proof of identity made at `auth_time` is recent at `now` (both by the store's clock). A time that is ahead of the
    /// clock by more than the skew was written by a wrong clock and proves nothing.
    #[doc(hidden)]
    pub fn is_recent(&self, auth_time: Option<Timestamp>, now: Timestamp) -> bool {
        auth_time.is_some_and(|at| now.since(at) <= self.reauth_within && at.since(now) <= SKEW)
    }

    /// Checks the bounds of docs/design/sessions.md.
    ///
    /// # Errors
    ///
    /// The error names the first setting that breaks a bound, as it is called in `bulla.toml`, with its value and the bound.
    #[doc(hidden)]
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()?;
        let (window, rotate_after) = (self.replay_window, self.rotate_after());
        bound(
            rotate_after >= window * 2,
            "replay_window",
            window,
            format_args!(
                "at most a quarter of access_max_age ({}), so that a repeat is over before the next rotation",
                Span(self.access_max_age)
            ),
        )?;
        bound(
            self.refresh_idle <= self.session_max_age,
            "refresh_idle",
            self.refresh_idle,
            format_args!("at most session_max_age ({})", Span(self.session_max_age)),
        )?;
        if let Pardon::Every(every) = self.pardon {
            bound(
                every > self.refresh_idle,
                "pardon_every",
                every,
                format_args!("more than refresh_idle ({}), or \"never\"", Span(self.refresh_idle)),
            )?;
        }
        if self.session_cap == 0 {
            return Err(PolicyError("session_cap = 0: must be at least 1".into()));
        }
        Ok(())
    }

    /// Checks that no time is zero and none is longer than its maximum.
    fn check_ranges(&self) -> Result<(), PolicyError> {
        let pardon = match self.pardon {
            Pardon::Every(every) => every,
            Pardon::Never => LONGEST,
        };
        for (name, time, most) in [
            ("access_max_age", self.access_max_age, ACCESS_CEILING),
            ("refresh_idle", self.refresh_idle, LONGEST),
            ("session_max_age", self.session_max_age, LONGEST),
            ("replay_window", self.replay_window, LONGEST),
            ("pardon_every", pardon, LONGEST),
            ("reauth_within", self.reauth_within, LONGEST),
            ("max_staleness", self.max_staleness, LONGEST),
        ] {
            bound(!time.is_zero(), name, time, format_args!("more than 0s"))?;
            bound(time <= most, name, time, format_args!("at most {}", Span(most)))?;
        }
        Ok(())
    }
}

/// The maximum of each time. A longer time is certainly a mistake in the settings, and sums of times can't overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn bound(holds: bool, name: &str, value: Duration, must: fmt::Arguments<'_>) -> Result<(), PolicyError> {
    if holds { Ok(()) } else { Err(PolicyError(format!("{name} = {}: must be {must}", Span(value)))) }
}

/// A time as it is written in `bulla.toml`: `7d`, `90s`, `1500ms`.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
        match units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", millis / unit),
            None => f.write_str("0s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Policy)) -> String {
        let mut policy = Policy::default();
        change(&mut policy);
        policy.check().expect_err("the policy should be refused").0
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_defaults_hold() {
        assert_eq!(Policy::default().check(), Ok(()));
    }

    #[test]
    fn bounds_hold_to_the_millisecond() {
        let edge = Policy {
            access_max_age: ACCESS_CEILING,
            replay_window: ACCESS_CEILING / 4,
            refresh_idle: secs(7200),
            session_max_age: secs(7200),
            pardon: Pardon::Every(secs(7200) + Duration::from_millis(1)),
            session_cap: 1,
            ..Policy::default()
        };
        assert_eq!(edge.check(), Ok(()));
        assert!(
            Policy { replay_window: ACCESS_CEILING / 4 + Duration::from_millis(1), ..edge }.check().is_err()
        );
    }

    #[test]
    fn a_refusal_names_the_setting_its_value_and_the_bound() {
        assert_eq!(
            refusal(|p| p.replay_window = secs(31)),
            "replay_window = 31s: must be at most a quarter of access_max_age (2m), so that a repeat is over before the next rotation"
        );
        assert_eq!(
            refusal(|p| p.pardon = Pardon::Every(secs(1800))),
            "pardon_every = 30m: must be more than refresh_idle (30m), or \"never\""
        );
        assert_eq!(refusal(|p| p.access_max_age = secs(901)), "access_max_age = 901s: must be at most 15m");
        assert_eq!(
            refusal(|p| p.session_max_age = secs(1799)),
            "refresh_idle = 30m: must be at most session_max_age (1799s)"
        );
        assert_eq!(refusal(|p| p.session_cap = 0), "session_cap = 0: must be at least 1");
        assert_eq!(refusal(|p| p.max_staleness = Duration::ZERO), "max_staleness = 0s: must be more than 0s");
    }

    #[test]
    fn no_time_may_be_zero_or_above_its_maximum() {
        for time in [Duration::ZERO, Duration::MAX] {
            refusal(|p| p.access_max_age = time);
            refusal(|p| p.refresh_idle = time);
            refusal(|p| p.session_max_age = time);
            refusal(|p| p.replay_window = time);
            refusal(|p| p.reauth_within = time);
            refusal(|p| p.pardon = Pardon::Every(time));
            refusal(|p| p.max_staleness = time);
        }
    }

    #[test]
    fn a_proof_is_recent_within_reauth_within_and_never_if_its_time_is_in_the_future() {
        let (policy, now) = (Policy::default(), Timestamp::from_millis(10_000_000));
        let recent =
            |at: Option<i64>| policy.is_recent(at.map(|ago| Timestamp::from_millis(now.millis() - ago)), now);
        assert!(recent(Some(0)) && recent(Some(600_000)) && recent(Some(-60_000)));
        assert!(!recent(None) && !recent(Some(600_001)) && !recent(Some(-60_001)));
    }

    #[test]
    fn pardons_can_be_switched_off() {
        assert_eq!(Policy { pardon: Pardon::Never, ..Policy::default() }.check(), Ok(()));
    }
}
