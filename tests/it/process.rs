//! The server as a process: killed, drained, under load while keys roll over, small.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use crate::server::{ACCESS, Browser, REFRESH, Server, eventually};

/// Requests without end, until told; counts those that were not answered 200.
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
    let mut browsers = Vec::new();
    for _ in 0..8 {
        browsers.push(server.ada().await);
    }
    let load = Load::start(&browsers);
    for _ in 0..3 {
        let rotated = server.cli(&["keys", "rotate", "--now"]);
        assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
        // What the waiting time of a staged key is for: every server has it before it seals.
        tokio::time::sleep(Duration::from_millis(1600)).await;
    }
    let (sent, failed) = load.stop().await;
    assert!(sent > 100 && failed == 0, "{failed} of {sent} failed");
}

#[tokio::test]
async fn a_revoked_active_key_takes_every_token_with_it_and_logins_go_on() {
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
    load.stop().await;
    assert_eq!(server.ada().await.status().await, 200, "new logins work");
}

#[tokio::test]
async fn a_killed_server_has_lost_nothing_it_acknowledged() {
    let mut server = Server::new(&[
        ("BULLA_SESSION_CAP", "10000"),
        ("BULLA_ACCESS_MAX_AGE", "400ms"),
        ("BULLA_REPLAY_WINDOW", "100ms"),
    ]);
    server.start();
    let mut ended: Vec<Browser> = Vec::new();
    for round in 0..50_u64 {
        // Fresh ones: an answer lost in a crash is pardoned, one of another generation within the hour is not.
        let mut alive: Vec<Browser> = Vec::new();
        while alive.len() < 24 {
            alive.push(server.ada().await);
        }
        // 200 requests at once: renewals of everybody, logouts of a few, logins.
        let leaving: Vec<Browser> = alive.split_off(16);
        let mut renewals = Vec::new();
        for at in 0..180 {
            let browser = alive[at % alive.len()].clone();
            renewals.push(tokio::spawn(async move {
                let request = browser.request(reqwest::Method::POST, "/auth/refresh").json(&json!({}));
                drop(request.send().await);
            }));
        }
        let logouts = leaving.iter().cloned().map(|browser| {
            tokio::spawn(async move {
                let kept = (browser.jar.get(ACCESS).unwrap(), browser.jar.get(REFRESH).unwrap());
                let request = browser.request(reqwest::Method::POST, "/auth/logout").json(&json!({}));
                let acknowledged = request.send().await.is_ok_and(|answer| answer.status() == 204);
                browser.jar.set(ACCESS, &kept.0);
                browser.jar.set(REFRESH, &kept.1);
                (browser, acknowledged)
            })
        });
        let logouts: Vec<_> = logouts.collect();
        let logins = (0..12).map(|_| {
            let browser = server.browser();
            tokio::spawn(async move {
                let login = json!({"username": "ada", "password": crate::server::PASSWORD});
                let request = browser.request(reqwest::Method::POST, "/auth/login").json(&login);
                let answer = request.send().await.ok().filter(|answer| answer.status() == 200)?;
                for line in crate::server::set_cookies(&answer) {
                    let (name, rest) = line.split_once('=')?;
                    browser.jar.set(name, rest.split(';').next()?);
                }
                Some(browser)
            })
        });
        let logins: Vec<_> = logins.collect();
        tokio::time::sleep(Duration::from_millis(2 + round * 7 % 60)).await;
        server.kill();
        futures_util::future::join_all(renewals).await;
        for logout in logouts {
            let (browser, acknowledged) = logout.await.unwrap();
            if acknowledged {
                ended.push(browser);
            }
        }
        for login in logins {
            alive.extend(login.await.unwrap());
        }
        assert_eq!(server.sqlite3("PRAGMA integrity_check"), "ok");
        server.start();
        for browser in alive.iter_mut().chain(&mut ended) {
            browser.origin.clone_from(&server.origin);
        }
        for browser in &alive {
            assert_eq!(browser.status().await, 200, "round {round}: an acknowledged session is lost");
        }
        for browser in ended.iter().rev().take(40) {
            assert_eq!(browser.status().await, 401, "round {round}: an acknowledged logout is alive");
        }
    }
    assert!(ended.len() > 20, "only {} logouts were acknowledged before a kill", ended.len());
}

#[tokio::test]
async fn a_terminated_server_answers_what_is_under_way_and_exits_with_0() {
    let mut server = Server::started(&[]);
    let browser = server.browser();
    let slow = tokio::spawn(async move {
        browser
            .post("/auth/login", json!({"username": "ada", "password": crate::server::PASSWORD}))
            .await
            .status()
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    server.signal("TERM");
    assert_eq!(slow.await.unwrap(), 200);
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_a_server_that_waits_for_a_request() {
    use std::io::Write as _;
    for signal in ["TERM", "INT"] {
        let mut server = Server::started(&[]);
        // A request whose body never ends.
        let mut slow = std::net::TcpStream::connect(server.address()).unwrap();
        let host = server.address();
        let head = format!("POST /auth/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
        slow.write_all(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes()).unwrap();
        assert_eq!(server.browser().status().await, 401, "the request is under way");
        server.signal(signal);
        eventually("told to end", || async { server.stderr().contains("ending after") }).await;
        assert!(server.is_running(), "it waits for the request");
        server.signal(signal);
        eventually("ending at once", || async { server.stderr().contains("ending at once") }).await;
        let asked = std::time::Instant::now();
        assert_eq!(server.wait(), Some(0));
        // Without the second signal it would have waited ten.
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn a_storm_of_hangups_changes_nothing() {
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
async fn a_damaged_ring_leaves_the_last_good_one_in_force_and_says_so() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let ring = std::fs::read(server.path("keys/ring.json")).unwrap();
    std::fs::write(server.path("keys/ring.json"), "<html>").unwrap();
    eventually("not ready", || async { browser.get("/health/ready").await.status() == 503 }).await;
    assert_eq!(browser.status().await, 200);
    std::fs::write(server.path("keys/ring.json"), ring).unwrap();
    eventually("ready again", || async { browser.get("/health/ready").await.status() == 200 }).await;
    assert!(server.stderr().contains("the last good one stays in force"));
}

#[tokio::test]
async fn a_locked_database_is_cannot_tell_and_nobody_is_logged_out() {
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
            .post("/auth/login", json!({"username": "ada", "password": crate::server::PASSWORD}))
            .await;
        let locked = answer.status() == 503;
        assert!(
            !locked
                || answer.headers().contains_key("retry-after")
                    && crate::server::set_cookies(&answer).is_empty()
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
            .post("/auth/login", json!({"username": "ada", "password": crate::server::PASSWORD}))
            .await
            .status()
            == 200
    })
    .await;
    assert_eq!(browser.status().await, 200);
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_server_is_small_and_gives_back_what_logins_took() {
    let server = Server::started(&[("BULLA_SESSION_CAP", "200")]);
    let before = resident_kib(server.pid());
    assert!(before < 25_000, "{before} KiB after start");
    for _ in 0..100 {
        server.ada().await;
    }
    let after = eventually_small(&server).await;
    println!("resident: {before} KiB after start, {after} KiB after 100 logins");
}

/// The memory of hashing is given back within a minute.
async fn eventually_small(server: &Server) -> u64 {
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = resident_kib(server.pid());
        if now < 25_000 {
            return now;
        }
    }
    panic!("{} KiB a minute after the last login", resident_kib(server.pid()));
}
