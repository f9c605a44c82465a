//! Changes of a session.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    store::SessionRow,
};

/// The change that a judged refresh writes. Times are the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// `generation` becomes `to`, `rotated_at` becomes `now`, the idle expiry becomes `now` + `idle`, but at most `expires_at`.
    Rotate {
        /// The new generation.
        to: u64,
        /// The idle life.
        idle: Duration,
        /// The time at which the rule judged the refresh.
        now: Timestamp,
    },
    /// `rotated_at` and `pardoned_at` become `now`, `pardoned_gen` becomes `generation`.
    Pardon {
        /// The pardoned generation.
        generation: u64,
        /// The time at which the rule judged the refresh.
        now: Timestamp,
    },
}

impl SessionRow {
    /// The row after a change.
    pub(in crate::store) fn after(&self, change: SessionChange) -> Self {
        let mut row = self.clone();
        match change {
            SessionChange::Rotate { to, idle, now } => {
                row.generation = to;
                row.rotated_at = now;
                row.idle_expires_at = now.plus(idle).min(self.expires_at);
            }
            SessionChange::Pardon { generation, now } => {
                row.pardoned_gen = Some(generation);
                row.rotated_at = now;
                row.pardoned_at = Some(now);
            }
        }
        row
    }
}

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// One session.
    One(Sid),
    /// One session, if it belongs to this user.
    OneOfUser(UserId, Sid),
    /// All sessions of a user.
    AllOfUser(UserId),
    /// All sessions of all users.
    All,
}
