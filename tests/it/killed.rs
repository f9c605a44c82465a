//! `kill -9` at any moment: what was acknowledged is kept, and the next start finds a sound database.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::server::{ACCESS, Browser, PASSWORD, REFRESH, Server};

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
        let mut alive = server.adas(24).await;
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
                let login = json!({"username": "ada", "password": PASSWORD});
                let request = browser.request(reqwest::Method::POST, "/auth/login").json(&login);
                let answer = request.send().await.ok().filter(|answer| answer.status() == 200)?;
                browser.jar.take_from(&answer);
                Some(browser)
            })
        });
        let logins: Vec<_> = logins.collect();
        tokio::time::sleep(Duration::from_millis(2 + round * 7 % 60)).await;
        server.kill();
        join_all(renewals).await;
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
        let statuses = join_all(alive.iter().map(Browser::status)).await;
        assert!(
            statuses.iter().all(|s| *s == 200),
            "round {round}: an acknowledged session is lost: {statuses:?}"
        );
        let statuses = join_all(ended.iter().rev().take(40).map(Browser::status)).await;
        assert!(
            statuses.iter().all(|s| *s == 401),
            "round {round}: an acknowledged logout is alive: {statuses:?}"
        );
    }
    assert!(ended.len() > 20, "only {} logouts were acknowledged before a kill", ended.len());
}

/// What is under way when the server is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    LogIn,
    Refresh,
    LogOut,
}

impl Act {
    /// Does it; `Some` says that it was acknowledged.
    async fn carry_out(self, browser: &Browser) -> Option<()> {
        let (path, body) = match self {
            Self::LogIn => ("/auth/login", json!({"username": "ada", "password": PASSWORD})),
            Self::Refresh => ("/auth/refresh", json!({})),
            Self::LogOut => ("/auth/logout", json!({})),
        };
        let answer = browser.request(reqwest::Method::POST, path).json(&body).send().await.ok()?;
        assert!(answer.status().is_success(), "{self:?}: {}", answer.status());
        if self != Self::LogOut {
            browser.jar.take_from(&answer);
        }
        Some(())
    }
}

#[tokio::test]
async fn a_kill_at_any_write_of_a_commit_leaves_all_of_it_or_nothing() {
    let mut server = Server::faulty(&[
        ("BULLA_SESSION_CAP", "10000"),
        ("BULLA_ACCESS_MAX_AGE", "400ms"),
        ("BULLA_REPLAY_WINDOW", "100ms"),
    ]);
    server.start();
    let mut writes = Vec::new();
    for act in [Act::LogIn, Act::Refresh, Act::LogOut] {
        for after in 0.. {
            let mut browser = server.ada().await;
            tokio::time::sleep(Duration::from_millis(if act == Act::Refresh { 250 } else { 0 })).await; // past R
            server.order("die", 0, after);
            let acknowledged = act.carry_out(&browser).await;
            let died = server.relent();
            assert_eq!(
                acknowledged.is_some(),
                !died,
                "{act:?}: answered before it was durable, or not at all"
            );
            server.kill();
            assert_eq!(server.sqlite3("PRAGMA integrity_check"), "ok", "{act:?} after {after} writes");
            server.start();
            browser.origin.clone_from(&server.origin);
            browser.jar.remove(ACCESS);
            let allowed: &[u16] = match (act, acknowledged) {
                (Act::LogOut, Some(())) => &[401],
                (_, Some(())) | (Act::Refresh, None) => &[200],
                // Done or not done, for nobody was told. A login ends the session that its own request presents.
                (Act::LogIn | Act::LogOut, None) => &[200, 401],
            };
            let status = browser.status().await;
            assert!(allowed.contains(&status), "{act:?} killed after {after} writes: {status}");
            if !died {
                writes.push(after);
                break;
            }
        }
    }
    println!("a login, a refresh, a logout: {writes:?} writes, killed at each");
    assert!(writes.iter().all(|count| *count >= 3), "a page is two writes and a sync: {writes:?}");
}

#[tokio::test]
async fn a_migration_killed_at_any_write_is_completed_by_the_next_start() {
    let server = Server::faulty(&[]);
    let (mut after, mut killed) = (0, 0);
    loop {
        for file in ["bulla.db", "bulla.db-wal", "bulla.db-shm"] {
            let _ = std::fs::remove_file(server.path(file));
        }
        // An empty file: what a program finds that was killed at its very first step.
        std::fs::write(server.path("bulla.db"), "").unwrap();
        server.order("die", 0, after);
        let migrating = server.cli(&["user", "list"]);
        let died = server.relent();
        assert_eq!(migrating.status.success(), !died, "{}", String::from_utf8_lossy(&migrating.stderr));
        let next = server.cli(&["user", "list"]);
        assert!(next.status.success(), "after {after}: {}", String::from_utf8_lossy(&next.stderr));
        let sound = "PRAGMA integrity_check; SELECT count(*) FROM refinery_schema_history; SELECT count(*) FROM audit";
        assert_eq!(server.sqlite3(sound), "ok\n1\n0", "after {after} writes");
        if !died {
            break;
        }
        (after, killed) = (after + 1, killed + 1);
    }
    println!("a migration takes {after} writes; killed at each");
    assert!(killed > 20, "{killed}");
}

#[test]
fn two_first_starts_at_once_make_one_schema() {
    let server = Server::new(&[]);
    for round in 0..10 {
        for file in ["bulla.db", "bulla.db-wal", "bulla.db-shm"] {
            let _ = std::fs::remove_file(server.path(file));
        }
        std::fs::write(server.path("bulla.db"), "").unwrap();
        let starts = std::thread::scope(|scope| {
            let starts = [(); 3].map(|()| scope.spawn(|| server.cli(&["user", "list"])));
            starts.map(|start| start.join().unwrap())
        });
        for start in starts {
            let said = String::from_utf8_lossy(&start.stderr);
            assert!(start.status.success(), "round {round}: {said}");
        }
        assert_eq!(server.sqlite3("SELECT count(*) FROM refinery_schema_history"), "1");
    }
}
