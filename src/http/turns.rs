//! Requests of one login's callback take turns: a browser that retries or prefetches sends two at once, and a code is good for
//! one of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::OwnedMutexGuard;

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

/// The logins whose callbacks are being processed, by their state.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

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

    fn of(&self, state: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        assert_eq!(turns.0.lock().unwrap().len(), 1, "what nobody waits for is forgotten");
    }
}
