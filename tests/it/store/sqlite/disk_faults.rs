//! Tests a server whose database fails: a full, read-only or defective disk, or a file that is replaced, too new or an old backup.
//!
//! No acknowledged change is lost, a change is acknowledged only if it is durable, and no session ends without need.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::json;

use crate::support::{
    fault_injection::{DISK_FULL, IO_ERROR, READ_ONLY},
    server::{ACCESS, Browser, PASSWORD, Server, eventually, set_cookies},
};

/// Settings with which R is one second.
const SHORT: [(&str, &str); 3] =
    [("BULLA_SESSION_CAP", "10000"), ("BULLA_ACCESS_MAX_AGE", "2s"), ("BULLA_REPLAY_WINDOW", "500ms")];

/// Every operation in which a server writes for a user.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    LogIn,
    Refresh,
    LogOut,
    EndDevice,
    ChangePassword,
}

const ACTS: [Act; 5] = [Act::LogIn, Act::Refresh, Act::LogOut, Act::EndDevice, Act::ChangePassword];

impl Act {
    /// Sends the request and ignores the cookies of the answer.
    async fn carry_out(self, browser: &Browser, sid: &str) -> Response {
        let login = json!({"username": "u1", "password": PASSWORD});
        let request = match self {
            Self::LogIn => browser.client.post(format!("{}/auth/login", browser.origin)).json(&login),
            Self::Refresh => browser.request(Method::POST, "/auth/refresh").json(&json!({})),
            Self::LogOut => browser.request(Method::POST, "/auth/logout").json(&json!({})),
            Self::EndDevice => browser.request(Method::DELETE, &format!("/auth/sessions/{sid}")),
            Self::ChangePassword => browser
                .request(Method::POST, "/auth/password")
                .json(&json!({"current": PASSWORD, "new": PASSWORD})),
        };
        request.send().await.unwrap()
    }

    fn ends_the_session(self) -> bool {
        [Self::LogOut, Self::EndDevice, Self::ChangePassword].contains(&self)
    }
}

/// A browser with a session for this operation, and the session's id.
async fn ready_for(act: Act, server: &Server) -> (Browser, String) {
    let browser = server.browser();
    // Changing a password ends all sessions of its user, so it uses another user.
    browser.log_in(if act == Act::ChangePassword { "u2" } else { "u1" }).await;
    let sid = browser.sid().await;
    if act == Act::Refresh {
        past_r().await;
    }
    (browser, sid)
}

async fn past_r() {
    tokio::time::sleep(Duration::from_millis(1050)).await;
}

/// Whether an access token alone is accepted. The requested route doesn't exist, so the answer needs no store.
async fn passes(browser: &Browser) -> bool {
    let status = browser.get("/auth/nothing").await.status().as_u16();
    assert!([404, 401, 503].contains(&status), "{status}");
    status == 404
}

fn assert_cannot_tell(answer: &Response, what: &str) {
    assert_eq!(answer.status(), 503, "{what}");
    assert!(answer.headers().contains_key("retry-after") && set_cookies(answer).is_empty(), "{what}");
}

/// Checks after a crash that the sessions of `alive` hold and those of `ended` don't.
async fn assert_kept(server: &mut Server, alive: &mut [Browser], ended: &mut [Browser]) {
    for (browsers, expected) in [(alive, 200), (ended, 401)] {
        for browser in browsers.iter_mut() {
            browser.origin.clone_from(&server.origin);
            browser.jar.remove(ACCESS);
        }
        let statuses = join_all(browsers.iter().map(Browser::status)).await;
        assert!(statuses.iter().all(|status| *status == expected), "{expected}: {statuses:?}");
    }
}

#[tokio::test]
async fn a_full_disk_at_any_write_acknowledges_and_loses_nothing_and_the_server_recovers() {
    let mut server = Server::with_faults(&SHORT);
    server.crowd(2);
    server.start();
    let (mut alive, mut ended, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for act in ACTS {
        let mut refused = Vec::new();
        for after in 0.. {
            let what = format!("{act:?} with room for {after} writes");
            let (browser, sid) = ready_for(act, &server).await;
            let sessions = server.sqlite3("SELECT count(*) FROM sessions");
            server.inject("write", DISK_FULL, after);
            let answer = act.carry_out(&browser, &sid).await;
            if !server.clear_fault() {
                assert!(answer.status().is_success(), "{what}: {}", answer.status());
                if act.ends_the_session() {
                    ended.push(browser)
                } else {
                    alive.push(browser)
                }
                writes.push(after);
                break;
            }
            assert_cannot_tell(&answer, &what);
            assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), sessions, "{what}");
            assert_eq!(browser.status().await, 200, "{what}: in force though not acknowledged");
            refused.push(browser);
        }
        if act == Act::ChangePassword { ended.extend(refused) } else { alive.extend(refused) }
    }
    println!("{ACTS:?} take {writes:?} writes, refused at each");
    server.kill();
    assert_eq!(server.sqlite3("PRAGMA integrity_check"), "ok");
    server.start();
    assert_kept(&mut server, &mut alive, &mut ended).await;
}

#[tokio::test]
async fn with_a_read_only_disk_access_tokens_pass_and_readiness_and_commands_report_it() {
    for error in [DISK_FULL, READ_ONLY, IO_ERROR] {
        let mut server = Server::with_faults(&[]);
        server.start();
        let (browser, other) = (server.ada().await, server.ada().await);
        let sid = other.sid().await;
        server.inject("write", error, 0);
        assert_cannot_tell(&browser.post("/auth/logout", json!({})).await, "logout");
        assert!(passes(&browser).await, "access needs no disk");
        let ready = browser.get("/health/ready").await;
        assert_eq!(ready.status(), 503);
        assert_eq!(ready.json::<serde_json::Value>().await.unwrap()["checks"]["store"], false);
        let revoked = server.cli(&["session", "revoke", &sid]);
        assert_eq!((revoked.status.code(), &*String::from_utf8_lossy(&revoked.stdout)), (Some(5), ""));
        let added = server.cli_with(&["user", "add", "eve", "--password-stdin"], PASSWORD);
        assert_eq!(added.status.code(), Some(5), "{}", String::from_utf8_lossy(&added.stderr));
        assert!(server.clear_fault());
        assert_eq!(browser.get("/health/ready").await.status(), 200);
        assert_eq!(server.sqlite3("SELECT count(*) FROM users, sessions"), "2", "one user, two sessions");
        assert_eq!(other.status().await, 200);
        assert!(server.cli(&["session", "revoke", &sid]).status.success());
        eventually("revoked", || async { other.status().await == 401 }).await;
    }
}

#[tokio::test]
async fn a_failed_sync_acknowledges_nothing_and_ends_the_server_and_a_restart_recovers() {
    let mut server = Server::with_faults(&SHORT);
    server.crowd(2);
    server.start();
    let mut alive = vec![server.ada().await];
    for act in ACTS {
        let (browser, sid) = ready_for(act, &server).await;
        server.inject("sync", IO_ERROR, 0);
        assert_cannot_tell(&act.carry_out(&browser, &sid).await, &format!("{act:?}"));
        assert_eq!(server.wait(), Some(5), "{act:?}: ends by itself, with an error");
        let said = server.stderr();
        assert!(said.contains("could not be synced") && said.contains("start it again to recover"), "{said}");
        assert!(server.clear_fault());
        server.start();
        assert_eq!(server.sqlite3("PRAGMA integrity_check"), "ok");
        assert_kept(&mut server, &mut alive, &mut []).await;
        alive.push(server.ada().await);
    }
}

#[tokio::test]
async fn a_failed_sync_of_a_checkpoint_ends_the_server_too() {
    let mut server = Server::with_faults(&[]);
    server.start();
    let mut alive = [server.ada().await];
    server.inject("sync", IO_ERROR, 0);
    // More data than the write-ahead log may hold. The shell runs no checkpoint, so the server has to.
    server.sqlite3(
        "PRAGMA wal_autocheckpoint = 0; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
         INSERT INTO audit (at, event, actor, subject, detail) SELECT i, 'x', '', '', '\"' || hex(zeroblob(500)) || '\"' FROM n",
    );
    assert_eq!(server.wait(), Some(5));
    assert!(server.clear_fault());
    server.start();
    assert_eq!(
        server.sqlite3("PRAGMA integrity_check; SELECT count(*) FROM audit WHERE event = 'x'"),
        "ok\n6000"
    );
    assert_kept(&mut server, &mut alive, &mut []).await;
}

#[tokio::test]
async fn a_server_ends_if_its_open_database_is_replaced_or_removed() {
    for what in ["the WAL removed", "the database moved away", "the database replaced by a copy"] {
        let mut server = Server::started(&[]);
        let (mut browser, leaving) = (server.ada().await, server.ada().await);
        let (database, wal) = (server.path("bulla.db"), server.path("bulla.db-wal"));
        // A long WAL takes a while to be copied into the database.
        server.sqlite3(
            "CREATE TABLE filling (bytes BLOB); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
             INSERT INTO filling SELECT randomblob(4000) FROM n",
        );
        match what {
            "the WAL removed" => std::fs::remove_file(&wal).unwrap(),
            "the database moved away" => std::fs::rename(&database, server.path("away")).unwrap(),
            _ => {
                std::fs::copy(&database, server.path("copy")).unwrap();
                std::fs::rename(&database, server.path("away")).unwrap();
                std::fs::rename(server.path("copy"), &database).unwrap();
            }
        }
        let out = leaving.request(Method::POST, "/auth/logout").json(&json!({})).send().await;
        // No answer is accepted as well: the server may end before it answers.
        out.iter().for_each(|answer| assert_cannot_tell(answer, what));
        assert_eq!(server.wait(), Some(5), "{what}");
        server.says("was replaced or removed while it was open").await;
        if server.path("away").exists() {
            std::fs::rename(server.path("away"), &database).unwrap();
        }
        server.start();
        browser.origin.clone_from(&server.origin);
        assert_eq!(browser.status().await, 200, "{what}: what was acknowledged before is there");
        assert_eq!(server.sqlite3("PRAGMA integrity_check"), "ok", "{what}");
        assert_eq!(server.sqlite3("SELECT count(*) FROM filling"), "900", "{what}");
    }
}

#[tokio::test]
async fn a_schema_newer_than_the_program_is_refused_unchanged() {
    let server = Server::new(&[]);
    server.sqlite3(
        "INSERT INTO refinery_schema_history VALUES (99, 'from_the_future', '2030-01-01T00:00:00Z', '1')",
    );
    let before = server.sqlite3(".dump");
    for command in
        [&["serve", "--listen", "127.0.0.1:0"][..], &["serve", "--init"], &["user", "list"], &["init"]]
    {
        let refused = server.cli(command);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{command:?}: {said}");
        assert!(
            said.contains("the schema has version 99, this program knows versions up to"),
            "{command:?}: {said}"
        );
    }
    assert_eq!(server.sqlite3(".dump"), before);
}

#[tokio::test]
async fn a_restored_old_backup_keeps_all_sessions_and_is_recorded() {
    let mut server = Server::started(&SHORT);
    let mut browser = server.ada().await;
    server.sqlite3(&format!(".backup {}", server.path("backup.db").display()));
    for _ in 0..3 {
        past_r().await;
        assert_eq!(browser.post("/auth/refresh", json!({})).await.status(), 200);
    }
    assert_eq!(server.sqlite3("SELECT generation FROM sessions"), "3");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    std::fs::rename(server.path("backup.db"), server.path("bulla.db")).unwrap();
    for beside in ["bulla.db-wal", "bulla.db-shm"] {
        let _ = std::fs::remove_file(server.path(beside));
    }
    assert_eq!(server.sqlite3("SELECT generation FROM sessions"), "0");
    server.start();
    browser.origin.clone_from(&server.origin);
    browser.jar.remove(ACCESS);
    assert_eq!(browser.status().await, 200, "nobody is logged out by it");
    assert_eq!(server.sqlite3("SELECT generation FROM sessions"), "4");
    assert_eq!(server.sqlite3("SELECT count(*) FROM audit WHERE event = 'refresh.forward'"), "1");
    server.says("probably an old backup of the database was restored").await;
    let metrics = browser.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("bulla_events_total{event=\"refresh.forward\"} 1"));
}

#[tokio::test]
async fn busy_readers_are_a_503_within_one_second() {
    let mut server = Server::with_faults(&SHORT);
    server.start();
    let browsers = server.adas(12).await;
    // A commit by another process invalidates all pages that the connections have cached.
    server.sqlite3("UPDATE users SET claims = '{}'");
    server.inject("slow", 1000, 0);
    let asked = browsers.iter().map(|browser| async {
        browser.jar.remove(ACCESS);
        let started = std::time::Instant::now();
        let answer = browser.get("/auth/session").await;
        (answer, started.elapsed())
    });
    let answers = join_all(asked).await;
    assert!(server.clear_fault());
    let (unknown, known): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(answer, _)| answer.status() == 503);
    println!(
        "cannot tell: {} after {:?} at the most",
        unknown.len(),
        unknown.iter().map(|(_, took)| took).max()
    );
    assert!(unknown.len() >= 9, "three read, nine find nobody to read for them: {}", unknown.len());
    for (answer, took) in &unknown {
        assert_cannot_tell(answer, "a pool that is exhausted");
        assert!(*took < Duration::from_secs(1), "{took:?}");
    }
    assert!(known.iter().all(|(answer, _)| answer.status() == 200));
    let statuses = join_all(browsers.iter().map(Browser::status)).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test]
async fn a_stale_feed_is_not_ready_and_refuses_by_policy() {
    for (on_stale, passes_meanwhile) in [("refuse", false), ("serve", true)] {
        let mut server = Server::with_faults(&[("BULLA_MAX_STALENESS", "1s"), ("BULLA_ON_STALE", on_stale)]);
        server.start();
        let (browser, revoked) = (server.ada().await, server.ada().await);
        let sid = revoked.sid().await;
        server.inject("read", IO_ERROR, 0);
        server.sqlite3(&format!("DELETE FROM sessions WHERE sid = '{sid}'"));
        let mut checks = serde_json::Value::Null;
        while checks["revocations"] != false {
            let ready = browser.get("/health/ready").await;
            assert!(ready.status() == 200 || ready.status() == 503);
            checks = ready.json::<serde_json::Value>().await.unwrap()["checks"].take();
        }
        assert_eq!(passes(&browser).await, passes_meanwhile, "{on_stale}");
        assert!(server.clear_fault());
        eventually("ready again", || async { browser.get("/health/ready").await.status() == 200 }).await;
        assert_eq!((browser.status().await, revoked.status().await), (200, 401), "{on_stale}");
        let log = server.stderr();
        assert_eq!(log.matches("the revocation feed is behind").count(), 1, "said once: {log}");
    }
}
