//! One client of a load: it chooses its next operation at random and records the results.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    history::{Event, What},
    http_client::{Door, Tokens},
    load::{Session, Shared},
};
use crate::support::cluster::Shell;

/// The client renews an access token of this age instead of presenting it.
const OLD: Duration = Duration::from_secs(30);
/// How long the clients continue to try the tokens of an ended session.
const USE_AFTER_END: Duration = Duration::from_secs(3);
/// A client draws a number below 1000 for each operation. Below `ENDS` it ends a session; from there to `RENEWALS` it renews
/// one. Otherwise it verifies the access token, or renews it if it is old.
const ENDS: u64 = 5;
const RENEWALS: u64 = 80;

/// A pseudo-random generator with a fixed seed, so that every run draws the same numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// A client and the events that it has recorded.
pub(super) struct Client {
    shared: Arc<Shared>,
    random: Random,
    pub(super) seen: Vec<Event>,
}

impl Client {
    /// Creates a client. Each seed gives another sequence of operations.
    pub(super) fn new(shared: &Arc<Shared>, seed: u64) -> Self {
        let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { shared: Arc::clone(shared), random, seen: Vec::new() }
    }

    /// Performs operations until the load is stopped.
    pub(super) async fn work(mut self) -> Self {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let session = Arc::clone(self.random.one_of(&self.shared.sessions()));
            if session.over().is_some_and(|over| over.elapsed() > USE_AFTER_END) {
                self.replace(&session).await;
                continue;
            }
            match self.random.below(1000) {
                ..ENDS if session.over().is_none() => self.end(&session).await,
                ENDS..RENEWALS => self.renew(&session, None).await,
                _ if session.jar().since.elapsed() > OLD => self.renew(&session, None).await,
                _ => self.verify(&session, None).await,
            }
        }
        self
    }

    fn door(&mut self, through: Option<usize>) -> Door {
        let doors = &self.shared.doors;
        through.map_or_else(|| self.random.one_of(doors).clone(), |door| doors[door].clone())
    }

    fn saw(&mut self, session: &Session, began: Instant, what: What) {
        let at = |instant: Instant| instant.duration_since(self.shared.born);
        self.seen.push(Event { session: session.number, began: at(began), ended: at(Instant::now()), what });
        self.shared.events.fetch_add(1, Ordering::Relaxed);
    }

    async fn verify(&mut self, session: &Session, through: Option<usize>) {
        let (jar, door) = (session.jar(), self.door(through));
        let began = Instant::now();
        match door.passes(&Tokens::access(&jar.access)).await {
            Some(accepted) => self.saw(session, began, What::Verified { accepted }),
            None => stand_back().await,
        }
    }

    pub(super) async fn renew(&mut self, session: &Session, through: Option<usize>) {
        let (jar, door) = (session.jar(), self.door(through));
        let (began, shown) = (Instant::now(), jar.generation);
        match door.refresh(&jar.refresh).await {
            Some(answer) if answer.status == 401 => {
                self.saw(session, began, What::Renewed { shown, held: None })
            }
            Some(answer) if answer.status == 200 => {
                let held = answer.set.refresh.as_ref().map(|token| self.shared.issuer.generation(token));
                self.saw(session, began, What::Renewed { shown, held: Some(held.unwrap_or(shown)) });
                // The last answer wins, as in a browser, whichever tokens it has.
                let mut jar = session.jar.lock().unwrap_or_else(PoisonError::into_inner);
                (jar.access, jar.since) = (answer.set.access.unwrap(), began);
                if let (Some(refresh), Some(generation)) = (answer.set.refresh, held) {
                    (jar.refresh, jar.generation) = (refresh, generation);
                }
            }
            _ => stand_back().await,
        }
    }

    /// Ends a session by a logout or by a `DELETE` in a database shell.
    async fn end(&mut self, session: &Session) {
        let (jar, door) = (session.jar(), self.door(None));
        let began = Instant::now();
        let acknowledged = if self.random.below(2) == 0 {
            let shown = Tokens { access: Some(jar.access), refresh: Some(jar.refresh) };
            door.log_out(&shown).await.is_some_and(|answer| answer.status == 204)
        } else {
            let (url, sql) =
                (self.shared.database.clone(), format!("DELETE FROM sessions WHERE sid = '{}'", session.sid));
            let typed = move || Shell::connect(&url).and_then(|shell| shell.run(&sql)).is_ok();
            tokio::task::spawn_blocking(typed).await.unwrap()
        };
        self.saw(session, began, What::Ended { acknowledged });
        if acknowledged {
            *session.over.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            // Try the tokens at every node at once: errors are most likely right after the end.
            for door in 0..self.shared.doors.len() {
                self.verify(session, Some(door)).await;
                self.renew(session, Some(door)).await;
            }
        }
    }

    async fn replace(&mut self, session: &Arc<Session>) {
        if session.replaced.swap(true, Ordering::Relaxed) {
            return;
        }
        let new = if self.random.below(4) == 0 {
            let user = self.random.below(u64::MAX) as usize;
            let door = self.door(None);
            self.shared.log_in(&door, user).await
        } else {
            self.shared.begin().await
        };
        let Some(new) = new else {
            session.replaced.store(false, Ordering::Relaxed);
            return stand_back().await;
        };
        let mut sessions = self.shared.sessions();
        let place = sessions.iter().position(|other| Arc::ptr_eq(other, session)).unwrap();
        sessions[place] = Arc::new(new);
    }
}

/// Waits a little after a request without a usable answer.
async fn stand_back() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
