//! Provides an installation for tests: a separate database and ring, a clock that stands still, and any number of nodes.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bulla::internals::{
    clock::{Clock, SystemClock, Timestamp},
    identity::{Hasher, StoreUsers},
    ids::{Sid, UserId},
    keyring::{KeyState, Ring, RingKey, RootKey, Suite},
    secret::Digest,
    session::{Denied, Issued, Parts, Policy, Principal, Renewed, Sessions, Tokens},
    store::{
        Actor, AuditEvent, AuditRow, Database, Device, Event, NewSession, NewUser, Proof, SessionRow, Store,
        Transport, User,
    },
    token::{OpenBuffer, SealedToken},
};

use super::{
    cluster,
    stores::{Shell, TestDatabase},
};

/// A clock that moves only when it is told to. A PostgreSQL database can be made to follow it.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64, OnceLock<cluster::Shell>);

/// The statements that make a database follow a clock: they replace its own function for the time.
const MANUAL: &str = "CREATE TABLE IF NOT EXISTS manual_clock (now bigint);
    CREATE OR REPLACE FUNCTION bulla_now() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT now FROM manual_clock';
    DELETE FROM manual_clock;";

impl ManualClock {
    /// Starts with the system's time, because the triggers of the database know only that time.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(SystemClock.now().millis()), OnceLock::new()))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
        self.tell();
    }

    pub(crate) fn set_back(&self, by: Duration) {
        self.0.fetch_sub(by.as_millis() as i64, Ordering::SeqCst);
        self.tell();
    }

    /// Makes a database follow this clock. Its tables must exist.
    fn rules(&self, shell: Shell) {
        let Shell::Postgres(shell) = shell else { return };
        if self.1.get().is_none() {
            let now = self.0.load(Ordering::SeqCst);
            shell.run(&format!("{MANUAL} INSERT INTO manual_clock VALUES ({now})")).unwrap();
            let _ = self.1.set(shell);
        }
    }

    fn tell(&self) {
        if let Some(shell) = self.1.get() {
            shell.run(&format!("UPDATE manual_clock SET now = {}", self.0.load(Ordering::SeqCst))).unwrap();
        }
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

/// A ring in memory whose keys have these states, in this order.
pub(crate) fn ring(states: &[KeyState]) -> Ring {
    ring_of(Suite::Xaes256Gcm, states)
}

/// The same with any suite.
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

/// The parts that all nodes share.
#[derive(Clone)]
pub(crate) struct Installation {
    pub(crate) ground: Arc<TestDatabase>,
    /// The nodes' clock and the store's, unless a test gives a node another one.
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ring: Ring,
    pub(crate) policy: Policy,
}

impl Installation {
    pub(crate) fn new() -> Self {
        Self::with(Policy::default())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        policy.check().unwrap();
        let ring = ring(&[KeyState::Active, KeyState::Staged]);
        Self { ground: Arc::new(TestDatabase::new()), clock: ManualClock::new(), ring, policy }
    }

    /// The store, opened as another process opens it.
    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        let store = self.ground.database().open(self.clock.clone()).await.unwrap();
        self.clock.rules(self.shell());
        store
    }

    /// Another server over the same database and ring.
    pub(crate) async fn node(&self) -> Node {
        self.node_with_clock(self.clock.clone()).await
    }

    /// A server whose clock differs from the store's.
    pub(crate) async fn node_with_clock(&self, clock: Arc<ManualClock>) -> Node {
        self.over(self.store().await, clock).await
    }

    /// A server that reaches the database in another way. It has a separate clock, because such a database follows the system's
    /// time.
    pub(crate) async fn node_over(&self, database: &Database) -> Node {
        let clock = ManualClock::new();
        self.over(database.open(clock.clone()).await.unwrap(), clock).await
    }

    async fn over(&self, store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Node {
        let parts = Parts {
            store: store.clone(),
            users: Arc::new(StoreUsers::new(store.clone(), Arc::new(Hasher::new(1, 1)))),
            tokens: Arc::new(Tokens::new(self.ring.clone())),
            policy: self.policy.clone(),
            clock,
        };
        Node { sessions: Arc::new(Sessions::start(parts).await.unwrap()), store }
    }

    /// A connection like that of a database shell.
    pub(crate) fn shell(&self) -> Shell {
        self.ground.shell()
    }

    /// The file of a SQLite database.
    pub(crate) fn file(&self) -> PathBuf {
        self.ground.file()
    }

    /// Every column of a session's row, as stored; empty if there is no row.
    pub(crate) fn stored(&self, sid: Sid) -> Vec<String> {
        let rows = self.shell().run(&format!("SELECT * FROM sessions WHERE sid = '{sid}'"));
        rows.into_iter().next().unwrap_or_default()
    }
}

/// One server.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Arc<dyn Store>,
}

pub(crate) fn device() -> Device {
    Device { user_agent: "tests/1".into(), ip: "192.0.2.7".into() }
}

/// A new session of this user, with a new id and a new key.
pub(crate) fn new_session(user: &UserId) -> NewSession {
    let sid = Sid::generate().unwrap();
    NewSession {
        sid,
        user_id: user.clone(),
        secret_hash: Digest([sid.0[0]; 32]),
        transport: Transport::Cookie,
        device: device(),
        idle: secs(1800),
        life: secs(86_400),
        replaces: None,
        takes_over_basic: false,
        grant: None,
        login: None,
        proof: Proof::default(),
    }
}

impl Node {
    pub(crate) async fn user(&self, name: &str) -> User {
        let new = NewUser { name: name.into(), roles: vec!["reader".into()], ..NewUser::default() };
        let row = self
            .store
            .add_user(new, AuditEvent::new(Event::UserAdded, Actor::read("tests"), ""))
            .await
            .unwrap();
        User { id: row.id, name: row.name, roles: row.roles, claims: row.claims }
    }

    pub(crate) async fn begin(&self, user: &User) -> Issued {
        self.sessions.begin(user, Transport::Cookie, device(), None).await.unwrap()
    }

    pub(crate) async fn renew(&self, refresh: &SealedToken) -> Result<Renewed, Denied> {
        self.sessions.renew(refresh.as_str(), &device()).await
    }

    /// The principal of an access token, as the guard gives it to a handler.
    pub(crate) fn accepts(&self, access: &SealedToken) -> Principal {
        let principal = self.sessions.authenticate(access.as_str()).unwrap();
        self.sessions.watched(principal)
    }

    pub(crate) async fn row(&self, sid: Sid) -> Option<SessionRow> {
        self.store.session(sid).await.unwrap().0
    }

    /// The payload of a refresh token.
    pub(crate) fn opened(&self, refresh: &SealedToken) -> serde_json::Value {
        let parts = self.sessions.parts();
        let mut buffer = OpenBuffer::new();
        let opened = parts.tokens.refresh(|keys| {
            keys.open_at(refresh.as_str(), parts.clock.now(), secs(86_400 * 30), &mut buffer)
                .map(|o| o.payload.to_owned())
        });
        serde_json::from_str(&opened.unwrap()).unwrap()
    }

    /// The same token with another payload, which only a holder of the ring can make.
    pub(crate) fn forged(
        &self,
        refresh: &SealedToken,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> SealedToken {
        let mut payload = self.opened(refresh);
        change(&mut payload);
        let parts = self.sessions.parts();
        parts.tokens.refresh(|keys| keys.seal_at(&payload.to_string(), parts.clock.now())).unwrap()
    }

    pub(crate) async fn events(&self, name: &str) -> Vec<AuditRow> {
        let all = self.store.audit(None, 10_000).await.unwrap();
        all.into_iter().filter(|row| row.event == name).collect()
    }

    pub(crate) async fn log_out(&self, sid: Sid) -> bool {
        self.sessions
            .end(sid, AuditEvent::new(Event::Logout, Actor::read("tests"), sid.to_string()))
            .await
            .unwrap()
    }

    /// Waits until this node knows the revocations of other connections: returns whether it refuses the token within 4 seconds.
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
