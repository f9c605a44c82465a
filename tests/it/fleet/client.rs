//! One of the clients of a load: what it does next, and what it saw.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    door::{Door, Tokens},
    history::{Event, What},
    load::{Session, Shared},
};
use crate::cluster::Shell;

/// A token this old is renewed rather than shown.
const OLD: Duration = Duration::from_secs(30);
/// How long the tokens of an ended session are still tried.
const HAUNTS: Duration = Duration::from_secs(3);
/// Of a thousand operations so many end a session, and so many renew one. The rest verify.
const ENDS: u64 = 5;
const RENEWALS: u64 = 80;

/// Somebody with a mind of their own; the same at every run.
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

/// One of the clients, and what it saw.
pub(super) struct Client {
    shared: Arc<Shared>,
    random: Random,
    pub(super) seen: Vec<Event>,
}

impl Client {
    /// Another seed, another mind.
    pub(super) fn new(shared: &Arc<Shared>, seed: u64) -> Self {
        let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { shared: Arc::clone(shared), random, seen: Vec::new() }
    }

    /// Until told to stop.
    pub(super) async fn work(mut self) -> Self {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let session = Arc::clone(self.random.one_of(&self.shared.sessions()));
            if session.over().is_some_and(|over| over.elapsed() > HAUNTS) {
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
                // The last answer wins, as in a browser, whatever it holds.
                let mut jar = session.jar.lock().unwrap_or_else(PoisonError::into_inner);
                (jar.access, jar.since) = (answer.set.access.unwrap(), began);
                if let (Some(refresh), Some(generation)) = (answer.set.refresh, held) {
                    (jar.refresh, jar.generation) = (refresh, generation);
                }
            }
            _ => stand_back().await,
        }
    }

    /// By a logout, or by somebody in a database shell.
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
            // The moments after it are the interesting ones.
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

/// Who gets no answer doesn't ask again at once.
async fn stand_back() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
