//! Provides a PostgreSQL server for tests.
//!
//! The server is the one that `BULLA_TEST_POSTGRES` names, or one that is started from the installed PostgreSQL. The latter starts
//! when the first test needs it. All tests of the binary share it, and each has its own database. It is durable (`fsync` on). It
//! ends with the process, however that ends, because its keeper waits for the end of a pipe.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::ports::free_port;

/// Creates a cluster, runs the server until standard input ends, and then removes everything. The keeper ignores the signals of a
/// terminal: they are for the tests, and the end of the tests closes the keeper's standard input.
const KEEPER: &str = r#"
trap '' INT TERM HUP
set -e
exec >"$1/log" 2>&1
"$2/initdb" -D "$1/data" -A trust -U postgres -E UTF8 --locale=C --no-sync
cat >"$1/data/pg_hba.conf" <<HBA
local all all trust
host all +$4 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
HBA
ssl=off
if openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bulla-tests \
  -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
  -keyout "$1/data/server.key" -out "$1/data/server.crt"; then ssl=on; cp "$1/data/server.crt" "$1"; fi
run() { "$2/postgres" -D "$1/data" -p "$3" -k "$1" -c listen_addresses=127.0.0.1 -c max_connections=400 -c ssl=$ssl \
  -c shared_buffers=64MB -c max_wal_size=256MB -c fsync=on -c autovacuum=off & server=$!; }
run "$@"
while read -r order; do
  kill -"$order" "$server"; wait "$server" || true
  rm -f "$1/data/postmaster.pid"
  read -r again || break
  run "$@"
done
kill -QUIT "$server" 2>/dev/null || true
wait || true
rm -rf "$1"
"#;

/// The group of the roles from which the server requires a password.
const PASSWORD_ROLES: &str = "with_password";

/// A running server.
pub struct Cluster {
    /// `postgres://user@host:port`, without a database.
    pub url: String,
    /// The server's certificate. `None` if the server has no TLS or was not started by the tests.
    pub certificate: Option<PathBuf>,
    keeper: Option<Child>,
}

/// The server that the tests share. Without PostgreSQL, prints that the test is skipped and returns `None`; in CI that is a
/// failure.
pub fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    let cluster = SHARED.get_or_init(|| match std::env::var("BULLA_TEST_POSTGRES") {
        Ok(url) if !url.is_empty() => {
            Some(Cluster { url: url.trim_end_matches('/').to_owned(), certificate: None, keeper: None })
        }
        _ => Cluster::start(),
    });
    if cluster.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have PostgreSQL");
        // Written directly to stderr, because the test runner hides the output of tests that pass.
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {name}: no PostgreSQL; install it, or name a server in BULLA_TEST_POSTGRES"
        );
    }
    cluster.as_ref()
}

/// The folder of `initdb` and `postgres`: where Debian installs them, or else on the `PATH`.
pub fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    debian.sort();
    let mut all = debian.into_iter().rev().chain(std::env::split_paths(&path));
    all.find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// A folder in memory if more than 2 GiB are free there, else on disk. Synced data survives the end of the server in memory as well
/// as on a disk, and the tests don't wait for other programs that use the disk.
fn roomy() -> PathBuf {
    let free = Command::new("df").args(["--output=avail", "-B1M", "/dev/shm"]).output();
    let free = free.ok().and_then(|said| String::from_utf8(said.stdout).ok());
    let free = free.and_then(|said| said.lines().last()?.trim().parse::<u64>().ok());
    if free.is_some_and(|mib| mib > 2048) { "/dev/shm".into() } else { std::env::temp_dir() }
}

impl Cluster {
    /// Starts a separate server; `None` if PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("bulla-postgres-").tempdir_in(roomy()).unwrap().keep();
        let port = free_port();
        let mut command = if is_root() {
            // PostgreSQL refuses to run as root.
            let given = Command::new("chown").arg("postgres:").arg(&folder).status().unwrap();
            assert!(given.success(), "no user `postgres`");
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "bash"]);
            command
        } else {
            Command::new("bash")
        };
        command
            .args(["-c", KEEPER, "keeper"])
            .arg(&folder)
            .arg(programs)
            .arg(port.to_string())
            .arg(PASSWORD_ROLES);
        let keeper = command.stdin(Stdio::piped()).current_dir("/").spawn().unwrap();
        let url = format!("postgres://postgres@127.0.0.1:{port}");
        let started = Instant::now();
        while let Err(error) = Shell::connect(&format!("{url}/postgres")) {
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(60), "PostgreSQL: {error}\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        let shell = Shell::connect(&format!("{url}/postgres")).unwrap();
        shell.run(&format!("CREATE ROLE {PASSWORD_ROLES}")).unwrap();
        let certificate = Some(folder.join("server.crt")).filter(|path| path.exists());
        Some(Self { url, certificate, keeper: Some(keeper) })
    }

    /// Stops the server with a signal (`QUIT` is what `pg_ctl -m immediate` sends).
    pub fn stop(&mut self, signal: &str) {
        self.order(signal);
        let url = format!("{}/postgres", self.url);
        while Shell::connect(&url).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts the server again after a stop, with the same data.
    pub fn start_again(&mut self) {
        self.order("again");
    }

    fn order(&mut self, what: &str) {
        let keeper = self.keeper.as_mut().and_then(|keeper| keeper.stdin.as_mut());
        writeln!(keeper.expect("a server of our own"), "{what}").unwrap();
    }

    /// The URL of a database.
    pub fn database(&self, name: &str) -> String {
        match self.url.split_once('?') {
            Some((server, parameters)) => format!("{server}/{name}?{parameters}"),
            None => format!("{}/{name}", self.url),
        }
    }

    /// A new, empty database.
    pub fn create(&self) -> Created {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bulla_test_{}_{number}", std::process::id());
        let admin = Shell::connect(&self.database("postgres")).unwrap();
        admin.run(&format!("CREATE DATABASE {name}")).unwrap();
        Created { url: self.database(&name), name, admin }
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// A database that is deleted when this value is dropped.
pub struct Created {
    pub url: String,
    pub name: String,
    admin: Shell,
}

impl Created {
    /// Creates a role that must give this password, and returns its name. All tests share the roles of the server, so each role has
    /// the name of its database. Only a server that the tests have started requires the password.
    pub fn role_with_password(&self, password: &str) -> String {
        let role = format!("{}_role", self.name);
        let create = format!("CREATE ROLE {role} LOGIN PASSWORD '{password}' IN ROLE {PASSWORD_ROLES}");
        self.admin.run(&create).unwrap();
        role
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        let _ = self.admin.run(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        let _ = self.admin.run(&format!("DROP ROLE IF EXISTS {}_role", self.name));
    }
}

type Asked = (String, mpsc::Sender<Answer>);
type Answer = Result<Vec<Vec<String>>, String>;

/// A connection like that of `psql`, on a separate thread. `NULL` reads as an empty text.
#[derive(Debug)]
pub struct Shell(tokio::sync::mpsc::UnboundedSender<Asked>);

impl Shell {
    pub fn connect(url: &str) -> Result<Self, String> {
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel::<Asked>();
        let (connected, connects) = mpsc::channel();
        let url = url.to_owned();
        let work = async move {
            let client = match tokio_postgres::connect(&url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    let _ = connected.send(Ok(()));
                    client
                }
                Err(error) => {
                    let _ = connected.send(Err(format!("{error:?}")));
                    return;
                }
            };
            while let Some((sql, answer)) = asked.recv().await {
                let said = client.simple_query(&sql).await;
                let _ = answer.send(said.map(rows).map_err(|error| format!("{error:?}")));
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::spawn(move || runtime.block_on(work));
        connects.recv().unwrap().map(|()| Self(ask))
    }

    pub fn run(&self, sql: &str) -> Answer {
        self.send(sql).recv().unwrap_or_else(|_| Err("the connection has ended".into()))
    }

    /// Sends a statement without waiting for it.
    pub fn send(&self, sql: &str) -> mpsc::Receiver<Answer> {
        let (answer, answers) = mpsc::channel();
        let _ = self.0.send((sql.to_owned(), answer));
        answers
    }
}

fn rows(messages: Vec<SimpleQueryMessage>) -> Vec<Vec<String>> {
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// Runs a statement in a real `psql`; returns what it prints.
pub fn psql(url: &str, sql: &str) -> String {
    let output =
        Command::new("psql").args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, url]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
