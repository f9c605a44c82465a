//! One installation in a process: ring, store, sessions, and the tasks that keep them current. Servers and embedding programs hold
//! it as a handle.

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

/// The interval at which the keys directory is read. A change must be in force within 5 s.
const RING_POLL: Duration = Duration::from_secs(1);
/// The interval at which a node reports that it is running. A change of its ring is reported at once.
const REPORT: Duration = Duration::from_secs(3);
/// The interval at which the clock is checked. The triggers of the database are checked every second time.
const WATCH: Duration = Duration::from_secs(5);
/// The interval at which expired rows are deleted.
const SWEEP: Duration = Duration::from_secs(60);

/// The reason why an installation does not start. `Display` tells an operator what is wrong, where, and how to fix it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keys directory can't be used.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The settings contradict each other.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// The parts of an installation. Each has a default, except the two paths.
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
    /// Uses the users of the embedding program instead of the table `users`. Then only that program can change passwords.
    #[must_use]
    pub fn users(mut self, users: impl Users) -> Self {
        self.users = Some(Arc::new(users));
        self
    }

    /// The OpenID providers by which people can sign in. If [`users`](Self::users) is set, people link identities while they are
    /// signed in, and no user is created.
    #[must_use]
    pub fn providers(mut self, providers: Vec<ProviderSettings>) -> Self {
        self.providers = providers;
        self
    }

    /// The public address of the server; default `http://localhost:8080`.
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

    /// Shares the login with all subdomains of this domain. All of them must be trusted.
    #[must_use]
    pub fn cookie_domain(mut self, domain: Option<String>) -> Self {
        self.cookie_domain = domain;
        self
    }

    /// The rule for new passwords.
    #[must_use]
    pub fn password(mut self, rule: PasswordRule) -> Self {
        self.password = rule;
        self
    }

    /// The number of logins that can wait for the hashing pool (default 64).
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

    /// Accepts keys that their group may read, as in secrets that Kubernetes mounts, and an SQLite file that its group may read.
    #[must_use]
    pub fn allow_group_read(mut self, allow: bool) -> Self {
        self.directory = self.directory.allow_group_read(allow);
        self
    }

    /// Uses another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Creates a ring if there is none, unless the database has recorded one.
    #[must_use]
    pub fn init(mut self) -> Self {
        self.init = true;
        self
    }

    /// Opens the ring and the database, loads the revocations, and starts the tasks that keep them current. Needs a tokio runtime.
    pub async fn start(self) -> Result<Bulla, StartError> {
        self.policy.check()?;
        let readers = self.directory.allows_group_read();
        let store = self.database.open_for(Arc::clone(&self.clock), readers).await?;
        let mark = store.ring_mark().await?;
        if self.init && mark.is_none() && !self.directory.exists() {
            match self.directory.init_at(Suite::Xaes256Gcm, self.clock.now()) {
                // Another node that started at the same time has created it.
                Err(_) if self.directory.exists() => {}
                made => drop(made?),
            }
        }
        let ring = self.directory.load()?;
        ring.check_mark(mark)?;
        store.note_ring(ring.generation, ring.fingerprint).await?;
        // If several nodes start at the same time and each has created its own ring, only one of them continues.
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

/// An installation. Cheap to clone. When the last clone is dropped, its tasks and threads end.
#[derive(Clone)]
pub struct Bulla(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) sessions: Sessions,
    pub(super) providers: Providers,
    /// The login methods that the login page offers besides the password.
    pub(super) ways: Vec<Way>,
    pub(super) hasher: Arc<Hasher>,
    pub(super) throttle: Throttle,
    pub(super) sampler: Sampler,
    pub(super) turns: Turns,
    /// `None` if the users, and so their passwords, belong to the embedding program.
    pub(super) password: Option<PasswordRule>,
    pub(super) cookies: CookieJar,
    pub(super) site: Site,
    pub(super) content_policy: HeaderValue,
    /// The result of the last check of the store, for probes.
    pub(super) store_health: health::StoreHealth,
    /// The memory that incomplete requests can hold. Used only by this crate's own server.
    pub(super) intake: Arc<intake::Budget>,
    directory: KeyDirectory,
    ring_good: AtomicBool,
    /// The triggers of the database that were missing, disabled or changed at the last check.
    wrong_triggers: Mutex<Vec<String>>,
    reloading: Mutex<()>,
    /// The number of answers, by the first digit of their status.
    pub(super) answers: [AtomicU64; 6],
}

impl fmt::Debug for Bulla {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulla").field("origin", &self.0.site.origin()).finish_non_exhaustive()
    }
}

impl Bulla {
    /// Configures an installation with a keys directory and a database: the path of an SQLite file, or `postgres://…`. A missing
    /// file and missing tables are created.
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

    /// Whether the ring in force equals the one in the directory.
    pub fn ring_is_good(&self) -> bool {
        self.0.ring_good.load(Ordering::Relaxed)
    }

    /// Whether the triggers of the database are unchanged and active.
    pub fn triggers_are_good(&self) -> bool {
        self.0.wrong_triggers.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Reads the keys directory now (the server does this every second). If the ring can't be loaded, the last good one stays in
    /// force, without the keys that a newer `ring.json` revokes, and an alarm is raised.
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
    /// Checks the triggers of the database. Without them a session can be ended in a database shell without being revoked. Logs a
    /// change of the result.
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

    /// Puts a changed ring in force. Returns it if it was loaded completely.
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

/// The name of this process among the processes that share its database.
fn node_name() -> String {
    let mut tail = [0; 3];
    // Without randomness only the process id makes the name unique.
    let _ = random(&mut tail);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let tail: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{host}-{}-{tail}", std::process::id())
}

/// Follows the ring and reports that this node is running, until the last handle is dropped.
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

/// Checks the clock and the triggers until the last handle is dropped.
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

/// Deletes expired rows until the last handle is dropped. This is a separate task, because deleting a million rows must not delay
/// the revocation of a key.
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
