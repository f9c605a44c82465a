//! Tests that deleting a session revokes it, whether the server, the command line, another server or a database shell deletes it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bulla::internals::{
    clock::Timestamp,
    ids::Sid,
    session::Denylist,
    store::{Actor, AuditEvent, Event, Feed as _, Revocation, RevocationTarget},
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    installation::Installation,
    server::{ACCESS, Browser, Jar, REFRESH, Server, eventually},
};

/// The promised time within which a revocation takes effect.
const BOUND: Duration = Duration::from_secs(1);

/// Logs in `u1`, `u2`, … with a browser each; returns the browsers and the ids of their sessions.
async fn users(server: &Server, count: usize) -> Vec<(Browser, String)> {
    server.crowd(count);
    join_all((1..=count).map(|n| async move {
        let browser = server.browser();
        browser.log_in(&format!("u{n}")).await;
        let sid = browser.sid().await;
        (browser, sid)
    }))
    .await
}

/// Checks that neither token is accepted any more, within the bound.
async fn assert_ended(browser: &Browser, by: &str) {
    let took = eventually(by, || async { browser.status().await == 401 }).await;
    println!("revoked by {by}: in force after {took:?}");
    assert!(took < BOUND, "{by}: {took:?}");
    let refresh_alone = browser.clone();
    refresh_alone.jar.remove(ACCESS);
    assert_eq!(refresh_alone.status().await, 401, "{by}");
}

/// Statements in a database shell; `{sid}`, `{id}` and `{name}` stand for the session's id, the user's id and the user's name.
const STATEMENTS: [&str; 15] = [
    "DELETE FROM sessions WHERE sid = '{sid}'",
    "DELETE FROM sessions WHERE user_id = '{id}'",
    "INSERT OR REPLACE INTO sessions SELECT NULL, sid, user_id, zeroblob(32), 0, rotated_at, NULL, NULL, created_at,
       idle_expires_at, expires_at, transport, user_agent, ip, client_id, scope, auth_time FROM sessions WHERE sid = '{sid}'",
    "UPDATE sessions SET sid = 'AAAAAAAAAAAAAAAAAAAAAA' WHERE sid = '{sid}'",
    "UPDATE OR REPLACE sessions SET sid = '{sid}' WHERE sid = 'AAAAAAAAAAAAAAAAAAAAAA'",
    "UPDATE sessions SET user_id = '1' WHERE sid = '{sid}'",
    "UPDATE sessions SET expires_at = created_at WHERE sid = '{sid}'",
    "DELETE FROM users WHERE name = '{name}'",
    "UPDATE users SET disabled = 1 WHERE name = '{name}'",
    "UPDATE users SET id = id + 1000 WHERE name = '{name}'",
    "REPLACE INTO users (id, name, folded, created_at) VALUES ({id}, 'somebody else', 'x1', 0)",
    "REPLACE INTO users (name, folded, created_at) VALUES ('{name}', '{name}', 0)",
    "UPDATE OR REPLACE users SET folded = '{name}' WHERE name = 'ada'",
    "BEGIN; DELETE FROM sessions WHERE sid = '{sid}'; SAVEPOINT s; DELETE FROM users; ROLLBACK TO s; COMMIT",
    "PRAGMA foreign_keys = ON; DELETE FROM users WHERE id = {id}",
];

#[tokio::test]
async fn a_session_ended_in_a_database_shell_is_refused_within_one_second() {
    let server = Server::started(&[]);
    let users = users(&server, STATEMENTS.len() + 1).await;
    for (n, (statement, (browser, sid))) in STATEMENTS.iter().zip(&users).enumerate() {
        assert_eq!(browser.status().await, 200, "{statement}");
        let (name, id) = (format!("u{}", n + 1), format!("{}", n + 2));
        server.sqlite3(&statement.replace("{sid}", sid).replace("{name}", &name).replace("{id}", &id));
        assert_ended(browser, statement).await;
    }
    let (untouched, _) = users.last().unwrap();
    assert_eq!(untouched.status().await, 200);
    server.sqlite3("DELETE FROM sessions");
    assert_ended(untouched, "DELETE FROM sessions").await;
}

#[tokio::test]
async fn shell_statements_that_end_no_session_revoke_nothing() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    server.sqlite3(
        "UPDATE sessions SET expires_at = expires_at + 1, user_agent = 'x'; UPDATE users SET disabled = 0, claims = '{}';
         BEGIN; DELETE FROM sessions; DELETE FROM users; ROLLBACK; VACUUM; REINDEX; ANALYZE; PRAGMA wal_checkpoint",
    );
    assert_eq!(server.sqlite3("SELECT count(*) FROM revocations"), "0");
    assert_eq!(browser.status().await, 200);
    browser.jar.remove(ACCESS);
    assert_eq!(browser.status().await, 200);
}

#[tokio::test]
async fn a_session_ended_on_the_command_line_is_refused_within_one_second() {
    let server = Server::started(&[]);
    let commands = [
        "session revoke SID",
        "session revoke --user NAME",
        "user disable NAME",
        "user delete NAME",
        "user passwd NAME --password-stdin",
        "session revoke --all",
    ];
    for (n, (command, (browser, sid))) in
        commands.iter().zip(&users(&server, commands.len()).await).enumerate()
    {
        let command = command.replace("SID", sid).replace("NAME", &format!("u{}", n + 1));
        let arguments: Vec<&str> = command.split(' ').collect();
        assert_eq!(browser.status().await, 200, "{command}");
        let done = server.cli_with(&arguments, "another good one");
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
        assert_ended(browser, &command).await;
    }
}

#[tokio::test]
async fn concurrent_ends_by_server_command_line_and_shell_end_only_their_sessions() {
    let server = Server::started(&SHORT);
    let users = users(&server, 40).await;
    let (ending, staying) = users.split_at(30);
    // The other users continue to renew their sessions meanwhile.
    let staying: Vec<_> = staying.iter().map(|(browser, _)| browser.clone()).collect();
    let renewing = tokio::spawn(async move {
        for _ in 0..20 {
            staying.iter().for_each(|browser| browser.jar.remove(ACCESS));
            let statuses = join_all(staying.iter().map(Browser::status)).await;
            assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        }
        staying
    });
    let server = Arc::new(server);
    let endings = ending.iter().cloned().enumerate().map(|(n, (browser, sid))| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let kept = (browser.jar.get(ACCESS).unwrap(), browser.jar.get(REFRESH).unwrap());
            let by = ["the server", "the command line", "a shell"][n % 3];
            let in_the_background = |work: Box<dyn FnOnce(&Server) + Send>| {
                let server = Arc::clone(&server);
                tokio::task::spawn_blocking(move || work(&server))
            };
            match n % 3 {
                0 => assert_eq!(browser.post("/auth/logout", json!({})).await.status(), 204),
                1 => in_the_background(Box::new(move |server| {
                    // If the command waits too long for the lock, it exits with 5 and is run again.
                    let revoke = || server.cli(&["session", "revoke", &sid]);
                    let done =
                        std::iter::repeat_with(revoke).find(|done| done.status.code() != Some(5)).unwrap();
                    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
                }))
                .await
                .unwrap(),
                _ => in_the_background(Box::new(move |server| {
                    server.sqlite3(&format!("DELETE FROM sessions WHERE sid = '{sid}'"));
                }))
                .await
                .unwrap(),
            }
            browser.jar.set(ACCESS, &kept.0);
            browser.jar.set(REFRESH, &kept.1);
            assert_ended(&browser, by).await;
        })
    });
    for ending in endings.collect::<Vec<_>>() {
        ending.await.unwrap();
    }
    for browser in renewing.await.unwrap() {
        assert_eq!(browser.status().await, 200);
    }
}

/// Settings with which R is one second.
const SHORT: [(&str, &str); 2] = [("BULLA_ACCESS_MAX_AGE", "2s"), ("BULLA_REPLAY_WINDOW", "500ms")];

/// Renews four times at once; returns the status of each answer and a browser that holds only the cookies of that answer.
async fn renew(browser: &Browser) -> Vec<(u16, Browser)> {
    let renewals = [(); 4].map(|()| async {
        let answer = browser.request(Method::POST, "/auth/refresh").json(&json!({})).send().await.unwrap();
        let holder = Browser { jar: Jar::default(), ..browser.clone() };
        holder.jar.take_from(&answer);
        (answer.status().as_u16(), holder)
    });
    join_all(renewals).await
}

#[tokio::test]
async fn a_refresh_that_races_with_the_end_of_its_session_leaves_no_live_token() {
    let server = Server::started(&SHORT);
    let (admin, users) = (server.ada().await, users(&server, 24).await);
    // The pause is longer than R, the least time between two rotations.
    tokio::time::sleep(Duration::from_millis(1050)).await;
    for (n, (browser, sid)) in users.iter().enumerate() {
        let end = async {
            match n % 4 {
                0 => drop(admin.delete(&format!("/admin/sessions/{sid}")).await),
                1 => {
                    let disabled = admin.request(Method::PATCH, &format!("/admin/users/{}", n + 2));
                    assert_eq!(admin.send(disabled.json(&json!({"disabled": true}))).await.status(), 200);
                }
                2 => drop(admin.delete(&format!("/admin/users/{}", n + 2)).await),
                _ => {
                    let leaving = browser.request(Method::POST, "/auth/logout").json(&json!({}));
                    assert_eq!(leaving.send().await.unwrap().status(), 204);
                }
            }
        };
        let (renewed, ()) = tokio::join!(renew(browser), end);
        for (status, holder) in renewed {
            assert!(status == 200 || status == 401, "{status}");
            assert_eq!(holder.status().await, 401, "in the same process: at once");
        }
        assert_eq!(browser.status().await, 401);
    }
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "1", "the administrator's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_races_with_a_rollover_succeeds() {
    let server = Server::started(&SHORT);
    let users = users(&server, 8).await;
    for round in 1..=2 {
        // The pause is longer than R, the least time between two rotations.
        tokio::time::sleep(Duration::from_millis(1050)).await;
        let (renewed, ()) = tokio::join!(join_all(users.iter().map(|(browser, _)| renew(browser))), async {
            tokio::task::block_in_place(|| {
                assert!(server.cli(&["keys", "rotate", "--now", "--wait", "0s"]).status.success());
                server.signal("HUP");
            });
        });
        for ((browser, _), renewed) in users.iter().zip(renewed) {
            for (status, holder) in renewed {
                assert_eq!((status, holder.status().await), (200, 200), "round {round}");
                let tokens = [ACCESS, REFRESH].map(|name| (name, holder.jar.get(name)));
                let tokens = tokens.iter().filter_map(|(name, token)| Some((name, token.as_ref()?)));
                tokens.for_each(|(name, token)| browser.jar.set(name, token));
            }
        }
        assert_eq!(server.sqlite3("SELECT DISTINCT generation FROM sessions"), round.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_during_a_revocation_gets_it() {
    let installation = Installation::new();
    let node = installation.node().await;
    let user = node.user("ada").await;
    for round in 0..40 {
        let (before, meanwhile) = (node.begin(&user).await, node.begin(&user).await);
        assert!(node.log_out(before.row.sid).await);
        let (ender, sid) = (node.clone(), meanwhile.row.sid);
        let ending = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            assert!(ender.log_out(sid).await);
        });
        let new = installation.node().await;
        assert!(new.sessions.authenticate(before.access.as_str()).is_err(), "complete before it is ready");
        ending.await.unwrap();
        let ended = Instant::now();
        assert!(new.hears_of(&meanwhile.access).await, "round {round}");
        assert!(ended.elapsed() < BOUND, "round {round}: {:?}", ended.elapsed());
    }
}

#[tokio::test]
async fn a_revocation_that_cannot_be_committed_is_an_error_and_does_not_apply() {
    let installation = Installation::new();
    let node = installation.node().await;
    let user = node.user("ada").await;
    let issued = node.begin(&user).await;
    let shell = installation.shell();
    shell.run("BEGIN IMMEDIATE");
    let ended =
        node.sessions.end(issued.row.sid, AuditEvent::new(Event::Logout, Actor::read("tests"), "")).await;
    assert!(ended.is_err());
    assert!(node.sessions.authenticate(issued.access.as_str()).is_ok(), "not in force either");
    shell.run("ROLLBACK");
    assert!(node.store.revocations().await.unwrap().is_empty());
    assert!(node.log_out(issued.row.sid).await);
}

#[test]
fn a_million_revocations_are_stored_found_and_expire() {
    const FLOOD: u32 = 1_000_000;
    let sid = |n: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        // Session ids are random, and the list chooses the shard by the last byte, so this byte must vary here, too.
        bytes[15] = n as u8;
        Sid(bytes)
    };
    let expires_at = Timestamp::from_millis(1_020_000);
    let revocation = |n: u32| Revocation {
        seq: n.into(),
        target: RevocationTarget::Session(sid(n)),
        revoked_at: Timestamp::EPOCH,
        expires_at,
    };
    let list = Denylist::default();
    let started = Instant::now();
    let memory = allocation_counter::measure(|| {
        for from in (0..FLOOD).step_by(1000) {
            list.add((from..from + 1000).map(revocation).collect(), Timestamp::EPOCH);
        }
    });
    let added = started.elapsed();
    assert_eq!(list.len(), FLOOD as usize);
    let started = Instant::now();
    assert!((0..FLOOD).all(|n| list.denies(sid(n))) && !list.denies(sid(FLOOD)));
    let found = started.elapsed();
    println!(
        "a million revocations: {added:?} to add, {found:?} to find each, {} MB",
        memory.bytes_current / 1_000_000
    );
    // The documentation says "about 60 bytes" each; a table that has just grown is half empty.
    assert!(memory.bytes_current < 120 * i64::from(FLOOD), "{} bytes", memory.bytes_current);
    list.replace((0..10).map(revocation).collect());
    assert_eq!((list.len(), list.denies(sid(9)), list.denies(sid(10))), (10, true, false));
}
