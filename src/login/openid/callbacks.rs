//! Processes the requests of one login's callback one after another. A browser that retries or prefetches sends two at once, but a
//! code can be used only once. A refused code is remembered, so that a reload of the error page does not send it to the provider
//! again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::problem::Problem;

/// The maximum time that a request waits for the previous one: the time in which a provider must answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The turn of a request. The next request's turn begins when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Whether another request with the same state was processed meanwhile.
    pub(crate) waited: bool,
    #[allow(dead_code, reason = "held until the turn ends")]
    held: Option<OwnedMutexGuard<()>>,
}

/// The number of refusals that are remembered. The oldest one is dropped first.
const REMEMBERED: usize = 1024;

/// The identity of a callback: a digest of its query.
type Id = [u8; 32];

#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    /// The logins whose callbacks are being processed, by their state.
    running: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    /// The callbacks that were refused, with the problem.
    refused: Mutex<VecDeque<(Id, Problem)>>,
}

impl Callbacks {
    /// Waits, for a limited time, until no other request processes the callback of this login.
    pub(crate) async fn wait_for_turn(&self, state: &str) -> Turn {
        let turn = self.of(state);
        match Arc::clone(&turn).try_lock_owned() {
            Ok(held) => Turn { waited: false, held: Some(held) },
            Err(_) => {
                Turn { waited: true, held: tokio::time::timeout(PATIENCE, turn.lock_owned()).await.ok() }
            }
        }
    }

    /// The problem with which this callback was refused before. Repeating it does not count as another attempt.
    pub(crate) fn refusal(&self, query: &str) -> Option<Problem> {
        let all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: Id = Sha256::digest(query).into();
        all.iter().find(|(id, _)| *id == wanted).map(|(_, problem)| problem.clone())
    }

    /// Remembers that a callback was refused. If the provider or the store was unavailable, it is not remembered, so the next
    /// request is a new attempt.
    pub(crate) fn refused(&self, query: &str, problem: &Problem) {
        let is_final = [401, 403, 409].contains(&problem.status());
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
        let turns = Callbacks::default();
        let first = turns.wait_for_turn("one").await;
        assert!(!first.waited && !turns.wait_for_turn("other").await.waited);
        let late = turns.wait_for_turn("one").await;
        assert!(late.waited && late.held.is_none(), "too long");
        let (second, ()) = tokio::join!(turns.wait_for_turn("one"), async { drop(first) });
        assert!(second.waited && second.held.is_some());
        drop(second);
        assert!(!turns.wait_for_turn("one").await.waited);
        assert!(!turns.wait_for_turn("last").await.waited);
        assert_eq!(turns.running.lock().unwrap().len(), 1, "what nobody waits for is forgotten");
    }
}
