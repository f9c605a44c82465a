//! Tests that every SQL statement that ends a session in a database shell also revokes it.

use std::collections::BTreeSet;

use crate::support::{installation::Installation, server::sqlite3};

/// Runs a statement in a database shell. Returns what it revokes of `a` (a session of ada), `b` (a session of bob) and the clients
/// `client:c` and `client:d`.
async fn revoked_by(statement: &str, pragma: &str) -> BTreeSet<String> {
    let installation = Installation::new();
    let node = installation.node().await;
    let (ada, bob) = (node.user("ada").await, node.user("bob").await);
    let [a, b] = [node.begin(&ada).await, node.begin(&bob).await].map(|begun| begun.row.sid.to_string());
    let clients = "INSERT INTO clients (id, name, created_at) VALUES ('c', 'c', 0), ('d', 'd', 0)";
    let statement = statement.replace("$a", &a).replace("$b", &b);
    sqlite3(&installation.file(), &format!("PRAGMA foreign_keys = OFF; {clients}; {pragma}; {statement}"));
    let revoked = sqlite3(&installation.file(), "SELECT target FROM revocations");
    revoked.lines().map(|target| target.replace(&a, "a").replace(&b, "b")).collect()
}

const COLUMNS: &str =
    "user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at, expires_at, transport";

#[tokio::test]
async fn every_statement_that_ends_a_session_revokes_it() {
    let replaced = |key: &str, value: &str, end: &str| {
        format!(
            "INTO sessions ({key}, {COLUMNS}) SELECT {value}, {COLUMNS} FROM sessions WHERE sid = '$a' {end}"
        )
    };
    let number = "n, sid";
    for (statement, expected) in [
        ("DELETE FROM sessions".into(), "a b"),
        ("DELETE FROM sessions WHERE user_id = '2'".into(), "b"),
        ("DELETE FROM users WHERE name = 'ada'".into(), "a"),
        ("UPDATE users SET disabled = 1 WHERE id = 2".into(), "b"),
        ("UPDATE sessions SET user_id = '2' WHERE sid = '$a'".into(), "a"),
        ("UPDATE sessions SET sid = 'AAAAAAAAAAAAAAAAAAAAAA' WHERE sid = '$a'".into(), "a"),
        ("UPDATE sessions SET expires_at = expires_at - 1 WHERE sid = '$a'".into(), "a"),
        ("UPDATE sessions SET idle_expires_at = 0 WHERE sid = '$a'".into(), "a"),
        // These statements replace one row by another. By default no delete trigger fires for the replaced row.
        ("UPDATE OR REPLACE sessions SET sid = '$b' WHERE sid = '$a'".into(), "a b"),
        ("UPDATE OR REPLACE sessions SET n = 2 WHERE sid = '$a'".into(), "b"),
        ("UPDATE OR REPLACE sessions SET rowid = 2 WHERE sid = '$a'".into(), "b"),
        ("UPDATE OR REPLACE sessions SET oid = 2, generation = 7 WHERE sid = '$a'".into(), "b"),
        (format!("INSERT OR REPLACE {}", replaced("sid", "'$b'", "")), "b"),
        (format!("REPLACE {}", replaced(number, "2, 'AAAAAAAAAAAAAAAAAAAAAA'", "")), "b"),
        (format!("REPLACE {}", replaced("rowid, sid", "2, 'AAAAAAAAAAAAAAAAAAAAAA'", "")), "b"),
        (format!("INSERT {}", replaced("sid", "'$b'", "ON CONFLICT (sid) DO UPDATE SET user_id = '1'")), "b"),
        ("REPLACE INTO users (id, name, created_at) VALUES (2, 'carol', 0)".into(), "b"),
        ("REPLACE INTO users (name, created_at) VALUES ('BOB', 0)".into(), "b"),
        ("UPDATE OR REPLACE users SET folded = 'bob' WHERE id = 1".into(), "b"),
        ("UPDATE OR REPLACE users SET name = 'BOB' WHERE id = 1".into(), "a b"),
        ("UPDATE OR REPLACE users SET id = 2 WHERE id = 1".into(), "a b"),
        ("UPDATE OR REPLACE users SET rowid = 2 WHERE id = 1".into(), "a b"),
        ("UPDATE users SET _rowid_ = 77 WHERE id = 1".into(), "a"),
        ("DELETE FROM clients WHERE id = 'c'".into(), "client:c"),
        ("UPDATE OR REPLACE clients SET id = 'd' WHERE id = 'c'".into(), "client:c client:d"),
        ("UPDATE OR REPLACE clients SET rowid = 2 WHERE id = 'c'".into(), "client:d"),
        ("REPLACE INTO clients (id, name, created_at) VALUES ('d', 'new', 0)".into(), "client:d"),
        // These statements end no session.
        ("UPDATE sessions SET idle_expires_at = idle_expires_at - 1000".into(), ""),
        ("UPDATE sessions SET n = n + 100".into(), ""),
        ("UPDATE users SET roles = '[\"ops\"]'; UPDATE users SET disabled = 0".into(), ""),
    ] {
        let statement: String = statement;
        let expected: BTreeSet<String> = expected.split_whitespace().map(Into::into).collect();
        for pragma in ["PRAGMA recursive_triggers = OFF", "PRAGMA recursive_triggers = ON"] {
            assert_eq!(revoked_by(&statement, pragma).await, expected, "{pragma}; {statement}");
        }
    }
}
