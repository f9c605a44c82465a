//! Tests `bulla migrate`: a whole installation moves from SQLite to PostgreSQL, and everyone stays logged in.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use crate::support::{
    cluster::{self, Created, psql},
    oauth_client::text,
    server::{ACCESS, PASSWORD, REFRESH, Server, eventually},
};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Queries for everything that moves, with the same output in both shells. `hex:x` stands for the bytes of column `x` in
/// hexadecimal.
const EVERYTHING: [&str; 8] = [
    "SELECT id, name, folded, password_hash, roles, claims, disabled, created_at FROM users ORDER BY id",
    "SELECT issuer, subject, user_id FROM identities ORDER BY issuer, subject",
    "SELECT sid, user_id, hex:secret_hash, generation, rotated_at, pardoned_gen, pardoned_at, created_at,
       idle_expires_at, expires_at, transport, user_agent, ip, client_id, scope FROM sessions ORDER BY n",
    "SELECT id, name, hex:secret_hash, hex:former_hash, former_until, jwks, scopes, audiences, redirect_uris, disabled,
       created_at FROM clients ORDER BY id",
    "SELECT seq, target, revoked_at, expires_at FROM revocations ORDER BY seq",
    "SELECT hex:hash, expires_at FROM used ORDER BY hash",
    "SELECT seq, at, event, actor, subject, detail FROM audit WHERE event <> 'database.migrated' ORDER BY seq",
    "SELECT generation, hex:fingerprint FROM ring",
];

fn sides(sql: &str, server: &Server, to: &Created) -> [String; 2] {
    let with = |before: &str, after: &str| {
        let words = sql.split(' ').map(|word| match word.strip_prefix("hex:") {
            Some(rest) => {
                let (column, comma) = rest.strip_suffix(',').map_or((rest, ""), |column| (column, ","));
                format!("{before}{column}{after}{comma}")
            }
            None => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    [server.sqlite3(&with("lower(hex(", "))")), psql(&to.url, &with("encode(", ", 'hex')"))]
}

/// Checks that both databases hold the same rows; returns how many.
fn same(server: &Server, to: &Created) -> usize {
    let all = EVERYTHING.map(|sql| {
        let [old, new] = sides(sql, server, to);
        assert_eq!(old, new, "{sql}");
        old.lines().count()
    });
    all.iter().sum()
}

fn migrate(server: &Server, to: &Created) -> Output {
    server.cli(&["migrate", "--from", "sqlite:bulla.db", "--to", &to.url, "--json"])
}

/// Rows that another part of the program, or another program, writes.
const MORE: &str = "INSERT INTO identities VALUES ('https://idp.example', 'sub|1', '1', 8);
    INSERT INTO clients (id, name, secret_hash, scopes, created_at, former_hash, former_until, jwks, redirect_uris)
      VALUES ('billing', 'Billing', zeroblob(32), '[\"admin\"]', 5, randomblob(32), 6, '{\"keys\":[]}', '[\"https://app.example/back\"]');
    INSERT INTO clients (id, name, public, created_at) VALUES ('phone', 'Phone', 1, 5);
    INSERT INTO used VALUES (x'0102', 99999999999999), (x'0103', 5);
    INSERT INTO revocations (target, revoked_at, expires_at) VALUES ('client:billing', 7, 99999999999999);";

#[tokio::test]
async fn a_migration_keeps_all_sessions_and_all_revocations() {
    let Some(to) = cluster::shared().map(cluster::Cluster::create) else { return };
    let mut server = Server::started(&[]);
    server.add_user("bob", &["reader"]);
    let (ada, bob, gone) = (server.ada().await, server.browser(), server.ada().await);
    bob.log_in("bob").await;
    let kept = (gone.jar.get(ACCESS).unwrap(), gone.jar.get(REFRESH).unwrap());
    assert_eq!(gone.post("/auth/logout", serde_json::json!({})).await.status(), 204);
    server.add_user("eve", &[]);
    assert!(server.cli(&["user", "delete", "eve"]).status.success());
    let mut cron = server.client("cron", &["--scope", "admin"]);
    let machine = cron.service().await;
    server.sqlite3(MORE);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));

    let moved = migrate(&server, &to);
    assert!(moved.status.success(), "{}", said(&moved));
    let report: serde_json::Value = serde_json::from_slice(&moved.stdout).unwrap();
    let rows = |table: &str| report["rows"][table].as_u64().unwrap();
    // One of the two nonces has expired; none of the revocations has.
    assert_eq!((rows("users"), rows("sessions"), rows("revocations"), rows("used")), (2, 2, 2, 1));
    server.sqlite3("DELETE FROM used WHERE expires_at = 5");
    assert!(same(&server, &to) > 15);

    server.set("BULLA_DATABASE", &to.url);
    server.start();
    for browser in [&ada, &bob] {
        let mut browser = browser.clone();
        browser.origin.clone_from(&server.origin);
        assert_eq!(browser.status().await, 200, "by the access token");
        browser.jar.remove(ACCESS);
        assert_eq!(browser.status().await, 200, "by the refresh token");
    }
    for (name, token) in [(ACCESS, &kept.0), (REFRESH, &kept.1)] {
        let thief = server.browser();
        thief.jar.set(name, token);
        assert_eq!(thief.status().await, 401, "a logout is undone: {name}");
    }
    assert_eq!(server.ada().await.status().await, 200, "passwords have moved");
    cron.origin.clone_from(&server.origin);
    assert!(cron.is_active(text(&machine, "access_token")).await, "and clients, with their secrets");
    server.add_user("fay", &[]);
    // Eve was the third user, and no id is used twice.
    assert_eq!(psql(&to.url, "SELECT max(id) FROM users"), "4");
    let numbers = "SELECT count(*) - count(DISTINCT seq) FROM audit";
    assert_eq!(psql(&to.url, numbers), "0");
    // A revocation keeps the time at which it was made.
    assert_eq!(psql(&to.url, "SELECT revoked_at FROM revocations WHERE target = 'client:billing'"), "7");
    let enabled = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'";
    assert_eq!(psql(&to.url, enabled), "0", "every trigger is back");
}

#[test]
fn a_migration_killed_at_any_moment_can_be_repeated() {
    let Some(to) = cluster::shared().map(cluster::Cluster::create) else { return };
    let server = Server::new(&[]);
    server.sqlite3(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO audit (at, event, actor, subject) SELECT i, 'login', '1', i FROM n;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO sessions (sid, user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at, expires_at, transport)
         SELECT printf('%021dA', i), '1', randomblob(32), i % 7, i, i, 99999999999999, 99999999999999, 'cookie' FROM n;
         INSERT INTO clients (id, name, created_at) VALUES ('billing', 'Billing', 5);",
    );
    let kills = (0..12).filter(|round: &u64| {
        let mut command = server.command(&["migrate", "--from", "bulla.db", "--to", &to.url]);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + round * 40));
        let ended = process.try_wait().unwrap().is_some();
        process.kill().unwrap();
        process.wait().unwrap();
        let rows = psql(
            &to.url,
            "SELECT coalesce((xpath('/row/c/text()', query_to_xml(
            format('SELECT count(*) AS c FROM %s', to_regclass('sessions')), false, true, '')))[1]::text, '0')
            WHERE to_regclass('sessions') IS NOT NULL",
        );
        assert!(["", "0", "20000"].contains(&rows.as_str()), "{rows} of 20000 sessions");
        !ended
    });
    let kills = kills.count();
    assert!(kills > 2, "only {kills} moves were killed under way");

    let moved = migrate(&server, &to);
    assert!(moved.status.success(), "{}", said(&moved));
    assert!(same(&server, &to) > 40_000);
    let again = migrate(&server, &to);
    assert!(again.status.success() && said(&again).contains("nothing to do"), "{}", said(&again));
    // Later changes in the old database can't be told apart from changes by a server on the new one.
    server.add_user("bob", &[]);
    let late = migrate(&server, &to);
    assert_eq!(late.status.code(), Some(1));
    assert!(said(&late).contains("has changed since it was moved"), "{}", said(&late));
}

#[test]
fn data_that_cannot_be_migrated_is_refused_with_the_mending_command() {
    let Some(to) = cluster::shared().map(cluster::Cluster::create) else { return };
    let server = Server::new(&[]);
    let refused = |arguments: &[&str], code: i32, says: &str| {
        let output = server.cli(&[&["migrate"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
        assert!(output.stdout.is_empty());
    };
    refused(&[], 2, "--to is missing");
    refused(&["--to", "other.db"], 2, "only a move from SQLite to PostgreSQL is possible");
    refused(&["--from", &to.url], 2, "only a move from SQLite to PostgreSQL is possible");
    refused(&["--database", &to.url], 2, "--from is missing");
    refused(
        &["--from", "none.db", "--to", &to.url],
        5,
        "none.db: the file does not exist; name the SQLite file",
    );
    refused(&["--to", "postgres://nobody:hunter2@127.0.0.1:1/none"], 5, "run this command again");
    let shown = server.cli(&["migrate", "--to", "postgres://nobody:hunter2@127.0.0.1:1/none"]);
    assert!(said(&shown).contains("warning: a password") && !said(&shown).contains("hunter2"));

    // Written by hand: SQLite stores any type in a column.
    server.sqlite3("DROP TRIGGER user_made_unreadable; UPDATE users SET created_at = 'yesterday'");
    refused(&["--to", &to.url], 5, "table users: the column created_at has a value that is not of type int8");
    assert_eq!(psql(&to.url, "SELECT count(*) FROM users"), "0");
    server.sqlite3("UPDATE users SET created_at = 5");

    // A server that was started on the new database too early has left the mark of another ring.
    psql(&to.url, "INSERT INTO ring VALUES (1, 99, decode(repeat('00', 32), 'hex'))");
    refused(&["--to", &to.url], 1, "a newer or another key ring");
    psql(&to.url, "DELETE FROM ring");
    psql(&to.url, "INSERT INTO users (name, created_at) VALUES ('bob', 0)");
    refused(&["--to", &to.url], 1, "contains other data already (users)");
    psql(&to.url, "DELETE FROM users");
    assert!(migrate(&server, &to).status.success());
}

#[tokio::test]
async fn a_migration_detects_a_server_that_still_writes() {
    let Some(to) = cluster::shared().map(cluster::Cluster::create) else { return };
    let mut server = Server::started(&[]);
    let reported = || async { server.sqlite3("SELECT count(*) FROM nodes") == "1" };
    eventually("the server says that it lives", reported).await;
    let refused = migrate(&server, &to);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("in use by the server"), "{}", said(&refused));
    let rehearsed = server.cli(&["migrate", "--to", &to.url, "--rehearse"]);
    assert!(rehearsed.status.success(), "{}", said(&rehearsed));

    let real = cluster::shared().expect("asked for before").create();
    server.kill();
    let moved = migrate(&server, &real);
    assert!(moved.status.success(), "a killed server counts as gone: {}", said(&moved));
    assert!(
        server
            .cli_with(&["user", "passwd", "ada", "--password-stdin", "--database", &real.url], PASSWORD)
            .status
            .success()
    );
}
