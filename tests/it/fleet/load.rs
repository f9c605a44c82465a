//! A load of many clients: each chooses a session, a node and an operation, and records the result.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bulla::internals::{session::Policy, store::User};

use super::{
    Fleet, Issuer,
    history::{History, What},
    http_client::Door,
    load_client::Client,
};

/// Access tokens live for 40 seconds: renewals rotate every 20 seconds, and a lost answer can be requested again for 10
/// seconds.
pub const SETTINGS: [(&str, &str); 2] = [("BULLA_ACCESS_MAX_AGE", "40s"), ("BULLA_SESSION_CAP", "10000")];

pub fn policy() -> Policy {
    Policy { access_max_age: Duration::from_secs(40), ..Policy::default() }
}

/// A session and the cookie jar of its browser, which the browser's tabs share.
pub(super) struct Session {
    pub(super) number: usize,
    pub(super) sid: String,
    pub(super) jar: Mutex<Jar>,
    /// The time at which the end of the session was acknowledged.
    pub(super) over: Mutex<Option<Instant>>,
    pub(super) replaced: AtomicBool,
}

#[derive(Clone)]
pub(super) struct Jar {
    pub(super) access: String,
    /// The time at which the access token was requested.
    pub(super) since: Instant,
    pub(super) refresh: String,
    pub(super) generation: u64,
}

pub(super) struct Shared {
    pub(super) doors: Vec<Door>,
    pub(super) issuer: Issuer,
    pub(super) database: String,
    pub(super) users: Vec<User>,
    sessions: Mutex<Vec<Arc<Session>>>,
    numbers: AtomicUsize,
    pub(super) events: AtomicUsize,
    pub(super) stop: AtomicBool,
    pub(super) born: Instant,
}

/// The running clients.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<tokio::task::JoinHandle<Client>>,
}

impl Load {
    /// Begins `sessions` sessions before it returns, and starts `clients` clients that use them through these doors.
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
        // Begin only eight at a time: the store answers "unavailable" to a request that waits for a second.
        while shared.sessions().len() < sessions {
            let some = futures_util::future::join_all((0..8).map(|_| shared.begin())).await;
            shared.sessions().extend(some.into_iter().flatten().map(Arc::new));
        }
        let clients = (1..=clients).map(|seed| {
            let client = Client::new(&shared, seed);
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

    /// The time since the load started.
    pub fn now(&self) -> Duration {
        self.shared.born.elapsed()
    }

    /// The number of operations so far with a known result.
    pub fn operations(&self) -> usize {
        self.shared.events.load(Ordering::Relaxed)
    }

    pub async fn until(&self, operations: usize) {
        while self.operations() < operations {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the clients. Every session is then renewed once more, to show that no acknowledged rotation is lost.
    pub async fn stop(self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut history = History::default();
        for client in self.clients {
            history.events.extend(client.await.unwrap().seen);
        }
        let mut last = Client::new(&self.shared, 99);
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
    pub(super) fn sessions(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Session>>> {
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

    /// Begins a session without a password.
    pub(super) async fn begin(&self) -> Option<Session> {
        let user = &self.users[self.numbers.load(Ordering::Relaxed) % self.users.len()];
        let since = Instant::now();
        let issued = self.issuer.begin(user).await?;
        Some(self.session(issued.access.into_string(), since, issued.refresh.into_string()))
    }

    /// Begins a session by a login with a password.
    pub(super) async fn log_in(&self, door: &Door, user: usize) -> Option<Session> {
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
    pub(super) fn jar(&self) -> Jar {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn over(&self) -> Option<Instant> {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
