//! Tests `kill -9` at any moment: acknowledged changes are kept, and the next start finds an intact database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::server::{ACCESS, Browser, PASSWORD, Server};

#[tokio::test]
async fn a_killed_server_has_lost_no_acknowledged_change() {
    let mut server = Server::new(&[
        ("BULLA_SESSION_CAP", "10000"),
        ("BULLA_ACCESS_MAX_AGE", "400ms"),
        ("BULLA_REPLAY_WINDOW", "100ms"),
    ]);
    server.start();
    let mut ended: Vec<Browser> = Vec::new();
    for round in 0..50 {
        // New browsers in each round: a session whose answer was lost in a crash is pardoned, but not a second time within an hour
        // for another generation.
        let mut alive = server.adas(24).await;
        // 200 requests at once: 180 renewals, 8 logouts and 12 logins.
        let leaving: Vec<Browser> = alive.split_off(16);
        let answered = Arc::new(AtomicUsize::new(0));
        let renew = |at| under_way(&alive[at % alive.len()], Act::Refresh, &answered);
        let renewals: Vec<_> = (0..180).map(renew).collect();
        let leave = |browser: &Browser| under_way(browser, Act::LogOut, &answered);
        let logouts: Vec<_> = leaving.iter().map(leave).collect();
        let log_in = |_| under_way(&server.browser(), Act::LogIn, &answered);
        let logins: Vec<_> = (0..12).map(log_in).collect();
        // In each round another number of answers arrives before the kill.
        while answered.load(Ordering::Relaxed) < round * 37 % 190 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        server.kill();
        join_all(renewals).await;
        let acknowledged = async |acts: Vec<JoinHandle<(Browser, Option<Response>)>>| {
            let done = join_all(acts).await.into_iter().map(Result::unwrap);
            done.filter_map(|(browser, done)| Some((browser, done?))).collect::<Vec<_>>()
        };
        ended.extend(acknowledged(logouts).await.into_iter().map(|(browser, _)| browser));
        for (browser, answer) in acknowledged(logins).await {
            browser.jar.take_from(&answer);
            alive.push(browser);
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
    println!("{} of 400 logouts were acknowledged before a kill", ended.len());
    assert!(ended.len() > 20, "{}", ended.len());
}

/// Starts a task that performs the operation. The cookies of the answer are not stored.
fn under_way(
    browser: &Browser,
    act: Act,
    answered: &Arc<AtomicUsize>,
) -> JoinHandle<(Browser, Option<Response>)> {
    let (browser, answered) = (browser.clone(), Arc::clone(answered));
    tokio::spawn(async move {
        let done = act.carry_out(&browser).await;
        answered.fetch_add(1, Ordering::Relaxed);
        (browser, done)
    })
}

/// The operation in progress when the server is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    LogIn,
    Refresh,
    LogOut,
}

impl Act {
    /// Sends the request; returns the answer if it acknowledges the operation.
    async fn carry_out(self, browser: &Browser) -> Option<Response> {
        let (path, body) = match self {
            Self::LogIn => ("/auth/login", json!({"username": "ada", "password": PASSWORD})),
            Self::Refresh => ("/auth/refresh", json!({})),
            Self::LogOut => ("/auth/logout", json!({})),
        };
        let answer = browser.request(Method::POST, path).json(&body).send().await.ok()?;
        // Under such a load the server may answer 503, which is not an acknowledgement.
        assert!(answer.status().is_success() || answer.status() == 503, "{self:?}: {}", answer.status());
        Some(answer).filter(|answer| answer.status().is_success())
    }
}

#[tokio::test]
async fn a_kill_at_any_write_of_a_commit_leaves_the_whole_commit_or_nothing() {
    let mut server = Server::with_faults(&[
        ("BULLA_SESSION_CAP", "10000"),
        ("BULLA_ACCESS_MAX_AGE", "400ms"),
        ("BULLA_REPLAY_WINDOW", "100ms"),
    ]);
    server.start();
    let mut writes = Vec::new();
    for act in [Act::LogIn, Act::Refresh, Act::LogOut] {
        for after in 0.. {
            let mut browser = server.ada().await;
            // A renewal first waits longer than R, the least time between two rotations.
            tokio::time::sleep(Duration::from_millis(if act == Act::Refresh { 250 } else { 0 })).await;
            server.inject("die", 0, after);
            let acknowledged = act.carry_out(&browser).await;
            if let Some(answer) = acknowledged.as_ref().filter(|_| act != Act::LogOut) {
                browser.jar.take_from(answer);
            }
            let died = server.clear_fault();
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
                (Act::LogOut, Some(_)) => &[401],
                (_, Some(_)) | (Act::Refresh, None) => &[200],
                // The operation may be done or not, because there was no answer. A login ends the session that its own request
                // presents.
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

/// The number of migrations.
fn migrations() -> usize {
    std::fs::read_dir("src/store/migrations/sqlite").unwrap().count()
}

#[tokio::test]
async fn a_migration_killed_at_any_write_is_completed_by_the_next_start() {
    let server = Server::with_faults(&[]);
    let (mut after, mut killed) = (0, 0);
    loop {
        for file in ["bulla.db", "bulla.db-wal", "bulla.db-shm"] {
            let _ = std::fs::remove_file(server.path(file));
        }
        // A program that was killed at its first step leaves an empty file.
        std::fs::write(server.path("bulla.db"), "").unwrap();
        server.inject("die", 0, after);
        let migrating = server.cli(&["user", "list"]);
        let died = server.clear_fault();
        assert_eq!(migrating.status.success(), !died, "{}", String::from_utf8_lossy(&migrating.stderr));
        let next = server.cli(&["user", "list"]);
        assert!(next.status.success(), "after {after}: {}", String::from_utf8_lossy(&next.stderr));
        let sound = "PRAGMA integrity_check; SELECT count(*) FROM refinery_schema_history; SELECT count(*) FROM audit";
        assert_eq!(server.sqlite3(sound), format!("ok\n{}\n0", migrations()), "after {after} writes");
        if !died {
            break;
        }
        (after, killed) = (after + 1, killed + 1);
    }
    println!("a migration takes {after} writes; killed at each");
    assert!(killed > 20, "{killed}");
}

#[test]
fn two_concurrent_first_starts_create_one_schema() {
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
        let done = server.sqlite3("SELECT count(*) FROM refinery_schema_history");
        assert_eq!(done, migrations().to_string());
    }
}
