//! The refresh rule (docs/design/sessions.md): a pure function of row, presented token, time and policy.
//!
//! The other parts of a renewal are I/O around it: open the token, read the row, write the decision if the row is still the one
//! that was judged, seal the answer. `tests/it/session/refresh_model/` searches all interleavings of clients, thieves and nodes
//! with this same function.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    secret::Digest,
    session::{Pardon, Policy},
    store::SessionRow,
};

/// The fields of a session's row that the rule needs.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// SHA-256 of the session secret.
    pub secret_hash: Digest,
    /// How many times the refresh token was rotated.
    pub generation: u64,
    /// The time of the last rotation or pardon.
    pub rotated_at: Timestamp,
    /// The generation that was last pardoned, and the time.
    pub pardoned: Option<(u64, Timestamp)>,
    /// The end of the session: the earlier of the idle and the absolute expiry.
    pub ends_at: Timestamp,
    /// `User-Agent` of the device that began the session, or of the device it has moved to. With `bind_agent` it is always the
    /// first.
    pub agent: &'a str,
}

impl<'a> From<&'a SessionRow> for Chain<'a> {
    fn from(row: &'a SessionRow) -> Self {
        Self {
            secret_hash: row.secret_hash,
            generation: row.generation,
            rotated_at: row.rotated_at,
            pardoned: row.pardoned_gen.zip(row.pardoned_at),
            ends_at: row.ends_at(),
            agent: &row.device.user_agent,
        }
    }
}

/// The content of a refresh token, and the agent that presented it.
#[derive(Clone, Copy, Debug)]
pub struct RefreshAttempt<'a> {
    /// SHA-256 of the key in the token.
    pub secret_hash: Digest,
    /// The generation in the token.
    pub generation: u64,
    /// `User-Agent` of the request.
    pub agent: &'a str,
}

/// The part of the [`Policy`] that the rule uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// W: within this time the answer to a rotation can be asked for again.
    pub window: Duration,
    /// R: the least time between two rotations.
    pub rotate_after: Duration,
    /// How often a later repeat is pardoned.
    pub pardon: Pardon,
    /// Whether a repeat of the last rotation from another `User-Agent` counts as a late one.
    pub bind_agent: bool,
}

impl From<&Policy> for Rule {
    fn from(policy: &Policy) -> Self {
        Self {
            window: policy.replay_window,
            rotate_after: policy.rotate_after(),
            pardon: policy.pardon,
            bind_agent: policy.bind_agent,
        }
    }
}

/// The result of presenting a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The session has ended, or the key does not match its row. Nothing is written.
    Invalid,
    /// The token is ahead of its row, because the store was restored to an older state. The session continues from the token, and
    /// an alarm is raised.
    Forward {
        /// The row's next generation.
        to: u64,
    },
    /// The next generation.
    Rotate {
        /// The row's next generation.
        to: u64,
    },
    /// It is too early for a rotation: only a new access token is issued. Nothing is written.
    RepeatAccess,
    /// The answer to the last rotation was lost: a token of the row's generation is sealed again. Nothing is written.
    RepeatSame,
    /// Like `RepeatSame`, but late: pardoned, and the pardon is recorded in the row.
    Pardon {
        /// The generation that was presented.
        generation: u64,
    },
    /// The same token was pardoned before: it gets the same answer again. Nothing is written.
    PardonAgain,
    /// An outdated token outside every window: taken as theft. The row is deleted.
    Reuse,
}

/// Judges a presented token by its row. The first matching line of the table in docs/design/sessions.md decides.
///
/// `now` is the store's clock at the time the row was read. The caller checks first that the row exists and that its user may have
/// a session. The keys are compared in constant time.
pub fn decide(row: &Chain<'_>, presented: &RefreshAttempt<'_>, now: Timestamp, rule: &Rule) -> Outcome {
    if now >= row.ends_at || presented.secret_hash != row.secret_hash {
        return Outcome::Invalid;
    }
    let age = now.since(row.rotated_at);
    if presented.generation > row.generation {
        Outcome::Forward { to: presented.generation.saturating_add(1) }
    } else if presented.generation == row.generation {
        if age >= rule.rotate_after {
            Outcome::Rotate { to: row.generation.saturating_add(1) }
        } else {
            Outcome::RepeatAccess
        }
    } else if presented.generation + 1 == row.generation {
        let stranger = rule.bind_agent && presented.agent != row.agent;
        if age < rule.window && !stranger {
            Outcome::RepeatSame
        } else {
            decide_late_repeat(row, presented, now, rule)
        }
    } else {
        Outcome::Reuse
    }
}

/// Judges a repeat of the last rotation that comes too late to be a plain repeat.
fn decide_late_repeat(
    row: &Chain<'_>,
    presented: &RefreshAttempt<'_>,
    now: Timestamp,
    rule: &Rule,
) -> Outcome {
    let Pardon::Every(every) = rule.pardon else { return Outcome::Reuse };
    match row.pardoned {
        Some((generation, at)) if now.since(at) < every => {
            if generation == presented.generation {
                Outcome::PardonAgain
            } else {
                Outcome::Reuse
            }
        }
        _ => Outcome::Pardon { generation: presented.generation },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;
    const KEY: Digest = Digest([7; 32]);

    fn rule() -> Rule {
        Rule::from(&Policy::default())
    }

    /// A row of generation 5 that was rotated `age` milliseconds ago.
    fn row(age: i64) -> Chain<'static> {
        Chain {
            secret_hash: KEY,
            generation: 5,
            rotated_at: Timestamp::from_millis(NOW - age),
            pardoned: None,
            ends_at: Timestamp::from_millis(NOW + 1),
            agent: "ours",
        }
    }

    fn present(row: &Chain<'_>, generation: u64) -> Outcome {
        present_with(row, generation, &rule())
    }

    fn present_with(row: &Chain<'_>, generation: u64, rule: &Rule) -> Outcome {
        let presented = RefreshAttempt { secret_hash: KEY, generation, agent: "ours" };
        decide(row, &presented, Timestamp::from_millis(NOW), rule)
    }

    #[test]
    fn a_session_is_invalid_from_the_moment_it_ends() {
        for generation in 3..=6 {
            let over = Chain { ends_at: Timestamp::from_millis(NOW), ..row(99_000) };
            assert_eq!(present(&over, generation), Outcome::Invalid);
        }
        assert_eq!(present(&row(99_000), 5), Outcome::Rotate { to: 6 });
    }

    #[test]
    fn another_key_is_invalid_and_never_reuse() {
        for generation in [0, 3, 4, 5, 6, u64::MAX] {
            let presented = RefreshAttempt { secret_hash: Digest([8; 32]), generation, agent: "ours" };
            let outcome = decide(&row(99_000), &presented, Timestamp::from_millis(NOW), &rule());
            assert_eq!(outcome, Outcome::Invalid);
        }
    }

    #[test]
    fn a_token_ahead_of_its_row_moves_the_row_forward() {
        assert_eq!(present(&row(0), 6), Outcome::Forward { to: 7 });
        assert_eq!(present(&row(99_000), 900), Outcome::Forward { to: 901 });
        assert_eq!(present(&row(0), u64::MAX), Outcome::Forward { to: u64::MAX });
    }

    #[test]
    fn the_present_token_rotates_from_r_on_and_not_sooner() {
        assert_eq!(present(&row(60_000), 5), Outcome::Rotate { to: 6 });
        assert_eq!(present(&row(59_999), 5), Outcome::RepeatAccess);
        assert_eq!(present(&row(0), 5), Outcome::RepeatAccess);
    }

    #[test]
    fn a_negative_age_counts_as_zero() {
        let ahead = row(-600_000);
        assert_eq!(present(&ahead, 5), Outcome::RepeatAccess);
        assert_eq!(present(&ahead, 4), Outcome::RepeatSame);
        let pardoned_ahead =
            Chain { pardoned: Some((3, Timestamp::from_millis(NOW + 600_000))), ..row(10_000) };
        assert_eq!(present(&pardoned_ahead, 4), Outcome::Reuse);
    }

    #[test]
    fn the_previous_generation_is_repeated_within_the_window_and_pardoned_after_it() {
        assert_eq!(present(&row(0), 4), Outcome::RepeatSame);
        assert_eq!(present(&row(9_999), 4), Outcome::RepeatSame);
        assert_eq!(present(&row(10_000), 4), Outcome::Pardon { generation: 4 });
        assert_eq!(present(&row(1_700_000), 4), Outcome::Pardon { generation: 4 });
    }

    #[test]
    fn a_second_pardon_within_the_hour_is_for_the_same_generation_only() {
        let hour = 3_600_000;
        for (ago, same, other) in [
            (0, Outcome::PardonAgain, Outcome::Reuse),
            (hour - 1, Outcome::PardonAgain, Outcome::Reuse),
            (hour, Outcome::Pardon { generation: 4 }, Outcome::Pardon { generation: 4 }),
        ] {
            let at = Timestamp::from_millis(NOW - ago);
            assert_eq!(present(&Chain { pardoned: Some((4, at)), ..row(10_000) }, 4), same, "{ago}");
            assert_eq!(present(&Chain { pardoned: Some((3, at)), ..row(10_000) }, 4), other, "{ago}");
        }
    }

    #[test]
    fn an_earlier_pardon_does_not_shorten_the_replay_window() {
        let spent = Chain { pardoned: Some((3, Timestamp::from_millis(NOW - 20_000))), ..row(9_999) };
        assert_eq!(present(&spent, 4), Outcome::RepeatSame);
    }

    #[test]
    fn without_pardons_a_late_previous_generation_is_reuse() {
        let never = Rule { pardon: Pardon::Never, ..rule() };
        assert_eq!(present_with(&row(9_999), 4, &never), Outcome::RepeatSame);
        assert_eq!(present_with(&row(10_000), 4, &never), Outcome::Reuse);
    }

    #[test]
    fn a_token_two_generations_old_is_reuse_at_any_time() {
        for age in [-5, 0, 9_999, 10_000, 99_000] {
            for generation in 0..=3 {
                assert_eq!(present(&row(age), generation), Outcome::Reuse);
            }
        }
    }

    #[test]
    fn a_repeat_from_another_agent_is_a_pardon_if_agents_are_bound() {
        let presented = RefreshAttempt { secret_hash: KEY, generation: 4, agent: "theirs" };
        let now = Timestamp::from_millis(NOW);
        let bound = Rule { bind_agent: true, ..rule() };
        assert_eq!(decide(&row(0), &presented, now, &rule()), Outcome::RepeatSame);
        assert_eq!(decide(&row(0), &presented, now, &bound), Outcome::Pardon { generation: 4 });
        assert_eq!(present_with(&row(0), 4, &bound), Outcome::RepeatSame);
        let spent = Chain { pardoned: Some((3, now)), ..row(0) };
        assert_eq!(decide(&spent, &presented, now, &bound), Outcome::Reuse);
        let current = RefreshAttempt { generation: 5, ..presented };
        assert_eq!(decide(&row(60_000), &current, now, &bound), Outcome::Rotate { to: 6 });
    }
}
