//! Tests of a complete fleet, as `scripts/fleet` starts it: real servers, PostgreSQL and nginx, under load and under faults.

mod history;
mod http_client;
mod load;
mod load_client;
mod node_faults;
mod outage;
mod renewals;
mod revocations;
mod start;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bulla::internals::{
    http::Bulla,
    session::{Issued, Policy},
    store::{Actor, AuditEvent, Device, Event, NewUser, Transport, User},
    token::OpenBuffer,
};

use self::http_client::Door;
use crate::support::{
    cluster::{self, Created, Shell},
    ports::free_ports,
    server::PASSWORD,
};

/// The longest time until a process that was killed is back, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A fleet with its own folder. Only one runs at a time, because two would distort each other's measurements.
pub struct Fleet {
    dir: tempfile::TempDir,
    script: Child,
    port: u16,
    environment: Vec<(&'static str, String)>,
    /// The database on the shared server; `None` for a fleet with its own PostgreSQL.
    created: Option<Created>,
    _alone: MutexGuard<'static, ()>,
}

impl Fleet {
    /// Starts three nodes with a database on the server that the tests share.
    pub fn start(settings: &[(&'static str, &str)]) -> Option<Self> {
        let cluster = cluster::shared()?;
        Self::with(settings, || Some(cluster.create()))
    }

    /// Starts three nodes with their own PostgreSQL, which the test can stop.
    pub fn with_postgres(settings: &[(&'static str, &str)]) -> Option<Self> {
        cluster::programs().is_none().then(|| skip("PostgreSQL's programs"));
        cluster::programs()?;
        Self::with(settings, || None)
    }

    fn with(settings: &[(&'static str, &str)], database: impl Fn() -> Option<Created>) -> Option<Self> {
        static ONE: Mutex<()> = Mutex::new(());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        if !folders.into_iter().any(|folder| folder.join("nginx").exists()) {
            skip("nginx");
            return None;
        }
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::Builder::new().prefix("bulla-fleet-").tempdir().unwrap();
        let (created, port) = (database(), free_ports(4));
        let mut environment: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        environment.extend(created.iter().map(|created| ("BULLA_DATABASE", created.url.clone())));
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/fleet"));
        command.args(["--attached", "--port", &port.to_string()]).arg(dir.path());
        command.env("BULLA_BIN", env!("CARGO_BIN_EXE_bulla")).env_remove("BULLA_DATABASE");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("logs")), "the fleet did not start");
        Some(Self { dir, script, port, environment, created, _alone: alone })
    }

    /// A client for the load balancer.
    pub fn balancer(&self) -> Door {
        Door::new(self.port, self.port)
    }

    /// A client for each node, without the load balancer.
    pub fn nodes(&self) -> [Door; 3] {
        [1, 2, 3].map(|node| Door::new(self.port + node, self.port))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn database(&self) -> String {
        let own = || format!("postgres:///postgres?host={}&user=postgres", self.path("run").display());
        self.created.as_ref().map_or_else(own, |created| created.url.clone())
    }

    /// Opens a connection to the database, as an operator's database shell does.
    pub fn shell(&self) -> Shell {
        Shell::connect(&self.database()).unwrap()
    }

    /// Returns the first column of the first row.
    pub fn value(&self, sql: &str) -> String {
        self.shell().run(sql).unwrap()[0][0].clone()
    }

    /// Runs the command line as an operator of the fleet does.
    pub fn cli(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
        command.args(arguments).current_dir(self.dir.path()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("BULLA_DATABASE", self.database()).env("BULLA_KEYS", self.path("keys")).output().unwrap()
    }

    fn pid(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pid"))).unwrap().trim().to_owned()
    }

    /// Sends a signal to a process of the fleet and waits until the process has ended. The script then starts it again.
    pub fn kill(&self, name: &str, signal: &str) {
        let pid = self.pid(name);
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap();
        assert!(sent.success(), "{name} wasn't there to be killed");
        let asked = Instant::now();
        while Path::new("/proc").join(&pid).exists() {
            assert!(asked.elapsed() < PATIENCE, "{name} doesn't end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Prevents the restart of a process after its end, until [`Self::release`].
    pub fn hold(&self, name: &str) {
        std::fs::write(self.path(&format!("{name}.hold")), "").unwrap();
    }

    pub fn release(&self, name: &str) {
        std::fs::remove_file(self.path(&format!("{name}.hold"))).unwrap();
    }

    /// Waits until PostgreSQL answers.
    pub fn postgres_is_back(&self) {
        let asked = Instant::now();
        while Shell::connect(&self.database()).and_then(|shell| shell.run("SELECT 1")).is_err() {
            assert!(asked.elapsed() < PATIENCE, "PostgreSQL doesn't come back");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Builds a server of the fleet inside this process. It begins sessions without a password hash for each.
    pub async fn issuer(&self, policy: Policy) -> Issuer {
        let database = bulla::internals::store::Database::from(self.database().as_str());
        let policy = Policy { session_cap: 10_000, ..policy };
        let bulla = Bulla::builder(self.path("keys"), database)
            .site(bulla::Site::loopback(8080, false))
            .policy(policy)
            .start()
            .await
            .unwrap();
        let hash =
            bulla.hasher().hash(&bulla::internals::secret::SecretText::new(PASSWORD.into())).await.unwrap();
        Issuer { bulla, hash }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["node1", "node2", "node3", "nginx", "postgres"] {
                let log = std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(15).collect();
                println!("{name}.log ends with:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
        }
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// Reports on standard error that the test cannot run, because the harness hides the standard output of a test that passes. In
/// CI a missing program is a failure.
fn skip(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have {what}");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: no {what}; scripts/test installs it on Debian");
}

/// Begins sessions directly, without HTTP.
#[derive(Clone)]
pub struct Issuer {
    pub bulla: Bulla,
    hash: String,
}

impl Issuer {
    /// Adds a user whose password is [`PASSWORD`].
    pub async fn user(&self, name: &str) -> User {
        let new = NewUser { name: name.into(), password_hash: Some(self.hash.clone()), ..NewUser::default() };
        let store = &self.bulla.sessions().parts().store;
        let row =
            store.add_user(new, AuditEvent::new(Event::UserAdded, Actor::read("tests"), "")).await.unwrap();
        User { id: row.id, name: row.name, roles: row.roles, claims: row.claims }
    }

    pub async fn begin(&self, user: &User) -> Option<Issued> {
        self.bulla.sessions().begin(user, Transport::Cookie, Device::default(), None).await.ok()
    }

    /// Opens a refresh token and returns its payload.
    pub fn opened(&self, refresh: &str) -> serde_json::Value {
        let parts = self.bulla.sessions().parts();
        let (now, week) = (parts.clock.now(), Duration::from_secs(7 * 86_400));
        let mut buffer = OpenBuffer::new();
        let read = |opened: bulla::internals::token::Opened<&str>| opened.payload.to_owned();
        let text = parts.tokens.refresh(|keys| keys.open_at(refresh, now, week, &mut buffer).map(read));
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    pub fn generation(&self, refresh: &str) -> u64 {
        self.opened(refresh)["gen"].as_u64().unwrap()
    }
}
