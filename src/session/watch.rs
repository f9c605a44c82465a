//! The futures that wait for the end of a session: how a principal asks for one, and how a revocation wakes them.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    clock::Timestamp,
    ids::{ClientId, Sid, UserId},
};

/// The parts of an access token that determine the end of its session.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) sid: Sid,
    pub(super) user: UserId,
    /// The client that holds the token.
    pub(super) client: Option<ClientId>,
    /// When the token was sealed.
    pub(super) issued_at: Timestamp,
}

/// Makes futures that complete when a session ends.
pub(super) trait SessionWatch: Send + Sync {
    /// Completes when the session ends.
    fn ended(&self, session: Watched) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The watch of an installation. A principal holds the watch of the installation that accepted it. The watch is a handle and not
/// part of the principal's content, so two watches are always equal. The default watches nothing.
#[derive(Clone, Default)]
pub(crate) struct Watch(pub(super) Option<Arc<dyn SessionWatch>>);

impl PartialEq for Watch {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Watch {}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "watched" } else { "not watched" })
    }
}

/// The sessions for which a future waits. A revocation wakes only the futures of its session.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<Sid, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    futures: usize,
    wake: Arc<Notify>,
}

impl Waiting {
    /// Adds a future that waits for this session. It is removed when the result is dropped.
    pub(super) fn register(self: &Arc<Self>, sid: Sid) -> Registered {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = waiting.entry(sid).or_default();
        entry.futures += 1;
        Registered { waiting: Arc::clone(self), sid, wake: Arc::clone(&entry.wake) }
    }

    /// Wakes the futures of one session. They check whether it has ended.
    pub(super) fn wake(&self, sid: Sid) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = waiting.get(&sid) {
            entry.wake.notify_waiters();
        }
    }

    /// Wakes all futures.
    pub(super) fn wake_all(&self) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().for_each(|entry| entry.wake.notify_waiters());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// The place of a waiting future in [`Waiting`].
#[derive(Debug)]
pub(super) struct Registered {
    waiting: Arc<Waiting>,
    sid: Sid,
    /// Notified when the session may have ended.
    pub(super) wake: Arc<Notify>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut waiting = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = waiting.get_mut(&self.sid) {
            entry.futures -= 1;
            if entry.futures == 0 {
                waiting.remove(&self.sid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_forgotten_when_its_last_future_is_dropped() {
        let (waiting, sid) = (Arc::new(Waiting::default()), Sid([1; 16]));
        let (one, two, other) =
            (waiting.register(sid), waiting.register(sid), waiting.register(Sid([2; 16])));
        assert_eq!(waiting.len(), 2);
        drop(one);
        assert_eq!(waiting.len(), 2);
        drop((two, other));
        assert_eq!(waiting.len(), 0);
    }

    #[tokio::test]
    async fn a_revocation_wakes_the_futures_of_its_session_only() {
        let waiting = Arc::new(Waiting::default());
        let (one, other) = (waiting.register(Sid([1; 16])), waiting.register(Sid([2; 16])));
        let (woken, not_woken) = (one.wake.notified(), other.wake.notified());
        waiting.wake(Sid([1; 16]));
        woken.await;
        let mut not_woken = std::pin::pin!(not_woken);
        assert!(!not_woken.as_mut().enable());
        waiting.wake_all();
        not_woken.await;
    }
}
