//! Tests hostile input of strangers: slow requests, floods, invalid tokens, forged log lines, and ids of other users' sessions.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::join_all, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    raw_http::Raw,
    server::{ACCESS, PASSWORD, REFRESH, Server},
    system::take_descriptors,
};

/// Sends `first`, then `more` repeatedly until the server closes the connection. Returns the answer and the time until the close.
fn trickle(address: &str, first: &str, more: &str) -> (String, Duration) {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let (started, mut said, mut bytes) = (Instant::now(), Vec::new(), [0; 4096]);
    connection.write_all(first.as_bytes()).unwrap();
    while started.elapsed() < Duration::from_secs(60) {
        let sent = connection.write_all(more.as_bytes());
        match connection.read(&mut bytes) {
            Ok(length) if length > 0 => said.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && sent.is_ok() => {}
            _ => return (String::from_utf8_lossy(&said).into_owned(), started.elapsed()),
        }
    }
    panic!("not closed within a minute: {first:?}");
}

#[tokio::test]
async fn slow_headers_and_bodies_are_cut_off_and_delay_no_other_request() {
    let server = Server::started(&[]);
    let (browser, address) = (server.ada().await, server.address());
    let post = format!("POST /auth/login HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let attempts = [
        ("nothing", String::new(), "", ""),
        ("a head without end", format!("GET / HTTP/1.1\r\nHost: {address}\r\n"), "X-A: b\r\n", "408"),
        ("a body by the byte", format!("{post}Content-Length: 9000\r\n\r\n"), "x", "408"),
        ("a body that never comes", format!("{post}Content-Length: 9000\r\n\r\n"), "", "408"),
        ("chunks by the byte", format!("{post}{chunked}"), "1\r\nx\r\n", "408"),
        (
            "chunks that nobody reads",
            format!("GET /health/live HTTP/1.1\r\nHost: x\r\n{chunked}"),
            "1\r\nx\r\n",
            "200",
        ),
        (
            "chunks for another host",
            format!("POST / HTTP/1.1\r\nHost: evil\r\n{chunked}"),
            "1\r\nx\r\n",
            "421",
        ),
        (
            "more chunks than may",
            format!("{post}{chunked}18000\r\n{}\r\n", "x".repeat(0x18000)),
            "1\r\nx\r\n",
            "413",
        ),
    ];
    let attempts = attempts.map(|(what, first, more, expected)| {
        let address = address.clone();
        let trickling = tokio::task::spawn_blocking(move || trickle(&address, &first, more));
        (what, expected, trickling)
    });
    let mut served = 0;
    while attempts.iter().any(|(.., trickling)| !trickling.is_finished()) {
        assert_eq!(browser.status().await, 200);
        served += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (what, expected, trickling) in attempts {
        let (said, after) = trickling.await.unwrap();
        println!("{what}: closed after {after:?}");
        assert!(said.get(9..12).unwrap_or_default() == expected || expected.is_empty(), "{what}: {said}");
        assert!(after < Duration::from_secs(30), "{what}: {after:?}");
    }
    println!("{served} requests served meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_do_not_block_logins() {
    let idle = usize::try_from((take_descriptors() - 2000).min(10_000)).unwrap();
    let server = Server::started(&[]);
    let address = server.address();
    let crowd: Vec<_> = stream::iter(0..idle)
        .map(|_| async {
            let mut connection = tokio::net::TcpStream::connect(&address).await.unwrap();
            connection.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut bytes = [0; 512];
            let length = connection.read(&mut bytes).await.unwrap();
            assert!(bytes[..length].starts_with(b"HTTP/1.1 200 "));
            connection
        })
        .buffer_unordered(100)
        .collect()
        .await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    assert!(crowd.len() == idle && open > idle, "{open} descriptors open for {idle} connections");
    let started = Instant::now();
    let browser = server.ada().await;
    assert_eq!(browser.status().await, 200);
    println!("beside {idle} idle connections a login and a request took {:?}", started.elapsed());
    drop(crowd);
    assert_eq!(server.browser().get("/health/ready").await.status(), 200);
}

#[tokio::test]
async fn a_flood_of_invalid_tokens_is_refused_and_stores_nothing() {
    const EACH: usize = 250;
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let (access, refresh) = (browser.jar.get(ACCESS).unwrap(), browser.jar.get(REFRESH).unwrap());
    let audit = server.sqlite3("SELECT count(*) FROM audit");
    let log = server.stderr();
    let started = Instant::now();
    let flood = (0..8).map(|lane: usize| {
        let (browser, access, refresh) = (&browser, &access, &refresh);
        async move {
            for n in 0..EACH {
                // A valid token with one changed character (as cookie and as bearer), the two tokens swapped, and noise of many
                // lengths.
                let at = 10 + (n * 7 + lane) % (access.len() - 10);
                let changed = if access.as_bytes()[at] == b'A' { "B" } else { "A" };
                let bent = format!("{}{changed}{}", &access[..at], &access[at + 1..]);
                let noise = "bulXxyz-".repeat(n % 300);
                let request = browser.client.get(format!("{}/auth/session", browser.origin));
                let request = match n % 4 {
                    0 => request.header("cookie", format!("{ACCESS}={bent}; {REFRESH}={bent}")),
                    1 => request.header("cookie", format!("{ACCESS}={refresh}; {REFRESH}={access}")),
                    2 => request.header("cookie", format!("{ACCESS}={noise}; {REFRESH}={noise}")),
                    _ => request.bearer_auth(bent),
                };
                let answer = request.send().await.unwrap();
                assert_eq!((answer.status().as_u16(), answer.headers().get("set-cookie")), (401, None));
            }
        }
    });
    join_all(flood).await;
    println!("{} requests with garbage refused in {:?}", 8 * EACH, started.elapsed());
    assert_eq!(server.sqlite3("SELECT count(*) FROM audit"), audit);
    assert_eq!(server.stderr(), log);
    assert_eq!(browser.status().await, 200);
}

#[tokio::test]
async fn text_of_a_stranger_never_begins_a_line_of_a_log_or_list() {
    const FORGED: &str = "x\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}[31m\u{9b}31m\u{7f}";
    let server = Server::started(&[("BULLA_LOG_LEVEL", "trace"), ("BULLA_TRUSTED_PROXIES", "127.0.0.1")]);
    let browser = server.browser();
    let login = |name: &str, password: &str| json!({"username": name, "password": password});
    assert_eq!(browser.post("/auth/login", login(FORGED, FORGED)).await.status(), 401);
    let form =
        browser.request(Method::POST, "/auth/login").form(&[("username", FORGED), ("password", FORGED)]);
    assert_eq!(form.send().await.unwrap().status(), 401);
    let basic =
        browser.client.get(format!("{}/auth/session", server.origin)).basic_auth(FORGED, Some(FORGED));
    assert_eq!(basic.send().await.unwrap().status(), 401);
    for path in
        ["/x%0d%0aforged%1b[31m", "/auth/login?rd=%0d%0aforged", "/auth/sessions/%0aforged", "/x\u{9b}forged"]
    {
        let answer = browser.get(path).await;
        assert!(answer.headers().keys().all(|name| !name.as_str().contains("forged")));
        assert!([200, 401, 404].contains(&answer.status().as_u16()), "{path}");
    }
    // Only a hand-written request can contain these bytes.
    for bytes in [
        &b"GET /\x1b[31mforged HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: \x1b[31m\rforged\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nforged: b\r\n\r\n",
        b"FORGED\x07 / HTTP/1.1\r\n\r\n",
    ] {
        let mut raw = Raw::connect(&server);
        raw.send(bytes);
        assert!(raw.read().starts_with("HTTP/1.1 4"), "{bytes:?}");
    }
    let agent = reqwest::header::HeaderValue::from_bytes(b"\xc2\x9b31m\tforged \xff").unwrap();
    let good = browser.request(Method::POST, "/auth/login").header("user-agent", agent);
    let good = good.header("x-forwarded-for", "forged, \u{9b}31m").json(&login("ada", PASSWORD));
    assert_eq!(browser.send(good).await.status(), 200);
    assert_eq!(browser.status().await, 200);

    let log = server.stderr();
    for line in log.lines().skip(1) {
        assert!(line.starts_with("20") && !line.starts_with("2026-01-01T00:00:00Z ERROR forged"), "{line:?}");
    }
    assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
    let rows: usize = server.sqlite3("SELECT count(*) FROM audit").parse().unwrap();
    for (command, lines) in [("audit", rows), ("session list", 1)] {
        let listed = server.cli(&command.split(' ').collect::<Vec<_>>());
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(!listed.contains(|c: char| c.is_control() && c != '\n'), "{listed:?}");
        let (head, body) = (listed.lines().count(), listed.matches("forged").count());
        assert!(
            head - lines <= 1 && body >= 1,
            "{command} has a line for each row and at most a head: {listed}"
        );
    }
}

#[tokio::test]
async fn requests_of_strangers_create_no_new_metric_series() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let series = || async {
        let text = browser.get("/metrics").await.text().await.unwrap();
        let names = text.lines().filter(|line| !line.starts_with('#'));
        names.map(|line| line.rsplit_once(' ').map_or("", |(name, _)| name).to_owned()).collect::<Vec<_>>()
    };
    let before = series().await;
    for n in 0..50 {
        let method = Method::from_bytes(format!("BREW{n}").as_bytes()).unwrap();
        let request = browser.client.request(method, format!("{}/{n}?{n}={n}", server.origin));
        let request = request.header("user-agent", format!("agent/{n}")).header("x-request-id", n);
        request.header("cookie", format!("{ACCESS}=bulX{n:0100}")).send().await.unwrap();
        let other_host =
            browser.client.get(format!("{}/auth/{n}", server.origin)).header("host", format!("h{n}"));
        assert_eq!(other_host.send().await.unwrap().status(), 421);
    }
    browser.post("/auth/login", json!({"username": "nobody", "password": "wrong password"})).await;
    assert_eq!(series().await, before);
    assert!(before.len() < 60, "{}", before.len());
}

#[tokio::test]
async fn sessions_of_other_users_are_not_found_and_the_last_administrator_stays() {
    let server = Server::started(&[]);
    server.crowd(1);
    let (ada, eve) = (server.ada().await, server.browser());
    eve.log_in("u1").await;
    let sid = ada.sid().await;
    for (method, path, expected) in [
        (Method::DELETE, format!("/auth/sessions/{sid}"), 404),
        (Method::POST, format!("/auth/sessions/{sid}/end"), 404),
        (Method::DELETE, format!("/admin/sessions/{sid}"), 403),
        (Method::DELETE, "/admin/sessions".into(), 403),
        (Method::GET, "/admin/sessions?user=1".into(), 403),
        (Method::DELETE, "/admin/users/1".into(), 403),
    ] {
        let answer = eve.send(eve.request(method.clone(), &path)).await;
        assert_eq!(answer.status(), expected, "{method} {path}");
        assert!(!answer.text().await.unwrap().contains(&sid));
    }
    let mine: Value = eve.get("/auth/sessions").await.json().await.unwrap();
    assert!(mine["sessions"].as_array().unwrap().len() == 1 && !mine.to_string().contains(&sid));
    assert_eq!(ada.status().await, 200);

    // Two administrators delete each other at the same moment; one of them remains.
    let promoted = json!({"roles": ["admin"]});
    assert_eq!(ada.send(ada.request(Method::PATCH, "/admin/users/2").json(&promoted)).await.status(), 200);
    let (one, other) = tokio::join!(ada.delete("/admin/users/2"), eve.delete("/admin/users/1"));
    let statuses = [one.status().as_u16(), other.status().as_u16()];
    assert!(
        statuses.contains(&204) && statuses.iter().any(|status| [401, 409].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(server.sqlite3("SELECT count(*) FROM users WHERE roles LIKE '%admin%'"), "1");
    let left = server.sqlite3("SELECT name FROM users WHERE roles LIKE '%admin%'");
    let refused = server.cli(&["user", "delete", &left]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("last administrator"));
}
