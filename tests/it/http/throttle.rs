//! Tests attempts to guess names, passwords and secrets: which are checked, which are throttled, and what is logged and stored.

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::server::{PASSWORD, Server, eventually};

/// A server behind a proxy on loopback.
fn behind_a_proxy(environment: &[(&str, &str)]) -> Server {
    let mut all = vec![("BULLA_TRUSTED_PROXIES", "127.0.0.1")];
    all.extend(environment);
    Server::started(&all)
}

/// A login that the proxy forwards.
async fn log_in(server: &Server, name: &str, password: &str, forwarded: &str) -> Response {
    let login = json!({"username": name, "password": password});
    let request = server.browser().client.post(format!("{}/auth/login", server.origin));
    request.header("x-forwarded-for", forwarded).json(&login).send().await.unwrap()
}

async fn status(server: &Server, name: &str, password: &str, forwarded: &str) -> u16 {
    log_in(server, name, password, forwarded).await.status().as_u16()
}

/// Sends wrong passwords until one is throttled.
async fn guess_until_throttled(server: &Server, name: &str, forwarded: &str) {
    let mut all = Vec::new();
    for _ in 0..12 {
        all.push(status(server, name, "wrong password", forwarded).await);
    }
    assert!(all[..10] == [401; 10] && all.contains(&429), "{all:?}");
}

async fn metric(server: &Server, event: &str) -> u64 {
    let text = reqwest::get(format!("{}/metrics", server.origin)).await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.contains(&format!("event=\"{event}\"")));
    line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map_or(0, |count| count as u64)
}

/// Sends logins all at once; returns how many were answered with 200, 401 and 429.
async fn at_once(server: &Server, logins: Vec<(String, &'static str, String)>) -> (usize, usize, usize) {
    let client = server.browser().client;
    let sent = logins.into_iter().map(|(name, password, forwarded)| {
        let request =
            client.post(format!("{}/auth/login", server.origin)).header("x-forwarded-for", forwarded);
        tokio::spawn(request.json(&json!({"username": name, "password": password})).send())
    });
    let mut counts = (0, 0, 0);
    for login in sent.collect::<Vec<_>>() {
        match login.await.unwrap().unwrap().status().as_u16() {
            200 => counts.0 += 1,
            401 => counts.1 += 1,
            429 => counts.2 += 1,
            other => panic!("{other}"),
        }
    }
    counts
}

#[tokio::test]
async fn of_a_hundred_concurrent_wrong_passwords_only_the_free_attempts_are_checked() {
    let server = behind_a_proxy(&[]);
    server.crowd(3);
    for (name, forwarded) in [("u1", "192.0.2.1"), ("", "192.0.2.2")] {
        let logins = (0..100).map(|n| {
            let name = if name.is_empty() { format!("nobody{n}") } else { name.to_owned() };
            (name, "wrong password", forwarded.to_owned())
        });
        let (_, checked, refused) = at_once(&server, logins.collect()).await;
        // A login that arrives after the first ten have been checked is the eleventh and is checked as well; then the delays begin.
        assert!((10..=11).contains(&checked) && checked + refused == 100, "{name}: {checked} {refused}");
    }
}

#[tokio::test]
async fn successful_logins_of_many_users_behind_one_address_are_not_throttled() {
    let server = behind_a_proxy(&[]);
    server.crowd(70);
    let logins = (1..=70).map(|n| (format!("u{n}"), PASSWORD, "192.0.2.1".to_owned()));
    assert_eq!(at_once(&server, logins.collect()).await, (70, 0, 0));
}

#[tokio::test]
async fn a_login_to_ones_own_account_does_not_reset_the_throttle() {
    let server = behind_a_proxy(&[]);
    server.crowd(2);
    let mut checked = 0;
    for round in 0..4 {
        for n in 0..10 {
            let victim = format!("victim{round}-{n}");
            checked += u32::from(status(&server, &victim, "wrong password", "192.0.2.1").await == 401);
        }
        status(&server, "u1", PASSWORD, "192.0.2.1").await;
    }
    assert!(checked < 20, "{checked} of 40 guesses were checked");
}

#[tokio::test]
async fn failures_of_users_providers_and_clients_are_counted_separately() {
    let server = behind_a_proxy(&[]);
    let cron = server.client("cron", &[]);
    let names = [format!("client:{} 192.0.2.1", cron.id), format!("client:{}", cron.id), cron.id.clone()];
    for (n, name) in names.iter().enumerate() {
        let address = format!("192.0.2.{n}");
        guess_until_throttled(&server, name, &address).await;
        let request = cron.post("/oauth/token").header("x-forwarded-for", &address);
        let request = request.basic_auth(&cron.id, Some(&cron.secret));
        let answer = request.form(&[("grant_type", "client_credentials")]).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
    }
}

#[tokio::test]
async fn an_attacked_user_logs_in_from_a_known_address_also_after_a_restart() {
    let mut server = behind_a_proxy(&[]);
    server.crowd(2);
    let home = "2001:db8:1:2::3";
    assert_eq!(status(&server, "u1", PASSWORD, home).await, 200);
    // The user is logged out meanwhile, so no row of `sessions` contains the address.
    server.sqlite3("DELETE FROM sessions");
    server.kill();
    server.start();
    for n in 0..12 {
        status(&server, "u1", "wrong password", &format!("203.0.113.{n}")).await;
    }
    assert_eq!(status(&server, "u1", PASSWORD, "198.51.100.7").await, 429, "from elsewhere");
    assert_eq!(status(&server, "u1", PASSWORD, "2001:db8:1:2:ffff::9").await, 200, "from the same network");
    assert_eq!(status(&server, "u2", PASSWORD, "198.51.100.7").await, 200);
}

#[tokio::test]
async fn a_port_after_a_forwarded_address_is_ignored() {
    let server = behind_a_proxy(&[]);
    server.crowd(2);
    for n in 0..12 {
        status(&server, &format!("nobody{n}"), "wrong password", &format!("203.0.113.7:{}", 50_000 + n))
            .await;
    }
    assert_eq!(status(&server, "u1", PASSWORD, "203.0.113.7:60000").await, 429);
    for other in ["203.0.113.8:51812", "[2001:db8::7]:443", "198.51.100.1,"] {
        assert_eq!(status(&server, "u1", PASSWORD, other).await, 200, "{other}");
    }
    let shown = server.sqlite3("SELECT group_concat(ip, ' ') FROM (SELECT ip FROM sessions ORDER BY n)");
    assert_eq!(shown, "203.0.113.8 2001:db8::7 198.51.100.1");
}

#[tokio::test]
async fn an_unreadable_address_is_unknown_and_throttles_no_address() {
    let server = behind_a_proxy(&[]);
    server.crowd(2);
    for n in 0..30 {
        assert_eq!(status(&server, &format!("nobody{n}"), "wrong password", "nonsense").await, 401);
    }
    assert_eq!(status(&server, "u1", PASSWORD, "nonsense").await, 200);
    assert_eq!(server.sqlite3("SELECT ip FROM sessions"), "unknown");
    guess_until_throttled(&server, "u2", "nonsense").await;
    let said = server.stderr();
    let lines = said.lines().filter(|line| line.contains("forwarded_header")).count();
    assert!(lines == 1 && said.contains("proxy=127.0.0.1"), "{said}");
}

#[tokio::test]
async fn the_header_forwarded_is_read_only_if_the_setting_names_it() {
    for (setting, seen) in [("x-forwarded-for", "192.0.2.1"), ("forwarded", "198.51.100.7")] {
        let server = behind_a_proxy(&[("BULLA_FORWARDED_HEADER", setting)]);
        server.crowd(1);
        let request = server.browser().client.post(format!("{}/auth/login", server.origin));
        let request =
            request.header("x-forwarded-for", "192.0.2.1").header("forwarded", "for=\"198.51.100.7:80\"");
        let answer = request.json(&json!({"username": "u1", "password": PASSWORD})).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(server.sqlite3("SELECT ip FROM sessions"), seen);
    }
}

#[tokio::test]
async fn a_flood_of_failing_clients_writes_few_audit_rows_with_an_exact_count() {
    let server = behind_a_proxy(&[]);
    let client = server.browser().client;
    let mut sent = Vec::new();
    for n in 0..600_u32 {
        let request = client.post(format!("{}/oauth/token", server.origin));
        let request =
            request.header("x-forwarded-for", std::net::Ipv4Addr::from(0x0b00_0000 + n).to_string());
        let request = request.basic_auth(format!("client{n}"), Some("x"));
        sent.push(tokio::spawn(request.form(&[("grant_type", "client_credentials")]).send()));
        if sent.len() == 50 {
            for answer in sent.drain(..) {
                assert_eq!(answer.await.unwrap().unwrap().status(), 401);
            }
        }
    }
    let rows =
        server.sqlite3("SELECT count(*) FROM audit WHERE event = 'client.failed'").parse::<u32>().unwrap();
    assert!((100..200).contains(&rows), "{rows}");
    assert_eq!(metric(&server, "client.failed").await, 600);
}

#[tokio::test]
async fn failed_and_throttled_logins_are_logged_counted_and_recorded() {
    let server = behind_a_proxy(&[]);
    guess_until_throttled(&server, "\u{ff21}da\nMallory", "192.0.2.1").await;
    let told = |outcome: &str| format!("address=\"192.0.2.1\" subject=ada\\nmallory reason=\"{outcome}\"");
    let (failed, throttled) = (told("wrong name or password"), told("too many failures from this address"));
    eventually("both are logged", || async {
        let said = server.stderr();
        said.contains(&failed) && said.contains(&throttled)
    })
    .await;
    let (failed, throttled) =
        (metric(&server, "login.failed").await, metric(&server, "login.throttled").await);
    assert!((10..=11).contains(&failed) && failed + throttled == 12, "{failed} {throttled}");
    let rows =
        server.sqlite3("SELECT event, count(*) FROM audit WHERE event LIKE 'login.%' GROUP BY 1 ORDER BY 1");
    assert_eq!(rows, format!("login.failed|{failed}\nlogin.throttled|{throttled}"));
    let detail = server.sqlite3("SELECT detail FROM audit WHERE event = 'login.failed' LIMIT 1");
    let detail: Value = serde_json::from_str(&detail).unwrap();
    assert_eq!((&detail["ip"], &detail["reason"]), (&json!("192.0.2.1"), &json!("wrong name or password")));
}

#[tokio::test]
async fn blanks_around_a_name_are_ignored_and_an_invisible_name_is_refused() {
    let server = behind_a_proxy(&[]);
    server.crowd(1);
    for name in ["u1 ", " u1", "\tu1\u{3000}", "U1\n"] {
        assert_eq!(status(&server, name, PASSWORD, "192.0.2.1").await, 200, "{name:?}");
    }
    assert_eq!(status(&server, &"\u{fdfa}".repeat(5000), PASSWORD, "192.0.2.1").await, 401);
    let longest = server.sqlite3("SELECT max(length(subject)) FROM audit WHERE event = 'login.failed'");
    assert_eq!(longest, "128");
    for name in ["\u{feff}", "\u{200b}\u{2060}", "\u{2800}"] {
        let added = server.cli_with(&["user", "add", name, "--password-stdin"], &format!("{PASSWORD}\n"));
        assert_eq!(added.status.code(), Some(2), "{name:?}");
        assert!(String::from_utf8_lossy(&added.stderr).contains("at least one of them visible"));
    }
}
