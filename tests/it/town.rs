//! One installation for tests: a database and a ring of its own, a clock that stands still, any number of nodes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bulla::{
    clock::{Clock, SystemClock, Timestamp},
    identity::{Hasher, StoreUsers},
    ids::Sid,
    keyring::{KeyState, Ring, RingKey, RootKey, Suite},
    session::{Denied, Issued, Parts, Policy, RenewMode, Renewed, Sessions, Tokens},
    store::{AuditEvent, AuditRow, Device, NewUser, SessionRow, Store, Transport, User, sqlite::SqliteStore},
    token::{OpenBuffer, SealedToken},
};

/// A clock that goes only when told.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts with the system's time: the database's triggers have only that one.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(SystemClock.now().millis())))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }

    pub(crate) fn set_back(&self, by: Duration) {
        self.0.fetch_sub(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A ring in memory: these states, in this order, each with a key of its own.
pub(crate) fn ring(states: &[KeyState]) -> Ring {
    ring_of(Suite::Xaes256Gcm, states)
}

/// The same under any suite.
pub(crate) fn ring_of(suite: Suite, states: &[KeyState]) -> Ring {
    let key = |state: &KeyState| {
        let root = RootKey::generate(suite).unwrap();
        RingKey {
            kid: root.kid(),
            state: *state,
            suite: root.suite(),
            since: Timestamp::EPOCH,
            root: Some(root),
        }
    };
    let keys = states.iter().map(key).collect();
    Ring { generation: 1, not_before: Timestamp::EPOCH, fingerprint: [0; 32], keys }
}

/// What all nodes share.
pub(crate) struct Town {
    _home: tempfile::TempDir,
    pub(crate) database: PathBuf,
    /// The nodes' clock and the store's, unless a test gives a node another one.
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ring: Ring,
    pub(crate) policy: Policy,
}

impl Town {
    pub(crate) fn new() -> Self {
        Self::with(Policy::default())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        policy.check().unwrap();
        let home = tempfile::tempdir().unwrap();
        let database = home.path().join("bulla.db");
        let ring = ring(&[KeyState::Active, KeyState::Staged]);
        Self { _home: home, database, clock: ManualClock::new(), ring, policy }
    }

    /// Another server over the same database and ring.
    pub(crate) async fn node(&self) -> Node {
        self.node_with_clock(self.clock.clone()).await
    }

    /// A server whose own clock isn't the store's.
    pub(crate) async fn node_with_clock(&self, clock: Arc<ManualClock>) -> Node {
        let store = Arc::new(SqliteStore::open(&self.database, self.clock.clone()).unwrap());
        let parts = Parts {
            store: store.clone(),
            users: Arc::new(StoreUsers::new(store.clone(), Arc::new(Hasher::new(1, 1)))),
            tokens: Arc::new(Tokens::new(self.ring.clone())),
            policy: self.policy.clone(),
            clock,
        };
        Node { sessions: Arc::new(Sessions::start(parts).await.unwrap()), store }
    }

    /// A connection as somebody in a database shell has it.
    pub(crate) fn shell(&self) -> rusqlite::Connection {
        let shell = rusqlite::Connection::open(&self.database).unwrap();
        shell.busy_timeout(secs(10)).unwrap();
        shell
    }

    /// Every column of a session's row, as stored; empty if there is none.
    pub(crate) fn stored(&self, sid: Sid) -> Vec<rusqlite::types::Value> {
        let shell = self.shell();
        let mut statement = shell.prepare("SELECT * FROM sessions WHERE sid = ?").unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([sid.to_string()]).unwrap();
        let row = rows.next().unwrap();
        row.map_or_else(Vec::new, |row| (0..columns).map(|at| row.get(at).unwrap()).collect())
    }
}

/// One server.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Arc<SqliteStore>,
}

pub(crate) fn device() -> Device {
    Device { user_agent: "tests/1".into(), ip: "192.0.2.7".into() }
}

impl Node {
    pub(crate) async fn user(&self, name: &str) -> User {
        let new = NewUser { name: name.into(), roles: vec!["reader".into()], ..NewUser::default() };
        let row = self.store.add_user(new, AuditEvent::new("user.added", "tests", "")).await.unwrap();
        User { id: row.id, name: row.name, roles: row.roles, claims: row.claims }
    }

    pub(crate) async fn begin(&self, user: &User) -> Issued {
        self.sessions.begin(user, Transport::Cookie, device(), None).await.unwrap()
    }

    pub(crate) async fn renew(&self, refresh: &SealedToken) -> Result<Renewed, Denied> {
        self.sessions.renew(refresh.as_str(), &device(), RenewMode::Rotate).await
    }

    pub(crate) async fn row(&self, sid: Sid) -> Option<SessionRow> {
        self.store.session(sid).await.unwrap().0
    }

    /// What a refresh token says.
    pub(crate) fn opened(&self, refresh: &SealedToken) -> serde_json::Value {
        let parts = self.sessions.parts();
        let mut buffer = OpenBuffer::new();
        let opened = parts.tokens.refresh(|keys| {
            keys.open(refresh.as_str(), parts.clock.now(), secs(86_400 * 30), &mut buffer)
                .map(|o| o.payload.to_owned())
        });
        serde_json::from_str(&opened.unwrap()).unwrap()
    }

    /// The same token saying something else: what only a holder of the ring can make.
    pub(crate) fn forged(
        &self,
        refresh: &SealedToken,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> SealedToken {
        let mut payload = self.opened(refresh);
        change(&mut payload);
        let parts = self.sessions.parts();
        parts.tokens.refresh(|keys| keys.seal(&payload.to_string(), parts.clock.now())).unwrap()
    }

    pub(crate) async fn events(&self, name: &str) -> Vec<AuditRow> {
        let all = self.store.audit(None, 10_000).await.unwrap();
        all.into_iter().filter(|row| row.event == name).collect()
    }

    pub(crate) async fn log_out(&self, sid: Sid) -> bool {
        self.sessions.end(sid, AuditEvent::new("logout", "tests", sid.to_string())).await.unwrap()
    }

    /// Waits until the other connections' revocations have come through.
    pub(crate) async fn hears_of(&self, access: &SealedToken) -> bool {
        for _ in 0..400 {
            if self.sessions.authenticate(access.as_str()).is_err() {
                return true;
            }
            tokio::time::sleep(millis(10)).await;
        }
        false
    }
}
