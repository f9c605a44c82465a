//! Requests of one login's callback take turns: a browser that retries or prefetches sends two at once, and a code is good for
//! one of them. A code that was refused is not asked about again when somebody reloads the page that says so.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use actix_web::{ResponseError as _, http::StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::http::Problem;

/// How long a request waits for the one before it, at most: as long as a provider may take for its answers.
const PATIENCE: Duration = Duration::from_secs(15);

/// A request's turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// Whether another request with the same state was processed meanwhile.
    pub(super) waited: bool,
    #[allow(dead_code, reason = "held until the turn ends")]
    held: Option<OwnedMutexGuard<()>>,
}

/// The most refusals that are remembered; the oldest is forgotten first.
const REMEMBERED: usize = 1024;

/// What tells one callback from another: a digest of its query.
type Id = [u8; 32];

#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The logins whose callbacks are being processed, by their state.
    running: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    /// Callbacks that were refused, and how.
    refused: Mutex<VecDeque<(Id, Problem)>>,
}

impl Turns {
    /// Waits until no other request processes the callback of this login, for a while.
    pub(super) async fn take(&self, state: &str) -> Turn {
        let turn = self.of(state);
        match Arc::clone(&turn).try_lock_owned() {
            Ok(held) => Turn { waited: false, held: Some(held) },
            Err(_) => {
                Turn { waited: true, held: tokio::time::timeout(PATIENCE, turn.lock_owned()).await.ok() }
            }
        }
    }

    /// How this callback was refused before. The same answer is no further attempt.
    pub(super) fn refusal(&self, query: &str) -> Option<Problem> {
        let all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: Id = Sha256::digest(query).into();
        all.iter().find(|(id, _)| *id == wanted).map(|(_, problem)| problem.clone())
    }

    /// Remembers that a callback was refused. Where the provider or the store can't tell, the next request is a new attempt.
    pub(super) fn refused(&self, query: &str, problem: &Problem) {
        let is_final = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::CONFLICT]
            .contains(&problem.status_code());
        if !is_final || self.refusal(query).is_some() {
            return;
        }
        let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        all.truncate(REMEMBERED - 1);
        all.push_front((Sha256::digest(query).into(), problem.clone()));
    }

    fn of(&self, state: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = all.get(state).and_then(Weak::upgrade) {
            return turn;
        }
        all.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        all.insert(state.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_of_one_login_take_turns_and_those_of_others_do_not_wait() {
        let turns = Turns::default();
        let first = turns.take("one").await;
        assert!(!first.waited && !turns.take("other").await.waited);
        let late = turns.take("one").await;
        assert!(late.waited && late.held.is_none(), "too long");
        let (second, ()) = tokio::join!(turns.take("one"), async { drop(first) });
        assert!(second.waited && second.held.is_some());
        drop(second);
        assert!(!turns.take("one").await.waited);
        assert!(!turns.take("last").await.waited);
        assert_eq!(turns.running.lock().unwrap().len(), 1, "what nobody waits for is forgotten");
    }
}
