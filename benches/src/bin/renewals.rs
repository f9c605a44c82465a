//! Measures durable renewals per second: 64 sessions are renewed repeatedly, once with their rotations committed together and
//! once with a transaction for each rotation. Both use [`Sessions::renew`]: it opens and seals tokens, and it reads, judges and
//! writes the row with `synchronous=FULL`. Each is measured by direct calls and over HTTP on loopback with 64 connections.
//!
//! The database is in `$BULLA_BENCH_DIR`, by default in the build folder. It should be on a disk and not in memory.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use bulla::internals::{
    clock::{Clock, SystemClock, Timestamp},
    identity::{Hasher, StoreUsers},
    keyring::{KeyState, Ring, RingKey, RootKey, Suite},
    session::{Pardon, Parts, Policy, Renewal, Sessions, Tokens},
    store::{
        Actor, AuditEvent, Device, Event, NewUser, Store, Transport, User, UserRows as _,
        sqlite::{Options, SqliteStore},
    },
};
use bulla_bench::table;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const CALLERS: usize = 64;
const TURN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;

/// A session may rotate once in half the life of an access token. This clock advances by that time at each reading, so that
/// every renewal is a rotation. The measured time is the real time.
#[derive(Debug)]
struct Leaping(AtomicI64);

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(4_000, Ordering::Relaxed))
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut rates = vec![[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    let mut shared = Vec::new();
    for round in 0..ROUNDS {
        for (i, group) in [1024, 1].into_iter().enumerate() {
            eprint!("\rround {} of {ROUNDS}, up to {group:<4} in a transaction", round + 1);
            let house = runtime.block_on(House::build(group));
            rates[0][i].push(runtime.block_on(by_calls(&house)));
            if group > 1 {
                shared.push(house.renewed.load(Ordering::Relaxed) as f64 / house.store.commits() as f64);
            }
            let house = runtime.block_on(House::build(group));
            rates[1][i].push(over_http(&runtime, &house));
        }
    }
    eprintln!();
    let ratio =
        |rates: &[Vec<f64>; 2]| median(rates[0].iter().zip(&rates[1]).map(|(group, one)| group / one));
    let rows: Vec<Vec<String>> = ["by calls", "over HTTP"]
        .into_iter()
        .zip(&rates)
        .map(|(how, rates)| {
            let of = |i: usize| table::thousands(median(rates[i].iter().copied()));
            vec![how.to_owned(), of(0), of(1), format!("{:.1}", ratio(rates))]
        })
        .collect();
    println!(
        "Durable renewals per second, {CALLERS} at once, median of {ROUNDS} rounds of {} s\n",
        TURN.as_secs()
    );
    table::print(&["", "group commit", "one transaction each", "ratio"], &rows);
    println!("\nRotations in one transaction, on average: {:.0}\n", median(shared.into_iter()));
    let kept = [
        table::verdict("group commit / one transaction each, by calls", ratio(&rates[0]), 5.0, false),
        table::verdict("group commit / one transaction each, over HTTP", ratio(&rates[1]), 5.0, false),
    ];
    if kept.iter().all(|kept| *kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn median(rates: impl Iterator<Item = f64>) -> f64 {
    let mut rates: Vec<f64> = rates.collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// A database with one session for each caller.
struct House {
    store: Arc<SqliteStore>,
    sessions: Arc<Sessions>,
    /// One refresh token for each caller.
    refresh: Vec<String>,
    renewed: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

impl House {
    async fn build(group_commit_max: usize) -> Self {
        let parent = std::env::var_os("BULLA_BENCH_DIR").map_or_else(
            || std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned())).expect("a folder"),
            PathBuf::from,
        );
        let folder = tempfile::tempdir_in(parent).expect("a folder for the database");
        let clock: Arc<dyn Clock> = Arc::new(Leaping(AtomicI64::new(SystemClock.now().millis())));
        let options = Options { group_commit_max, ..Options::default() };
        let store = SqliteStore::open_with(&folder.path().join("bulla.db"), Arc::clone(&clock), options);
        let store = Arc::new(store.expect("a database"));
        let hasher = Arc::new(Hasher::new(1, 64));
        let sessions = Sessions::start(Parts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            users: Arc::new(StoreUsers::new(Arc::clone(&store) as Arc<dyn Store>, hasher)),
            tokens: Arc::new(Tokens::new(ring(clock.now()))),
            policy: policy(),
            clock,
        })
        .await
        .expect("sessions");
        let mut refresh = Vec::new();
        for number in 0..CALLERS {
            let new = NewUser {
                name: format!("user{number}"),
                roles: vec!["reader".to_owned()],
                ..NewUser::default()
            };
            let row = store
                .add_user(new, AuditEvent::new(Event::UserAdded, Actor::read("bench"), "bench"))
                .await
                .expect("a user");
            let user = User { id: row.id, name: row.name, roles: row.roles, claims: row.claims };
            let issued = sessions.begin(&user, Transport::Body, device(), None).await.expect("a session");
            refresh.push(issued.refresh.into_string());
        }
        Self {
            store,
            sessions: Arc::new(sessions),
            refresh,
            renewed: Arc::new(AtomicU64::new(0)),
            _folder: folder,
        }
    }
}

fn policy() -> Policy {
    let years = Duration::from_secs(9 * 365 * 24 * 3600);
    Policy {
        access_max_age: Duration::from_secs(8),
        replay_window: Duration::from_secs(1),
        refresh_idle: years,
        session_max_age: years,
        pardon: Pardon::Never,
        ..Policy::default()
    }
}

fn ring(now: Timestamp) -> Ring {
    let root = RootKey::generate(Suite::Xaes256Gcm).expect("the system's generator works");
    let (kid, suite) = (root.kid(), root.suite());
    let key = RingKey { kid, state: KeyState::Active, suite, since: now, root: Some(root) };
    Ring { generation: 1, not_before: Timestamp::EPOCH, fingerprint: [0; 32], keys: vec![key] }
}

fn device() -> Device {
    Device { user_agent: "Mozilla/5.0 (X11; Linux x86_64) bench".to_owned(), ip: "127.0.0.1".to_owned() }
}

/// Rotates the session; returns the next refresh token.
async fn renew(sessions: &Sessions, refresh: &str) -> String {
    let renewed = sessions.renew(refresh, &device()).await.expect("renews");
    assert_eq!(renewed.outcome, Renewal::Rotate);
    renewed.refresh.expect("a rotation hands one out").into_string()
}

async fn by_calls(house: &House) -> f64 {
    let (stop, start) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let callers: Vec<_> = house
        .refresh
        .iter()
        .cloned()
        .map(|mut refresh| {
            let (sessions, stop) = (Arc::clone(&house.sessions), Arc::clone(&stop));
            let renewed = Arc::clone(&house.renewed);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    refresh = renew(&sessions, &refresh).await;
                    renewed.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    finish(callers, &stop, start, &house.renewed).await
}

/// Waits for one turn and returns the rate; then stops the callers.
async fn finish(
    callers: Vec<tokio::task::JoinHandle<()>>,
    stop: &AtomicBool,
    start: Instant,
    renewed: &AtomicU64,
) -> f64 {
    tokio::time::sleep(TURN).await;
    let rate = renewed.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("every renewal held");
    }
    rate
}

/// The request is a POST with the token in its body; the body of the answer is the next token.
fn over_http(runtime: &tokio::runtime::Runtime, house: &House) -> f64 {
    let sessions = web::Data::from(Arc::clone(&house.sessions));
    let (send, receive) = std::sync::mpsc::channel();
    let serving = std::thread::spawn(move || {
        let app = move || {
            let renewing = async |sessions: web::Data<Sessions>, refresh: String| {
                HttpResponse::Ok().body(renew(&sessions, &refresh).await)
            };
            App::new().app_data(sessions.clone()).route("/refresh", web::post().to(renewing))
        };
        actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(app).workers(2).disable_signals();
            let server = server.bind(("127.0.0.1", 0)).expect("a free port");
            let address = server.addrs()[0];
            let server = server.run();
            send.send((server.handle(), address)).expect("the bench waits");
            server.await.expect("it serves");
        });
    });
    let (handle, address) = receive.recv().expect("the server runs");
    let rate = runtime.block_on(async {
        let (stop, start) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let callers = house
            .refresh
            .iter()
            .map(|refresh| {
                tokio::spawn(call(address, refresh.clone(), Arc::clone(&stop), Arc::clone(&house.renewed)))
            })
            .collect();
        let rate = finish(callers, &stop, start, &house.renewed).await;
        handle.stop(false).await;
        rate
    });
    serving.join().expect("the server ends");
    rate
}

/// Renews repeatedly on one connection.
async fn call(address: SocketAddr, mut refresh: String, stop: Arc<AtomicBool>, renewed: Arc<AtomicU64>) {
    let mut connection = BufReader::new(TcpStream::connect(address).await.expect("connects"));
    let mut line = String::new();
    while !stop.load(Ordering::Relaxed) {
        let length = refresh.len();
        let request =
            format!("POST /refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{refresh}");
        connection.get_mut().write_all(request.as_bytes()).await.expect("sends");
        let mut body = 0;
        loop {
            line.clear();
            connection.read_line(&mut line).await.expect("an answer");
            if line == "\r\n" {
                break;
            }
            assert!(!line.starts_with("HTTP/") || line.contains(" 200 "), "{line}");
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                body = length.trim().parse().expect("a length");
            }
        }
        let mut bytes = vec![0; body];
        connection.read_exact(&mut bytes).await.expect("the body");
        refresh = String::from_utf8(bytes).expect("a token is text");
        renewed.fetch_add(1, Ordering::Relaxed);
    }
}
