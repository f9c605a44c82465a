//! Tests the server as a process: draining, rollovers under load, a lack of descriptors, and two servers on one database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use crate::support::{
    raw_http::Raw,
    server::{ACCESS, Browser, PASSWORD, REFRESH, Server, eventually},
};

/// Sends requests continuously until it is stopped; counts those that were not answered with 200.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(browsers: &[Browser]) -> Self {
        let (stop, sent, failed) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let tasks = browsers.iter().cloned().map(|browser| {
            let (stop, sent, failed) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&failed));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let status = browser.status().await;
                    sent.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(usize::from(status != 200), Ordering::Relaxed);
                }
            })
        });
        let tasks = tasks.collect();
        Self { stop, sent, failed, tasks }
    }

    async fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        futures_util::future::join_all(self.tasks).await;
        (self.sent.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn no_request_fails_while_keys_roll_over() {
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "2s"), ("BULLA_REPLAY_WINDOW", "500ms")]);
    let browsers = server.adas(8).await;
    let load = Load::start(&browsers);
    for _ in 0..3 {
        let rotated = server.cli(&["keys", "rotate", "--now"]);
        assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
        // This is the purpose of a staged key's waiting time: every server has the key before any server seals with it.
        tokio::time::sleep(Duration::from_millis(1600)).await;
    }
    let (sent, failed) = load.stop().await;
    assert!(sent > 100 && failed == 0, "{failed} of {sent} failed");
}

#[tokio::test]
async fn revoking_the_active_key_revokes_all_tokens_and_logins_continue() {
    let server = Server::started(&[]);
    let browsers = [server.ada().await, server.ada().await];
    let old = (browsers[0].jar.get(ACCESS).unwrap(), browsers[0].jar.get(REFRESH).unwrap());
    let load = Load::start(&browsers);
    let keys: serde_json::Value =
        serde_json::from_slice(&server.cli(&["keys", "list", "--json"]).stdout).unwrap();
    let active = keys["keys"].as_array().unwrap().iter().find(|key| key["state"] == "active").unwrap();
    assert!(server.cli(&["keys", "revoke", active["kid"].as_str().unwrap()]).status.success());
    let thief = server.browser();
    let took = eventually("every old token refused", || async {
        thief.jar.set(ACCESS, &old.0);
        thief.jar.set(REFRESH, &old.1);
        thief.status().await == 401
    })
    .await;
    println!("the revocation of the active key was in force after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    load.stop().await;
    assert_eq!(server.ada().await.status().await, 200, "new logins work");
}

/// Sends the head of a login on a raw connection; returns the body, which the caller sends.
fn begin_login(connection: &mut Raw, headers: &str) -> String {
    let body = json!({"username": "ada", "password": PASSWORD}).to_string();
    let length = body.len();
    let headers = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}");
    connection.head("POST /auth/login", &headers);
    body
}

#[tokio::test]
async fn a_terminated_server_answers_open_requests_and_exits_with_0() {
    let mut server = Server::started(&[]);
    let mut login = Raw::connect(&server);
    let body = begin_login(&mut login, "Expect: 100-continue\r\n");
    assert!(login.read().starts_with("HTTP/1.1 100 "), "the server has begun with it");
    login.send(&body.as_bytes()[..10]);
    server.signal("TERM");
    eventually("told to end", || async { server.stderr().contains("stopping after") }).await;
    login.send(&body.as_bytes()[10..]);
    let answer = login.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(REFRESH), "{answer}");
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn a_request_sent_before_the_signal_is_answered_even_if_it_was_not_yet_read() {
    let mut server = Server::started(&[]);
    let mut requests: Vec<Raw> = (0..12).map(|_| Raw::connect(&server)).collect();
    for used_before in &mut requests {
        used_before.head("GET /health/live", "");
        assert!(used_before.read().starts_with("HTTP/1.1 200 "));
    }
    // While the process is stopped, the system still accepts connections and bytes for it.
    server.signal("STOP");
    requests.extend((0..12).map(|_| Raw::connect(&server)));
    for login in &mut requests {
        let body = begin_login(login, "");
        login.send(body.as_bytes());
    }
    server.signal("TERM");
    server.signal("CONT");
    for mut login in requests {
        let answer = login.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_a_server_that_waits_for_a_request() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::started(&[]);
        // A request whose body never arrives.
        let mut slow = Raw::connect(&server);
        begin_login(&mut slow, "Expect: 100-continue\r\n");
        assert!(slow.read().starts_with("HTTP/1.1 100 "), "it is under way");
        server.signal(signal);
        eventually("told to end", || async { server.stderr().contains("stopping after") }).await;
        assert!(server.is_running(), "it waits for the request");
        server.signal(signal);
        eventually("stopping at once", || async { server.stderr().contains("stopping at once") }).await;
        let asked = std::time::Instant::now();
        assert_eq!(server.wait(), Some(0));
        // Without the second signal the server would have waited ten seconds.
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn repeated_hangup_signals_change_nothing() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    for _ in 0..200 {
        server.signal("HUP");
    }
    assert_eq!(browser.status().await, 200);
    let generation = || server.sqlite3("SELECT generation FROM ring");
    let before: u64 = generation().parse().unwrap();
    assert!(server.cli(&["keys", "rotate", "--now"]).status.success());
    server.signal("HUP");
    eventually("the new ring is recorded", || async { generation().parse::<u64>().unwrap() > before }).await;
}

#[tokio::test]
async fn a_damaged_ring_is_reported_and_the_last_good_one_stays_in_force() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let ring = std::fs::read(server.path("keys/ring.json")).unwrap();
    std::fs::write(server.path("keys/ring.json"), "<html>").unwrap();
    eventually("not ready", || async { browser.get("/health/ready").await.status() == 503 }).await;
    assert_eq!(browser.status().await, 200);
    std::fs::write(server.path("keys/ring.json"), ring).unwrap();
    eventually("ready again", || async { browser.get("/health/ready").await.status() == 200 }).await;
    eventually("an alarm", || async { server.stderr().contains("the last good key ring stays in force") })
        .await;
}

#[tokio::test]
async fn a_locked_database_is_a_503_and_ends_no_session() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let mut lock = std::process::Command::new("sqlite3")
        .arg(server.path("bulla.db"))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    use std::io::Write as _;
    lock.stdin.as_mut().unwrap().write_all(b"BEGIN IMMEDIATE;\n").unwrap();
    eventually("locked", || async {
        let answer = browser
            .post("/auth/login", json!({"username": "ada", "password": crate::support::server::PASSWORD}))
            .await;
        let locked = answer.status() == 503;
        assert!(
            !locked
                || answer.headers().contains_key("retry-after")
                    && crate::support::server::set_cookies(&answer).is_empty()
        );
        locked
    })
    .await;
    assert_eq!(browser.status().await, 200, "an access token needs no store");
    drop(lock.stdin.take());
    lock.wait().unwrap();
    eventually("unlocked", || async {
        server
            .browser()
            .post("/auth/login", json!({"username": "ada", "password": crate::support::server::PASSWORD}))
            .await
            .status()
            == 200
    })
    .await;
    assert_eq!(browser.status().await, 200);
}

/// Sets how many descriptors a process may have open.
fn limit_descriptors(pid: u32, count: usize) {
    let limited = std::process::Command::new("prlimit")
        .args([format!("--pid={pid}"), format!("--nofile={count}:")])
        .status()
        .unwrap();
    assert!(limited.success());
}

#[tokio::test]
async fn a_server_without_free_descriptors_serves_open_connections_and_accepts_new_ones_later() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    limit_descriptors(server.pid(), open + 20);
    let crowd: Vec<_> = (0..60).map(|_| Raw::connect(&server)).collect();
    eventually("short of descriptors", || async { server.stderr().contains("the key ring can't be loaded") })
        .await;
    for _ in 0..20 {
        assert_eq!(browser.status().await, 200, "who is in has a connection");
    }
    drop(crowd);
    eventually("ready again", || async { server.browser().get("/health/ready").await.status() == 200 }).await;
    assert_eq!(server.ada().await.status().await, 200);
}

#[tokio::test]
async fn two_servers_on_one_database_share_all_sessions() {
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "2s"), ("BULLA_REPLAY_WINDOW", "500ms")]);
    let other = server.beside();
    let there = |browser: &Browser| Browser { origin: other.origin.clone(), ..browser.clone() };
    let (browser, leaving) = (server.ada().await, server.ada().await);
    assert_eq!((there(&browser).status().await, there(&leaving).status().await), (200, 200));
    let access = leaving.jar.get(ACCESS).unwrap();
    assert_eq!(leaving.post("/auth/logout", json!({})).await.status(), 204);
    leaving.jar.set(ACCESS, &access);
    let took = eventually("revoked", || async { there(&leaving).status().await == 401 }).await;
    println!("a logout on one server: in force on the other after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Both servers get one refresh token at the same time: there is one rotation, and one generation.
    // The pause is longer than R, the least time between two rotations.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let refresh = browser.jar.get(REFRESH).unwrap();
    let all = (0..64).map(|n| {
        let origin = if n % 2 == 0 { &server.origin } else { &other.origin };
        let request = browser.client.get(format!("{origin}/auth/session"));
        tokio::spawn(request.header("cookie", format!("{REFRESH}={refresh}")).send())
    });
    let answers = futures_util::future::join_all(all.collect::<Vec<_>>()).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().unwrap().status() == 200));
    assert_eq!(server.sqlite3("SELECT count(*), max(generation) FROM sessions"), "1|1");
}

/// Starts `serve --init` in an empty folder, at a terminal or not, with a format for the log, and waits until it serves. Returns
/// the output and ends the process.
fn first_start(folder: &std::path::Path, terminal: bool, log: &str) -> String {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
    };
    let program = env!("CARGO_BIN_EXE_bulla");
    let mut command = if terminal { Command::new("script") } else { Command::new(program) };
    if terminal {
        command.args(["-qec", &format!("{program} serve --init"), "/dev/null"]);
    } else {
        command.args(["serve", "--init"]);
    }
    command.current_dir(folder).env("BULLA_LISTEN", "127.0.0.1:0").env("BULLA_LOG", log);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let stdin = process.stdin.take();
    let from: Box<dyn std::io::Read> = match terminal {
        true => Box::new(process.stdout.take().unwrap()),
        false => Box::new(process.stderr.take().unwrap()),
    };
    let mut said = String::new();
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        said += &format!("{line}\n");
        if line.contains("serves on") || line.contains("serving") {
            break;
        }
    }
    if terminal {
        // Sends Ctrl-C as typed at the terminal.
        let _ = std::io::Write::write_all(&mut stdin.unwrap(), b"\x03");
    } else {
        let _ = process.kill();
    }
    process.wait().unwrap();
    said
}

#[test]
fn the_first_administrators_password_is_in_a_private_file_and_not_in_the_log() {
    use std::os::unix::fs::PermissionsExt as _;
    for log in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let said = first_start(folder.path(), false, log);
        let file = folder.path().join("admin-password");
        let password = std::fs::read_to_string(&file).unwrap();
        assert!(password.trim_end().len() >= 20, "{password}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(!said.contains(password.trim_end()), "{said}");
        assert!(said.contains(file.to_str().unwrap()), "the log names the file: {said}");
        let hash = crate::support::server::sqlite3(
            &folder.path().join("bulla.db"),
            "SELECT password_hash FROM users WHERE name = 'admin'",
        );
        assert!(hash.starts_with("$argon2id$"));
        // A second start creates no second administrator and leaves the file unchanged.
        let said = first_start(folder.path(), false, log);
        assert!(!said.contains("administrator"), "{said}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), password);
        let left = std::fs::read_dir(folder.path()).unwrap();
        let left =
            left.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains("admin"));
        assert_eq!(left.count(), 1);
    }
}

#[test]
fn the_first_administrators_password_is_shown_at_a_terminal_and_not_written_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let said = first_start(folder.path(), true, "text");
    let password = said.split("Password: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    assert!(password.is_some_and(|password| password.len() == 20), "{said}");
    assert!(!folder.path().join("admin-password").exists());
}

#[tokio::test]
async fn the_password_in_the_file_logs_the_first_administrator_in() {
    let folder = tempfile::tempdir().unwrap();
    first_start(folder.path(), false, "text");
    let password = std::fs::read_to_string(folder.path().join("admin-password")).unwrap();
    let mut server = Server::new(&[]);
    server.set("BULLA_DATABASE", folder.path().join("bulla.db"));
    server.set("BULLA_KEYS", folder.path().join("keys"));
    server.start();
    let browser = server.browser();
    let body = json!({"username": "admin", "password": password.trim_end()});
    assert_eq!(browser.post("/auth/login", body).await.status(), 200);
}
