//! Starts an installation from its settings.

use std::{path::PathBuf, sync::Arc, time::Duration};

#[cfg(feature = "openid")]
use crate::identity::openid::{ProviderSettings, Providers};
use crate::{
    clock::{Clock, SystemClock},
    identity::{Hasher, PasswordRule, StoreUsers},
    installation::{Installation, RingFollower, StoreHealth, TriggerCheck, ring, upkeep},
    keyring::{KeyDirectory, Ring, RingError, Suite},
    login::Logins,
    session::{Parts, Policy, PolicyError, Sessions, Tokens},
    store::{Database, Store, StoreError, UserSource},
};

/// The reason why an installation does not start. `Display` tells an operator what is wrong, where, and how to fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// The public address is missing or is not an origin.
    #[error("{0}")]
    Site(String),
    /// The path of the login routes is not a plain path, or belongs to other routes.
    #[error("{0}")]
    Prefix(String),
}

/// The settings of an installation. Each has a default, except the two paths.
pub(crate) struct Settings {
    pub(crate) directory: KeyDirectory,
    pub(crate) database: Database,
    pub(crate) users: Option<Arc<dyn UserSource>>,
    #[cfg(feature = "openid")]
    pub(crate) providers: Vec<ProviderSettings>,
    pub(crate) policy: Policy,
    pub(crate) password: PasswordRule,
    /// The number of logins that can wait for the hashing pool.
    pub(crate) login_queue: usize,
    pub(crate) audit_keep: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether a ring is created if there is none and the database has recorded none.
    pub(crate) init: bool,
}

impl Settings {
    pub(crate) fn new(keys: PathBuf, database: Database) -> Self {
        Self {
            directory: KeyDirectory::new(keys),
            database,
            users: None,
            #[cfg(feature = "openid")]
            providers: Vec::new(),
            policy: Policy::default(),
            password: PasswordRule { min: 8 },
            login_queue: 64,
            audit_keep: Duration::from_secs(365 * 24 * 3600),
            clock: Arc::new(SystemClock),
            init: false,
        }
    }

    /// Opens the ring and the database, loads the revocations, and starts the tasks that keep them current. Needs a tokio runtime.
    pub(crate) async fn start(self) -> Result<Arc<Installation>, StartError> {
        self.policy.check()?;
        let readers = self.directory.allows_group_read();
        let store = self.database.open_for_server(Arc::clone(&self.clock), readers).await?;
        let ring = load_ring(&self.directory, &*store, &*self.clock, self.init).await?;

        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
        let hasher = Arc::new(Hasher::new(threads, self.login_queue));
        let ours = self.users.is_none();
        let users =
            self.users.unwrap_or_else(|| Arc::new(StoreUsers::new(Arc::clone(&store), Arc::clone(&hasher))));
        #[cfg(feature = "openid")]
        let providers = Providers::new(self.providers, Arc::clone(&store), Arc::clone(&users), ours);
        let parts = Parts {
            store,
            users,
            tokens: Arc::new(Tokens::new(ring)),
            policy: self.policy,
            clock: self.clock,
        };
        let sessions = Arc::new(Sessions::start(parts).await?);
        let installation = Arc::new(Installation {
            logins: Logins::new(
                Arc::clone(&sessions),
                #[cfg(feature = "openid")]
                providers,
                self.login_queue,
                ours,
            ),
            sessions,
            hasher,
            password: ours.then_some(self.password),
            ring: RingFollower::new(self.directory),
            triggers: TriggerCheck::default(),
            store_health: StoreHealth::default(),
        });
        tokio::spawn(upkeep::end_stale_streams(Arc::downgrade(&installation)));
        tokio::spawn(ring::follow(Arc::downgrade(&installation)));
        tokio::spawn(upkeep::sweep(Arc::downgrade(&installation), self.audit_keep));
        installation.check_triggers().await?;
        tokio::spawn(upkeep::check_periodically(Arc::downgrade(&installation)));
        Ok(installation)
    }
}

/// Loads the ring, and creates it first if `init` is set and neither the directory nor the database has one. Records its
/// generation in the database.
async fn load_ring(
    directory: &KeyDirectory,
    store: &dyn Store,
    clock: &dyn Clock,
    init: bool,
) -> Result<Ring, StartError> {
    let mark = store.ring_mark().await?;
    if init && mark.is_none() && !directory.exists() {
        match directory.init_at(Suite::Xaes256Gcm, clock.now()) {
            // Another node that started at the same time has created it.
            Err(_) if directory.exists() => {}
            made => drop(made?),
        }
    }
    let ring = directory.load()?;
    ring.check_mark(mark)?;
    store.record_ring(ring.generation, ring.fingerprint).await?;
    // If several nodes start at the same time and each has created its own ring, only one of them continues.
    ring.check_mark(store.ring_mark().await?)?;
    Ok(ring)
}
