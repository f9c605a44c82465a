//! The callers that an upstream admits, and sessions that are renewed on the way.

use reqwest::Method;
use serde_json::json;

use super::{ada, before, configured};
use crate::support::{
    app::RecordingApp,
    raw_http::Raw,
    server::{ACCESS, REFRESH, Server, set_cookies},
};

#[tokio::test]
async fn a_stranger_gets_the_login_page_or_401_and_the_app_no_request() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let browser = server.browser();
    let navigation = browser.request(Method::GET, "/deep?x=1").header("sec-fetch-mode", "navigate");
    let answer = browser.send(navigation).await;
    assert_eq!(answer.status(), 401);
    let page = answer.text().await.unwrap();
    assert!(page.contains(r#"name="rd" value="/deep?x=1""#), "{page}");
    let answer = browser.get("/deep").await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["code"], "unauthorized");
    assert!(app.received().is_empty());
}

/// Leaves the refresh cookie only, of a session whose last rotation is a minute ago.
fn expire(server: &Server, browser: &crate::support::server::Browser) {
    browser.jar.remove(ACCESS);
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
}

#[tokio::test]
async fn a_page_a_form_and_a_script_are_served_after_the_access_token_has_expired() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let (browser, _) = ada(&server).await;
    let form = "a=1&".repeat(50_000);
    for (method, mode, body) in [
        (Method::GET, "navigate", None),
        (Method::POST, "navigate", Some(form.clone())),
        (Method::PUT, "cors", Some("{}".to_owned())),
    ] {
        let before = browser.jar.get(REFRESH).unwrap();
        expire(&server, &browser);
        let mut request = browser.request(method.clone(), "/a?b=c").header("sec-fetch-mode", mode);
        if let Some(body) = &body {
            request = request.body(body.clone());
        }
        let answer = browser.send(request).await;
        assert_eq!(answer.status(), 200, "{method}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_ne!(browser.jar.get(REFRESH).unwrap(), before, "{method}: the refresh token is rotated");
        assert!(browser.jar.get(ACCESS).is_some());
        let request = app.last();
        assert!(request.head.starts_with(&format!("{method} /a?b=c HTTP/1.1\n")), "{}", request.head);
        assert_eq!(request.body, body.unwrap_or_default().into_bytes());
    }
    assert_eq!(app.received().len(), 3, "each request reaches the app once");
}

#[tokio::test]
async fn what_another_site_causes_does_not_reach_the_app() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let (browser, cookies) = ada(&server).await;
    for (line, headers) in [
        ("POST /a", "Sec-Fetch-Site: cross-site\r\n"),
        ("POST /a", "Sec-Fetch-Site: same-site\r\n"),
        ("DELETE /a", "Origin: https://evil.example\r\n"),
        ("POST /a", ""),
        ("GET /ws", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-Fetch-Site: cross-site\r\n"),
        ("GET /ws", "Connection: upgrade\r\nUpgrade: websocket\r\nOrigin: https://evil.example\r\n"),
    ] {
        let mut raw = Raw::connect(&server);
        raw.head(line, &format!("Cookie: {cookies}\r\n{headers}Content-Length: 0\r\n"));
        assert!(raw.read().starts_with("HTTP/1.1 403"), "{line} {headers}");
    }
    assert!(app.received().is_empty());
    // A link on another site is an ordinary request while the access token is valid.
    let link = browser.client.get(format!("{}/a", server.origin)).header("cookie", &cookies);
    let link = link.header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "navigate");
    assert_eq!(link.send().await.unwrap().status(), 200);
    assert_eq!(app.received().len(), 1);
}

#[tokio::test]
async fn bullas_own_routes_are_answered_by_bulla_and_every_other_path_by_the_app() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let (browser, _) = ada(&server).await;
    for (path, is_own) in [
        ("/auth/session", true),
        ("/auth/assets/bulla.css", true),
        ("/auth/nothing", true),
        ("/auth/verify", true),
        ("/auth/%76erify", true),
        ("/auth/%73ession", true),
        ("/oauth/authorize", true),
        ("/.well-known/oauth-authorization-server", true),
        ("/", false),
        ("/admin/users", false),
        ("/console", false),
        ("/health/ready", false),
        ("/metrics", false),
        ("/openapi.json", false),
        ("/authx", false),
        ("/Auth/session", false),
    ] {
        let count = app.received().len();
        let answer = browser.get(path).await;
        assert_eq!(app.received().len() - count, usize::from(!is_own), "{path}");
        assert_eq!(answer.status() == 200 && answer.text().await.unwrap() == "ok", !is_own, "{path}");
    }
}

#[tokio::test]
async fn probes_metrics_and_the_administration_have_a_listener_of_their_own() {
    let app = RecordingApp::start();
    let port = crate::support::ports::free_port();
    let admin = format!("127.0.0.1:{port}");
    let server = Server::started(&[("BULLA_UPSTREAM", &app.url), ("BULLA_ADMIN_LISTEN", &admin)]);
    let client = server.browser().client;
    let get = async |path: &str| {
        let request = client.get(format!("http://{admin}{path}"));
        request.basic_auth("ada", Some(crate::support::server::PASSWORD)).send().await.unwrap()
    };
    assert_eq!(get("/health/ready").await.status(), 200);
    assert_eq!(get("/admin/users").await.status(), 200);
    let metrics = get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("bulla_events_total{event=\"stream.cut\"} 0"), "{metrics}");
    assert_eq!(get("/auth/login").await.status(), 404);
    assert!(app.received().is_empty());
}

#[tokio::test]
async fn the_longest_prefix_decides_and_each_path_has_its_own_access() {
    let (public, people, admins) = (RecordingApp::start(), RecordingApp::start(), RecordingApp::start());
    let server = configured(&format!(
        "[[upstream]]\nurl = '{}'\npath = '/public'\naccess = 'public'\n[[upstream]]\nurl = '{}'\n[[upstream]]\nurl = '{}'\n\
         path = '/public/staff'\nroles = ['boss', 'chief']\n",
        public.url, people.url, admins.url
    ));
    let stranger = server.browser();
    assert_eq!(stranger.get("/public/a").await.status(), 200);
    assert_eq!(public.last().values("remote-user"), [""]);
    assert_eq!(stranger.get("/publics").await.status(), 401);
    assert_eq!(stranger.get("/public/staff").await.status(), 401);
    let (browser, _) = ada(&server).await;
    let answer = browser.get("/public").await;
    assert_eq!((answer.status().as_u16(), answer.headers()["vary"].to_str().unwrap()), (200, "cookie"));
    assert_eq!(public.last().values("remote-user"), ["1"]);
    assert_eq!(browser.get("/publics").await.status(), 200);
    assert_eq!(people.received().len(), 1);
    assert_eq!(browser.get("/public/staff/x").await.status(), 403);
    assert!(admins.received().is_empty());
    server.sqlite3(r#"UPDATE users SET roles = '["chief"]' WHERE name = 'ada'"#);
    let (browser, _) = ada(&server).await;
    assert_eq!(browser.get("/public/staff/x").await.status(), 200);
    assert_eq!(admins.received().len(), 1);
    // Other spellings of a path that another upstream has are refused, and don't reach any app.
    let counts = || (public.received().len(), people.received().len(), admins.received().len());
    let before = counts();
    for path in [
        "/%70ublic",
        "//public",
        "/public//staff",
        "/public;a/staff",
        "/public/%73taff",
        "/public/;/staff",
        "/public/staff;x",
        "/public/staff%3Bx",
        "/public/staff%3Fx",
        "/public/%2573taff",
        "/public/STAFF",
        "/PUBLIC",
    ] {
        let mut raw = Raw::connect(&server);
        raw.head(&format!("GET {path}"), &format!("Cookie: {}\r\n", browser.jar.header()));
        assert!(raw.read().starts_with("HTTP/1.1 400"), "{path}");
    }
    assert_eq!(counts(), before);
}

#[tokio::test]
async fn programs_are_admitted_by_scope_and_their_token_does_not_reach_the_app() {
    let app = RecordingApp::start();
    let server = configured(&format!(
        "[[upstream]]\nurl = '{}'\naccess = 'machines'\nscopes = ['reports.read']\n[[upstream]]\nurl = '{0}'\npath = '/own'\n\
         authorization = 'app'\n",
        app.url
    ));
    let client = |scope: &str| {
        let added = server.cli(&["client", "add", scope, "--scope", scope, "--json"]);
        let added: serde_json::Value = serde_json::from_slice(&added.stdout).unwrap();
        (added["id"].as_str().unwrap().to_owned(), added["client_secret"].as_str().unwrap().to_owned())
    };
    let browser = server.browser();
    let token = async |scope: &str| {
        let (id, secret) = client(scope);
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        let request = browser
            .client
            .post(format!("{}/oauth/token", server.origin))
            .basic_auth(id, Some(secret))
            .form(&form);
        let answer: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let (right, wrong) = (token("reports.read").await, token("other").await);
    let get = async |path: &str, token: &str| {
        let request = browser.client.get(format!("{}{path}", server.origin)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(get("/a", &right).await, 200);
    let request = app.last();
    assert!(request.value("authorization").is_none(), "{}", request.head);
    assert!(request.value("remote-user").unwrap().starts_with("client:"), "{}", request.head);
    assert_eq!(get("/a", &wrong).await, 403);
    // A person is not a machine.
    let (person, cookies) = ada(&server).await;
    assert_eq!(person.get("/a").await.status(), 403);
    // The app reads the header itself: it passes untouched, and the cookies decide.
    assert_eq!(get("/own", &right).await, 401);
    let own = browser
        .client
        .get(format!("{}/own", server.origin))
        .header("cookie", &cookies)
        .header("authorization", "Token x");
    assert_eq!(own.send().await.unwrap().status(), 200);
    assert_eq!(app.last().values("authorization"), ["Token x"]);
    // The header does not exempt a request from the check for forgery.
    let forged = browser.client.post(format!("{}/own", server.origin)).header("cookie", &cookies);
    let forged = forged.header("authorization", "Token x").header("sec-fetch-site", "cross-site");
    assert_eq!(forged.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn an_app_that_is_away_or_silent_is_502_or_504_and_a_person_gets_a_page() {
    let gone = RecordingApp::answering(|_| Vec::new());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = format!("127.0.0.1:{}", crate::support::ports::free_port());
    let server = configured(&format!(
        "[[upstream]]\nurl = 'http://{free}'\n[[upstream]]\nurl = '{}'\npath = '/gone'\n[[upstream]]\nurl = 'http://{}'\n\
         path = '/silent'\nanswer_timeout = '1s'\n",
        gone.url,
        silent.local_addr().unwrap()
    ));
    let (browser, _) = ada(&server).await;
    for (path, status, code) in [
        ("/", 502, "upstream_unavailable"),
        ("/gone", 502, "upstream_unavailable"),
        ("/silent", 504, "upstream_timeout"),
    ] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["code"], code);
        let navigation = browser.request(Method::GET, path).header("sec-fetch-mode", "navigate");
        let page = browser.send(navigation).await.text().await.unwrap();
        assert!(page.contains("<html") && page.contains("app behind this server"), "{page}");
    }
    // A request that only reads is tried once more, any other one is not.
    assert_eq!(gone.received().len(), 4);
    browser.post("/gone", json!({})).await;
    assert_eq!(gone.received().len(), 5);
    // The cookies of a renewal are sent although the app is away.
    expire(&server, &browser);
    assert_eq!(set_cookies(&browser.get("/").await).len(), 2);
}
