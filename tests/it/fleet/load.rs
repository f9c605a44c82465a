//! Many clients at once: each picks a session, a way in and something to do, and writes down what it saw.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bulla::{session::Policy, store::User};

use super::{
    Fleet, Issuer,
    door::{Door, Tokens},
    history::{Event, History, What},
};
use crate::cluster::Shell;

/// Access tokens that live for 40 seconds: renewals rotate every 20, and a lost answer may be asked for again for 10.
pub const SETTINGS: [(&str, &str); 2] = [("BULLA_ACCESS_MAX_AGE", "40s"), ("BULLA_SESSION_CAP", "10000")];

pub fn policy() -> Policy {
    Policy { access_max_age: Duration::from_secs(40), ..Policy::default() }
}

/// A token this old is renewed rather than shown.
const OLD: Duration = Duration::from_secs(30);
/// How long the tokens of an ended session are still tried.
const HAUNTS: Duration = Duration::from_secs(3);
/// Of a thousand operations so many end a session, and so many renew one. The rest verify.
const ENDS: u64 = 3;
const RENEWALS: u64 = 60;

/// A session and the jar of its browser, shared by its tabs.
struct Session {
    number: usize,
    sid: String,
    jar: Mutex<Jar>,
    /// When its end was acknowledged.
    over: Mutex<Option<Instant>>,
    replaced: AtomicBool,
}

#[derive(Clone)]
struct Jar {
    access: String,
    /// When the access token was asked for.
    since: Instant,
    refresh: String,
    generation: u64,
}

struct Shared {
    doors: Vec<Door>,
    issuer: Issuer,
    database: String,
    users: Vec<User>,
    sessions: Mutex<Vec<Arc<Session>>>,
    numbers: AtomicUsize,
    events: AtomicUsize,
    stop: AtomicBool,
    born: Instant,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<tokio::task::JoinHandle<Client>>,
}

impl Load {
    /// `sessions` of them, begun before this returns, and `clients` at work on them through these doors.
    pub async fn start(fleet: &Fleet, doors: &[Door], sessions: usize, clients: u64) -> Self {
        let issuer = fleet.issuer(policy()).await;
        let mut users = Vec::new();
        for number in 0..20 {
            users.push(issuer.user(&format!("user {number}")).await);
        }
        let shared = Arc::new(Shared {
            doors: doors.into(),
            issuer,
            database: fleet.database(),
            users,
            sessions: Mutex::default(),
            numbers: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            born: Instant::now(),
        });
        // Not all at once: nobody waits a second for an answer of the store.
        while shared.sessions().len() < sessions {
            let some = futures_util::future::join_all((0..8).map(|_| shared.begin())).await;
            shared.sessions().extend(some.into_iter().flatten().map(Arc::new));
        }
        let clients = (1..=clients).map(|seed| {
            let client = Client { shared: Arc::clone(&shared), random: Random(seed), seen: Vec::new() };
            tokio::spawn(client.work())
        });
        let clients = clients.collect();
        Self { shared, clients }
    }

    pub fn issuer(&self) -> &Issuer {
        &self.shared.issuer
    }

    pub fn users(&self) -> &[User] {
        &self.shared.users
    }

    /// Since the beginning.
    pub fn now(&self) -> Duration {
        self.shared.born.elapsed()
    }

    /// Operations so far whose outcome is known.
    pub fn operations(&self) -> usize {
        self.shared.events.load(Ordering::Relaxed)
    }

    pub async fn until(&self, operations: usize) {
        while self.operations() < operations {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the work. Whoever was not ended renews once more: nothing that was acknowledged may be lost.
    pub async fn stop(self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut history = History::default();
        for client in self.clients {
            history.events.extend(client.await.unwrap().seen);
        }
        let mut last = Client { shared: Arc::clone(&self.shared), random: Random(99), seen: Vec::new() };
        let sessions = self.shared.sessions().clone();
        for session in sessions {
            last.renew(&session, None).await;
        }
        history.events.append(&mut last.seen);
        let elapsed = self.shared.born.elapsed();
        let count = |is: fn(&What) -> bool| history.events.iter().filter(|event| is(&event.what)).count();
        println!(
            "{} operations in {elapsed:.1?}: {} verifications ({} refused), {} renewals ({} refused), {} ends, {} sessions",
            history.events.len(),
            count(|what| matches!(what, What::Verified { .. })),
            count(|what| matches!(what, What::Verified { accepted: false })),
            count(|what| matches!(what, What::Renewed { .. })),
            count(|what| matches!(what, What::Renewed { held: None, .. })),
            count(|what| matches!(what, What::Ended { acknowledged: true })),
            self.shared.numbers.load(Ordering::Relaxed),
        );
        history
    }
}

impl Shared {
    fn sessions(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, access: String, since: Instant, refresh: String) -> Session {
        let said = self.issuer.opened(&refresh);
        let generation = said["gen"].as_u64().unwrap();
        Session {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            sid: said["sid"].as_str().unwrap().to_owned(),
            jar: Mutex::new(Jar { access, since, refresh, generation }),
            over: Mutex::default(),
            replaced: AtomicBool::new(false),
        }
    }

    /// Without a password.
    async fn begin(&self) -> Option<Session> {
        let user = &self.users[self.numbers.load(Ordering::Relaxed) % self.users.len()];
        let since = Instant::now();
        let issued = self.issuer.begin(user).await?;
        Some(self.session(issued.access.into_string(), since, issued.refresh.into_string()))
    }

    /// As people do it.
    async fn log_in(&self, door: &Door, user: usize) -> Option<Session> {
        let since = Instant::now();
        let set = door
            .log_in(&self.users[user % self.users.len()].name)
            .await
            .filter(|answer| answer.status == 200)?
            .set;
        Some(self.session(set.access?, since, set.refresh?))
    }
}

impl Session {
    fn jar(&self) -> Jar {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn over(&self) -> Option<Instant> {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
struct Client {
    shared: Arc<Shared>,
    random: Random,
    seen: Vec<Event>,
}

impl Client {
    async fn work(mut self) -> Self {
        self.random.0 = self.random.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
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
        match door.look(&Tokens::access(&jar.access)).await.map(|answer| answer.status) {
            Some(status @ (200 | 401)) => {
                self.saw(session, began, What::Verified { accepted: status == 200 })
            }
            _ => stand_back().await,
        }
    }

    async fn renew(&mut self, session: &Session, through: Option<usize>) {
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
