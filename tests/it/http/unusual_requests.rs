//! Tests HTTP requests that no browser sends, and requests that the framework alone would answer.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use reqwest::Method;

use crate::support::server::Server;

/// Sends these bytes unchanged; returns everything up to the end of the connection.
fn raw(server: &Server, head: &str, headers: &str, body: &[u8]) -> String {
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!("{head} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    connection.write_all(&[request.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn host(server: &Server) -> String {
    format!("Host: {}\r\n", server.address().replace("127.0.0.1", "localhost"))
}

#[tokio::test]
async fn a_route_that_answers_get_answers_head_without_a_body() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    for path in
        ["/", "/auth/login", "/auth/session", "/auth/account", "/admin/users", "/health/live", "/metrics"]
    {
        let (get, head) = (browser.get(path).await, browser.send(browser.request(Method::HEAD, path)).await);
        assert_eq!(get.status(), head.status(), "{path}");
        for name in ["content-type", "cache-control", "content-security-policy", "location"] {
            assert_eq!(get.headers().get(name), head.headers().get(name), "{path}: {name}");
        }
        assert!(head.bytes().await.unwrap().is_empty());
    }
    let refused = browser.send(browser.request(Method::OPTIONS, "/auth/login")).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["allow"]),
        (405, &"GET, HEAD, POST".parse().unwrap())
    );
    assert_eq!(browser.send(browser.request(Method::HEAD, "/auth/logout")).await.status(), 405);
}

#[tokio::test]
async fn a_host_in_the_request_line_is_checked_like_the_header() {
    let server = Server::started(&[]);
    let ours = host(&server);
    let name = server.address().replace("127.0.0.1", "localhost");
    assert!(raw(&server, &format!("GET http://{name}/auth/login"), &ours, b"").starts_with("HTTP/1.1 200"));
    assert!(raw(&server, "GET http://evil.example/auth/login", &ours, b"").starts_with("HTTP/1.1 421"));
}

#[tokio::test]
async fn every_refusal_under_auth_has_bullas_message_and_headers() {
    let server = Server::started(&[]);
    let ours = host(&server);
    let json = format!("{ours}Content-Type: application/json\r\n");
    let chunked = format!("{json}Transfer-Encoding: chunked\r\n");
    for (status, head, headers, body) in [
        (421, "GET /auth/login", "Host: evil.example\r\n".to_owned(), ""),
        (421, "GET /admin/users", "Host: evil.example\r\n".to_owned(), ""),
        (431, "GET /auth/login", format!("{ours}X-Long: {}\r\n", "x".repeat(40 << 10)), ""),
        (413, "POST /auth/login", format!("{json}Content-Length: 10000000\r\n"), ""),
        (400, "POST /auth/login", chunked.clone(), "-1\r\n\r\n"),
        (400, "POST /auth/login", chunked, "zz\r\n{}\r\n0\r\n\r\n"),
        (400, "GET /auth/login?rd=a&rd=b", ours.clone(), ""),
    ] {
        let answer = raw(&server, head, &headers, body.as_bytes());
        let what = format!("{head} {status}: {answer}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{what}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        for line in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'",
            "content-type: application/problem+json",
        ] {
            assert!(head.to_ascii_lowercase().contains(line), "{line}: {what}");
        }
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(problem["status"] == status && problem["code"].is_string(), "{what}");
        assert!(!body.contains("EOF") && !body.contains("deserialize"), "{what}");
    }
}

#[tokio::test]
async fn each_refused_token_is_counted_once() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let counted = async |event: &str| {
        let metrics = browser.get("/metrics").await.text().await.unwrap();
        let line = format!("bulla_events_total{{event=\"{event}\"}} ");
        metrics.lines().find_map(|l| l.strip_prefix(&line)).unwrap().parse::<u64>().unwrap()
    };
    for method in [Method::GET, Method::POST] {
        let before = counted("token.length").await;
        let bearer = browser.request(method.clone(), "/auth/session").bearer_auth("garbage");
        assert_eq!(browser.send(bearer).await.status(), 401);
        let stranger = server.browser();
        stranger.jar.set(crate::support::server::ACCESS, "garbage");
        assert_eq!(stranger.send(stranger.request(method, "/auth/session")).await.status(), 401);
        assert_eq!(counted("token.length").await, before + 2);
    }
    let before = counted("access.valid").await;
    assert_eq!(browser.status().await, 200);
    assert_eq!(counted("access.valid").await, before + 1);
}

#[tokio::test]
async fn a_misspelled_query_never_ends_the_sessions_of_all_users() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    for query in ["?usr=1", "?user=1&x", "?user=", "?user=1&user=2", "?User=1"] {
        let answer = browser.delete(&format!("/admin/sessions{query}")).await;
        assert!([400, 404].contains(&answer.status().as_u16()), "{query}: {}", answer.status());
    }
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "1");
}
