//! One installation in a process: ring, store, sessions and what keeps them current. The handle that servers and
//! embedding programs hold.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_web::http::header::HeaderValue;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::{
    attempts::Sampler, cookies::CookieJar, health, intake, origin::Site, pages::Way, secure, turns::Turns,
};
use crate::{
    clock::{Clock, SystemClock},
    identity::{
        Hasher, PasswordRule, StoreUsers, Throttle,
        openid::{ProviderSettings, Providers},
    },
    keyring::{KeyDirectory, Reload, Ring, RingError, Suite},
    secret::random,
    session::{Parts, Policy, PolicyError, Sessions, Tokens},
    store::{Database, StoreError, Users},
};

/// How often the keys directory is looked at: a change is in force well within 5 s.
const RING_POLL: Duration = Duration::from_secs(1);
/// How often a node says that it lives; at once when its ring changes.
const REPORT: Duration = Duration::from_secs(3);
/// How often the clock is looked at, and the triggers of the database at every second time.
const WATCH: Duration = Duration::from_secs(5);
/// How often what has expired is deleted.
const SWEEP: Duration = Duration::from_secs(60);

/// Why an installation doesn't start. `Display` is for an operator: what, where, and what mends it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keys directory.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Settings that contradict each other.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// What an installation is made from; each part has a default but the two paths.
pub struct Builder {
    directory: KeyDirectory,
    database: Database,
    users: Option<Arc<dyn Users>>,
    providers: Vec<ProviderSettings>,
    policy: Policy,
    site: Site,
    cookie_domain: Option<String>,
    password: PasswordRule,
    login_queue: usize,
    audit_keep: Duration,
    clock: Arc<dyn Clock>,
    init: bool,
}

impl Builder {
    /// Users of the embedding program instead of the table `users`. Their passwords are then that program's to change.
    #[must_use]
    pub fn users(mut self, users: impl Users) -> Self {
        self.users = Some(Arc::new(users));
        self
    }

    /// OpenID providers that people may come from. With [`users`](Self::users) of your own, identities are linked by those
    /// who are signed in, and no user is made.
    #[must_use]
    pub fn providers(mut self, providers: Vec<ProviderSettings>) -> Self {
        self.providers = providers;
        self
    }

    /// Where the world sees the server; default `http://localhost:8080`.
    #[must_use]
    pub fn site(mut self, site: Site) -> Self {
        self.site = site;
        self
    }

    /// Lifetimes and rules.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// One login for all subdomains of this domain; each of them is then trusted.
    #[must_use]
    pub fn cookie_domain(mut self, domain: Option<String>) -> Self {
        self.cookie_domain = domain;
        self
    }

    /// What a new password must be.
    #[must_use]
    pub fn password(mut self, rule: PasswordRule) -> Self {
        self.password = rule;
        self
    }

    /// How many logins may wait for the hashing pool (default 64).
    #[must_use]
    pub fn login_queue(mut self, waiting: usize) -> Self {
        self.login_queue = waiting;
        self
    }

    /// How long audit rows are kept (default 1 year).
    #[must_use]
    pub fn audit_keep(mut self, keep: Duration) -> Self {
        self.audit_keep = keep;
        self
    }

    /// Accepts group-readable keys, as Kubernetes mounts secrets, and a group-readable SQLite file.
    #[must_use]
    pub fn allow_group_read(mut self, allow: bool) -> Self {
        self.directory = self.directory.allow_group_read(allow);
        self
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes a ring where there is none, unless the database has known one.
    #[must_use]
    pub fn init(mut self) -> Self {
        self.init = true;
        self
    }

    /// Opens ring and database, loads the revocations, starts what keeps them current. Needs a tokio runtime.
    pub async fn start(self) -> Result<Bulla, StartError> {
        self.policy.check()?;
        let readers = self.directory.allows_group_read();
        let store = self.database.open_for(Arc::clone(&self.clock), readers).await?;
        let mark = store.ring_mark().await?;
        if self.init && mark.is_none() && !self.directory.exists() {
            match self.directory.init_at(Suite::Xaes256Gcm, self.clock.now()) {
                // Another node that starts at the same moment has made it.
                Err(_) if self.directory.exists() => {}
                made => drop(made?),
            }
        }
        let ring = self.directory.load()?;
        ring.check_mark(mark)?;
        store.note_ring(ring.generation, ring.fingerprint).await?;
        // Of nodes that start at the same moment, each with a ring of its own making, one goes on.
        ring.check_mark(store.ring_mark().await?)?;

        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
        let hasher = Arc::new(Hasher::new(threads, self.login_queue));
        let ours = self.users.is_none();
        let password = ours.then_some(self.password);
        let users =
            self.users.unwrap_or_else(|| Arc::new(StoreUsers::new(Arc::clone(&store), Arc::clone(&hasher))));
        let providers = Providers::new(self.providers, Arc::clone(&store), Arc::clone(&users), ours);
        let parts = Parts {
            store,
            users,
            tokens: Arc::new(Tokens::new(ring)),
            policy: self.policy,
            clock: self.clock,
        };
        let bulla = Bulla(Arc::new(Inner {
            sessions: Sessions::start(parts).await?,
            ways: providers.all().iter().map(Way::of).collect(),
            providers,
            hasher,
            throttle: Throttle::new(self.login_queue),
            sampler: Sampler::default(),
            turns: Turns::default(),
            password,
            cookies: CookieJar::new(self.cookie_domain),
            content_policy: secure::content_policy(&self.site),
            site: self.site,
            directory: self.directory,
            ring_good: AtomicBool::new(true),
            wrong_triggers: Mutex::default(),
            reloading: Mutex::new(()),
            answers: Default::default(),
            store_health: health::StoreHealth::default(),
            intake: Arc::default(),
        }));
        tokio::spawn(follow_ring(Arc::downgrade(&bulla.0)));
        tokio::spawn(sweep(Arc::downgrade(&bulla.0), self.audit_keep));
        bulla.0.look_at_triggers().await?;
        tokio::spawn(watch(Arc::downgrade(&bulla.0)));
        Ok(bulla)
    }
}

/// An installation. Cheap to clone; the last clone's end ends its tasks and threads.
#[derive(Clone)]
pub struct Bulla(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) sessions: Sessions,
    pub(super) providers: Providers,
    /// What the login page offers beside the password.
    pub(super) ways: Vec<Way>,
    pub(super) hasher: Arc<Hasher>,
    pub(super) throttle: Throttle,
    pub(super) sampler: Sampler,
    pub(super) turns: Turns,
    /// None where users, and so their passwords, are the embedding program's.
    pub(super) password: Option<PasswordRule>,
    pub(super) cookies: CookieJar,
    pub(super) site: Site,
    pub(super) content_policy: HeaderValue,
    /// What the last look at the store found, for probes.
    pub(super) store_health: health::StoreHealth,
    /// What incomplete requests may hold of memory, where this crate's own server listens.
    pub(super) intake: Arc<intake::Budget>,
    directory: KeyDirectory,
    ring_good: AtomicBool,
    /// Triggers of the database that are missing, disabled or changed, as last seen.
    wrong_triggers: Mutex<Vec<String>>,
    reloading: Mutex<()>,
    /// Answers by the first digit of their status.
    pub(super) answers: [AtomicU64; 6],
}

impl fmt::Debug for Bulla {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulla").field("origin", &self.0.site.origin()).finish_non_exhaustive()
    }
}

impl Bulla {
    /// An installation over a keys directory and a database: the path of a SQLite file, or `postgres://…` (file and tables are
    /// made if they are missing).
    pub fn builder(keys: impl Into<PathBuf>, database: impl Into<Database>) -> Builder {
        Builder {
            directory: KeyDirectory::new(keys),
            database: database.into(),
            users: None,
            providers: Vec::new(),
            policy: Policy::default(),
            site: Site::loopback(8080, false),
            cookie_domain: None,
            password: PasswordRule { min: 8 },
            login_queue: 64,
            audit_keep: Duration::from_secs(365 * 24 * 3600),
            clock: Arc::new(SystemClock),
            init: false,
        }
    }

    /// The sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// The pool that hashes passwords.
    pub fn hasher(&self) -> &Hasher {
        &self.0.hasher
    }

    /// Whether the ring in force is what the directory holds.
    pub fn ring_is_good(&self) -> bool {
        self.0.ring_good.load(Ordering::Relaxed)
    }

    /// Whether the database's triggers are what this program made them.
    pub fn triggers_are_good(&self) -> bool {
        self.0.wrong_triggers.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Looks at the keys directory now (the server does each second). A ring that can't be loaded leaves the last good
    /// one in force, less what a newer `ring.json` revokes, and raises an alarm.
    pub async fn reload_ring(&self) {
        let inner = Arc::clone(&self.0);
        let Ok(Some(ring)) = tokio::task::spawn_blocking(move || inner.look_at_ring()).await else { return };
        let store = &self.0.sessions.parts().store;
        if let Err(error) = store.note_ring(ring.generation, ring.fingerprint).await {
            tracing::warn!(%error, "the ring's generation could not be recorded");
        }
    }
}

impl Inner {
    /// Looks whether sessions can still end unrevoked in a database shell, and says so when that changes.
    async fn look_at_triggers(&self) -> Result<(), StoreError> {
        let wrong = self.sessions.parts().store.missing_triggers().await?;
        let mut known = self.wrong_triggers.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != wrong {
            match wrong.is_empty() {
                true => tracing::info!("the database's triggers are as they should be again"),
                false => tracing::error!(
                    triggers = %wrong.join(", "),
                    "triggers of the database are missing, disabled or changed: a session can end in a database shell \
                     without being revoked; `bulla init` makes them again"
                ),
            }
        }
        *known = wrong;
        Ok(())
    }

    /// Puts a changed ring in force; returns it if it is a whole new one.
    fn look_at_ring(&self) -> Option<Arc<Ring>> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = &self.sessions.parts().tokens;
        let good = match self.directory.reload(&tokens.ring()) {
            Reload::Unchanged => true,
            Reload::Changed(ring) => {
                tracing::info!(generation = ring.generation, "key ring reloaded");
                tokens.install(ring);
                self.ring_good.store(true, Ordering::Relaxed);
                return Some(tokens.ring());
            }
            Reload::Degraded(ring, error) => {
                if self.ring_good.load(Ordering::Relaxed) {
                    tracing::error!(%error, "the key ring can't be loaded; the last good one stays in force");
                }
                tokens.install(ring);
                false
            }
        };
        self.ring_good.store(good, Ordering::Relaxed);
        None
    }
}

/// What this process calls itself among those that share its database.
fn node_name() -> String {
    let mut tail = [0; 3];
    // Without randomness the process' number has to do.
    let _ = random(&mut tail);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let tail: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{host}-{}-{tail}", std::process::id())
}

/// Follows the ring, and says that this node lives, until the last handle is gone.
async fn follow_ring(inner: Weak<Inner>) {
    let mut poll = ticks(RING_POLL);
    let name = node_name();
    let mut reported: Option<(Instant, u64)> = None;
    loop {
        poll.tick().await;
        let Some(bulla) = inner.upgrade().map(Bulla) else { return };
        bulla.reload_ring().await;
        let generation = bulla.sessions().parts().tokens.ring().generation;
        if reported.is_none_or(|(at, of)| at.elapsed() >= REPORT || of != generation) {
            reported = Some((Instant::now(), generation));
            let report =
                bulla.sessions().parts().store.report_node(&name, generation, env!("CARGO_PKG_VERSION"));
            if let Err(error) = report.await {
                tracing::warn!(%error, "the ring in force here could not be reported");
            }
        }
    }
}

/// Looks at the clock and at the triggers until the last handle is gone.
async fn watch(inner: Weak<Inner>) {
    let mut time = ticks(WATCH);
    for turn in 0_u64.. {
        time.tick().await;
        let Some(bulla) = inner.upgrade().map(Bulla) else { return };
        if let Err(error) = bulla.sessions().look_at_clock().await {
            tracing::debug!(%error, "the clock could not be looked at");
        }
        if turn % 2 == 1
            && let Err(error) = bulla.0.look_at_triggers().await
        {
            tracing::warn!(%error, "the database's triggers could not be looked at");
        }
    }
}

/// Sweeps until the last handle is gone. A task of its own: a million rows are no reason to be late for a revoked key.
async fn sweep(inner: Weak<Inner>, audit_keep: Duration) {
    let mut time = ticks(SWEEP);
    time.reset(); // not at start, when there is enough to do
    loop {
        time.tick().await;
        let Some(bulla) = inner.upgrade().map(Bulla) else { return };
        if let Err(error) = bulla.sessions().sweep(audit_keep).await {
            tracing::warn!(%error, "what has expired could not be swept");
        }
        if let Err(error) = bulla.0.record_the_unrecorded().await {
            tracing::warn!(%error, "the number of events that were not recorded could not be recorded");
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
