//! Waits for the end of a session, for event streams and WebSockets: a revocation, the expiry of the session, or a revocation feed
//! that is too old. The streams of a machine end in the same way with its service token.
//!
//! A waiting future has no timer that polls. The denylist wakes it when its session is revoked, one task of the installation wakes
//! all futures when the feed is too old ([`Sessions::wake_if_stale`]), and a timer wakes it once at the time at which the session
//! expires unless it is renewed. Only then the row is read.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    clock::Timestamp,
    ids::{ClientId, Sid},
    session::{
        Counter, Machine, OnStale, Principal, SERVICE_MAX_AGE, Sessions,
        watch::{SessionWatch, Watch, Watched},
    },
    store::{Actor, AuditEvent, Event, StoreError, with_time_budget},
};

/// The time between two reads of the row if the store does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// How long the cut streams of one session are counted before they become an audit row.
const COLLECT: Duration = Duration::from_secs(1);
/// The shortest time between two reads of the row.
const LEAST: Duration = Duration::from_millis(20);

/// The watch of these sessions. Does not keep them alive.
struct Watcher(Weak<Sessions>);

impl SessionWatch for Watcher {
    fn ended(&self, session: Watched) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(ended(Weak::clone(&self.0), session))
    }
}

impl Sessions {
    /// The watch that the principals of these sessions get. Each thread that serves requests should have its own, so that the
    /// threads don't share a reference count.
    pub(crate) fn watch(self: &Arc<Self>) -> Watch {
        Watch(Some(Arc::new(Watcher(Arc::downgrade(self)))))
    }

    /// The principal with the watch of these sessions, as a guard passes it on.
    pub fn watched(self: &Arc<Self>, principal: Principal) -> Principal {
        principal.watched_by(&self.watch())
    }

    /// Wakes all futures that wait for the end of a session if the revocation feed is too old for them. Called every half second.
    pub(crate) fn wake_if_stale(&self) {
        if self.is_too_stale() {
            self.denylist().waiting().wake_all();
        }
    }

    /// Whether the feed is so old that no request with an access token is accepted any more: `max_staleness` if the settings refuse
    /// tokens then, else one life of an access token more, because no token is renewed while the store is unavailable.
    fn is_too_stale(&self) -> bool {
        self.denylist().age() > self.longest_staleness()
    }

    fn longest_staleness(&self) -> Duration {
        let policy = &self.parts.policy;
        match policy.on_stale {
            OnStale::Refuse => policy.max_staleness,
            OnStale::Serve => policy.max_staleness + policy.access_max_age,
        }
    }

    /// The time until the session expires unless it is renewed. `None` if it has ended or its user is disabled.
    async fn time_left(&self, session: &Watched) -> Result<Option<Duration>, StoreError> {
        let (found, now) = self.parts.users.of_session(&*self.parts.store, session.sid).await?;
        let Some((row, Some(_))) = found else { return Ok(None) };
        let lives = row.user_id == session.user && now < row.ends_at();
        Ok(lives.then(|| row.ends_at().since(now)))
    }
}

impl Sessions {
    /// Counts a stream of this session that the gateway cut off. The audit row follows after [`COLLECT`]. Needs a tokio runtime.
    pub(crate) fn count_cut_stream(self: &Arc<Self>, sid: Sid) {
        self.counters.add(Counter::StreamCut);
        if !self.cut_streams.add(sid) {
            return;
        }
        let sessions = Arc::clone(self);
        tokio::spawn(async move {
            sleep(COLLECT).await;
            let event = AuditEvent::new(Event::StreamsCut, Actor::System, sid.to_string())
                .with(serde_json::json!({"streams": sessions.cut_streams.take(sid)}));
            if let Err(error) = sessions.parts.store.record(event).await {
                tracing::warn!(%error, %sid, "the audit row about streams that ended with their session can't be written");
            }
        });
    }
}

/// Completes when the session ends, or when the sessions themselves are dropped.
async fn ended(sessions: Weak<Sessions>, session: Watched) {
    let Some(registered) = sessions.upgrade().map(|it| it.denylist().waiting().register(session.sid)) else {
        return;
    };
    let mut read_at = Instant::now();
    let mut unknown_since = None;
    loop {
        // Made before the checks, so that no revocation after them is missed.
        let woken = registered.wake.notified();
        let Some(these) = sessions.upgrade() else { return };
        let revoked = these.unless_revoked(session.sid, session.client.as_ref(), session.issued_at).is_err();
        if revoked || these.is_too_stale() {
            return;
        }
        let now = Instant::now();
        if now >= read_at {
            match with_time_budget(these.time_left(&session)).await {
                Ok(None) => return,
                Ok(Some(left)) => {
                    unknown_since = None;
                    read_at = Instant::now() + left.max(LEAST);
                }
                Err(_) if now - *unknown_since.get_or_insert(now) > these.longest_staleness() => return,
                Err(_) => read_at = Instant::now() + RETRY,
            }
        }
        drop(these);
        tokio::select! {
            () = woken => {}
            () = sleep_until(read_at) => {}
        }
    }
}

impl Sessions {
    /// A future that completes when a service token is no longer accepted: when it is revoked, alone or with all tokens of its
    /// client, when it has expired, or when the revocation feed is too old. The client is revoked when it is disabled or deleted.
    pub fn service_ended(self: &Arc<Self>, machine: &Machine) -> impl Future<Output = ()> + Send + use<> {
        let (sessions, client) = (Arc::downgrade(self), machine.client().clone());
        service_ended(sessions, machine.sid(), client, machine.issued_at())
    }
}

async fn service_ended(sessions: Weak<Sessions>, sid: Sid, client: ClientId, issued_at: Timestamp) {
    let Some(registered) = sessions.upgrade().map(|it| it.denylist().waiting().register(sid)) else {
        return;
    };
    loop {
        // Made before the checks, so that no revocation after them is missed.
        let woken = registered.wake.notified();
        let Some(these) = sessions.upgrade() else { return };
        let left = issued_at.plus(SERVICE_MAX_AGE).since(these.parts.clock.now());
        let revoked = these.unless_revoked(sid, Some(&client), issued_at).is_err();
        if revoked || left.is_zero() || these.is_too_stale() {
            return;
        }
        drop(these);
        tokio::select! {
            () = woken => {}
            () = sleep(left.max(LEAST)) => {}
        }
    }
}

impl Drop for Sessions {
    /// Completes the futures that wait: without the sessions they would never know of a revocation.
    fn drop(&mut self) {
        self.denylist().waiting().wake_all();
    }
}
