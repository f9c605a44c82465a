//! Tests that the server is small and quickly ready, with a hundred thousand sessions in its database.

use std::time::{Duration, Instant};

use crate::support::{
    raw_http::Raw,
    server::{Browser, Server, eventually},
    system::resident,
};

/// The limit in KiB: 25 MB in total. Less than 15 MB of it are the code of a release and the C library, if all of their pages are
/// in memory.
const SMALL: u64 = if cfg!(debug_assertions) { 10_000_000 } else { 25_000_000 } / 1024;

/// A server, not started, with `count` live sessions of a thousand users in its database.
fn full(count: usize) -> Server {
    let server = Server::new(&[("BULLA_SESSION_CAP", "1000")]);
    server.crowd(1000);
    server.sqlite3(&format!(
        "PRAGMA synchronous = OFF;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}),
           t(now) AS (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
         INSERT INTO sessions (sid, user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at, expires_at,
           transport, user_agent, ip)
         SELECT printf('%021dA', i), CAST(2 + i % 1000 AS TEXT), randomblob(32), 0, now, now, now + 1800000,
           now + 604800000, 'cookie', 'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0', '192.0.2.1'
         FROM n, t"
    ));
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), count.to_string());
    server
}

#[tokio::test]
async fn a_server_with_a_hundred_thousand_sessions_starts_and_stays_small() {
    let mut server = full(100_000);
    let mut best = Duration::MAX;
    for start in 0..8 {
        if start > 0 {
            server.kill();
        }
        let started = Instant::now();
        server.start();
        let mut probe = Raw::connect(&server);
        probe.head("GET /health/ready", "");
        assert!(probe.read().starts_with("HTTP/1.1 200 "));
        best = best.min(started.elapsed());
    }
    let at_start = resident(server.pid());
    println!("with 100,000 sessions: ready after {best:?}, {at_start} KiB resident");
    // The time is printed and not asserted, because it depends on the machine and on the other tests.
    assert!(at_start < SMALL, "{at_start} KiB");

    let browser = server.ada().await;
    for _ in 0..99 {
        server.ada().await;
    }
    let mut smallest = u64::MAX;
    let given_back = eventually("what logins took is given back", || {
        smallest = smallest.min(resident(server.pid()));
        std::future::ready(smallest < SMALL)
    })
    .await;
    println!("{smallest} KiB {given_back:?} after the last of 100 logins");
    all_at_once(&server, &browser).await;
}

/// Deletes all sessions in a database shell.
async fn all_at_once(server: &Server, browser: &Browser) {
    server.sqlite3("DELETE FROM sessions");
    let took = eventually("revoked", || async { browser.status().await == 401 }).await;
    let held = browser.get("/metrics").await.text().await.unwrap();
    assert!(held.contains("bulla_revocations 100100.0\n"), "{held}");
    // Printed and not asserted, because the time to read a hundred thousand rows depends on the machine.
    println!("100,100 revocations at once: in force after {took:?}, {} KiB resident", resident(server.pid()));
}
