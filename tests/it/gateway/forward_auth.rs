//! Real nginx, Caddy and HAProxy with the configurations of `contrib/`: who reaches the app, and what the app learns.

use std::time::{Duration, Instant};

use reqwest::Method;

use super::identity::SPELLINGS;
use crate::support::{
    app::{RecordingApp, SampleApp},
    chromium::Chromium,
    proxies::{KINDS, Kind, Proxy},
    raw_http::Raw,
    server::{ACCESS, Browser, PASSWORD, REFRESH, Server, eventually},
};

/// A proxy in front of an app that records its requests.
async fn started(kind: Kind, query: &str) -> Option<(Proxy, RecordingApp)> {
    let app = RecordingApp::start();
    let proxy = Proxy::start(kind, &app.url, query).await?;
    Some((proxy, app))
}

fn a_minute_passes(server: &Server) {
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
}

fn navigation(browser: &Browser, path: &str) -> reqwest::RequestBuilder {
    browser.request(Method::GET, path).header("sec-fetch-mode", "navigate")
}

async fn strangers_are_led_to_the_login(kind: Kind) {
    let Some((proxy, app)) = started(kind, "").await else { return };
    let browser = proxy.server.browser();
    let answer = browser.send(navigation(&browser, "/deep?a=1&b=2")).await;
    assert_eq!(answer.status(), 302, "{kind:?}: {}", proxy.log());
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("{}/auth/continue?rd=%2Fdeep%3Fa%3D1%26b%3D2", proxy.origin));
    let path = location.strip_prefix(&proxy.origin).unwrap();
    let answer = browser.send(navigation(&browser, path)).await;
    assert_eq!(answer.headers()["location"], "/auth/login?rd=/deep%3Fa%3D1%26b%3D2");
    // Scripts and programs get 401 without an address, and a form of a stranger too.
    for request in [
        browser.request(Method::GET, "/data").header("sec-fetch-mode", "cors"),
        browser.request(Method::POST, "/data").header("sec-fetch-mode", "navigate").body("a=1"),
    ] {
        let answer = browser.send(request).await;
        assert_eq!(answer.status(), 401, "{kind:?}");
        assert!(answer.headers().get("location").is_none(), "{kind:?}");
        assert!(answer.headers().get("remote-user").is_none(), "{kind:?}");
    }
    assert!(app.received().is_empty(), "{kind:?}");
}

async fn people_are_named_and_their_sessions_end(kind: Kind) {
    let Some((proxy, app)) = started(kind, "").await else { return };
    let browser = proxy.server.ada().await;
    browser.jar.set("theme", "dark");
    let answer = browser.get("/a?b=c").await;
    assert_eq!(answer.status(), 200, "{kind:?}: {}", proxy.log());
    assert!(answer.headers().get("remote-user").is_none(), "{kind:?}: the client must not get these headers");
    let request = app.last();
    assert!(request.head.starts_with("GET /a?b=c HTTP/1.1"), "{kind:?}: {}", request.head);
    assert_eq!(request.values("remote-user"), ["1"], "{kind:?}: {}", request.head);
    assert_eq!(request.values("remote-groups"), ["admin"], "{kind:?}");
    assert_eq!(request.values("cookie"), ["theme=dark"], "{kind:?}");
    // Access cookie gone: a script's request and a form with a body are served, and lose nothing.
    browser.jar.remove(ACCESS);
    a_minute_passes(&proxy.server);
    let refresh = browser.jar.get(REFRESH).unwrap();
    assert_eq!(browser.get("/script").await.status(), 200, "{kind:?}");
    let form =
        browser.request(Method::POST, "/form").header("sec-fetch-mode", "navigate").body("x".repeat(100_000));
    assert_eq!(browser.send(form).await.status(), 200, "{kind:?}");
    assert_eq!(app.last().body.len(), 100_000, "{kind:?}");
    assert_eq!(browser.jar.get(REFRESH).unwrap(), refresh, "{kind:?}: the check sets no cookie");
    assert!(browser.jar.get(ACCESS).is_none());
    // A navigation goes through /auth/continue, which renews the session.
    let answer = browser.send(navigation(&browser, "/page")).await;
    assert_eq!(answer.status(), 302, "{kind:?}");
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let answer = browser.send(navigation(&browser, location.strip_prefix(&proxy.origin).unwrap())).await;
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
        (303, "/page"),
        "{kind:?}"
    );
    assert_ne!(browser.jar.get(REFRESH).unwrap(), refresh, "{kind:?}");
    assert_eq!(browser.send(navigation(&browser, "/page")).await.status(), 200, "{kind:?}");
    // Revoked: refused within a second.
    proxy.server.sqlite3("DELETE FROM sessions");
    let took = eventually("the session is refused", async || browser.get("/a").await.status() == 401).await;
    assert!(took < Duration::from_secs(1), "{kind:?}: {took:?}");
}

async fn no_client_names_itself_or_reaches_the_app_with_bullas_cookies(kind: Kind) {
    let Some((proxy, app)) = started(kind, "").await else { return };
    let browser = proxy.server.ada().await;
    let cookies = browser.jar.header();
    for spelling in SPELLINGS.iter().filter(|name| name.to_lowercase().starts_with("remote")) {
        let mut raw = Raw::connect_to(&proxy.address());
        raw.head("GET /a", &format!("Cookie: {cookies}; app=1\r\n{spelling}: evil\r\nConnection: close\r\n"));
        let answer = raw.read_to_end();
        // A proxy may refuse a header that is not well-formed.
        if answer.starts_with("HTTP/1.1 400") {
            continue;
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{kind:?} {spelling}: {answer} {}", proxy.log());
        let request = app.last();
        assert!(!request.head.contains("evil"), "{kind:?} {spelling}: {}", request.head);
        assert_eq!(request.values("remote-user"), ["1"], "{kind:?} {spelling}");
    }
    assert!(!app.received().is_empty());
    assert!(
        app.received().iter().all(|request| !request.head.contains("bulla-")),
        "{kind:?}: a cookie of Bulla"
    );
    // A client can't ask in the proxy's name: it would learn the app's cookies, and get a token for any audience.
    for path in [
        "/auth/verify?audience=a",
        "/auth/verify/redirect",
        "/auth/verify/envoy/a",
        "/auth//verify",
        "/auth/%76erify",
        "/%61uth/verify",
        "/auth/verif%79/redirect",
        "/auth/%76erify/envoy/auth/verify/envoy",
    ] {
        let mut raw = Raw::connect_to(&proxy.address());
        let question = "X-Original-Method: GET\r\nX-Original-URI: /\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /\r\n";
        raw.head(
            &format!("GET {path}"),
            &format!("Cookie: {cookies}; app=1\r\n{question}Connection: close\r\n"),
        );
        let answer = raw.read_to_end().to_lowercase();
        assert!(
            !answer.contains("remote-user") && !answer.contains("bulla-token"),
            "{kind:?} {path}: {answer}"
        );
        assert!(!answer.contains("\ncookie:"), "{kind:?} {path}: {answer}");
    }
    let count = app.received().len();
    // The description of the request is the proxy's, not the client's.
    for (name, value) in [
        ("X-Original-Method", "GET"),
        ("X-Forwarded-Method", "GET"),
        ("X-Original-URI", "/public"),
        ("X-Forwarded-Uri", "/public"),
        ("X-Forwarded-Host", "localhost"),
    ] {
        let mut raw = Raw::connect_to(&proxy.address());
        let forged = format!("Cookie: {cookies}\r\nSec-Fetch-Site: cross-site\r\n{name}: {value}\r\n");
        raw.head("POST /a", &format!("{forged}Content-Length: 0\r\nConnection: close\r\n"));
        let answer = raw.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 403"), "{kind:?} {name}: {answer}");
        assert_eq!(app.received().len(), count, "{kind:?} {name}");
    }
}

async fn what_another_site_causes_does_not_reach_the_app(kind: Kind) {
    let Some((proxy, app)) = started(kind, "").await else { return };
    let cookies = proxy.server.ada().await.jar.header();
    for (line, headers) in [
        ("POST /a", "Sec-Fetch-Site: cross-site\r\n"),
        ("POST /a", "Sec-Fetch-Site: same-site\r\n"),
        ("DELETE /a", "Origin: https://evil.example\r\n"),
        ("POST /a", ""),
        (
            "GET /ws",
            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://evil.example\r\n",
        ),
    ] {
        let mut raw = Raw::connect_to(&proxy.address());
        raw.head(line, &format!("Cookie: {cookies}\r\n{headers}Content-Length: 0\r\n"));
        let answer = raw.read();
        assert!(answer.starts_with("HTTP/1.1 403"), "{kind:?} {line} {headers}: {answer}");
    }
    for path in ["/a%2fb", "/a/%2e%2e/b", "/a%5cb"] {
        let mut raw = Raw::connect_to(&proxy.address());
        raw.head(&format!("GET {path}"), &format!("Cookie: {cookies}\r\n"));
        let answer = raw.read();
        assert!(
            answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 400"),
            "{kind:?} {path}: {answer}"
        );
    }
    assert!(app.received().is_empty(), "{kind:?}: {:?}", app.received());
}

async fn a_role_is_required_and_a_client_can_not_change_it(kind: Kind) {
    let Some((proxy, app)) = started(kind, "?role=boss,chief").await else { return };
    let browser = proxy.server.ada().await;
    for path in ["/a", "/a?role=admin", "/a?x=1&role=admin"] {
        assert_eq!(browser.get(path).await.status(), 403, "{kind:?} {path}");
    }
    assert!(app.received().is_empty(), "{kind:?}");
    proxy.server.sqlite3(r#"UPDATE users SET roles = '["chief"]'"#);
    let browser = proxy.server.ada().await;
    assert_eq!(browser.get("/a").await.status(), 200, "{kind:?}: {}", proxy.log());
}

async fn a_person_in_a_browser_logs_in_works_and_logs_out(kind: Kind) {
    let Some(app) = SampleApp::start() else { return };
    let Some(proxy) = Proxy::start(kind, &app.url, "").await else { return };
    let Some(person) = Chromium::start(&proxy.origin).await else { return };
    person.goes_to("/reports?year=2026&month=11").await;
    assert_eq!(person.title().await, "Sign in · Bulla", "{kind:?}: {}", proxy.log());
    person.signs_in("ada", PASSWORD).await;
    assert_eq!(person.place().await, "/reports?year=2026&month=11", "{kind:?}");
    assert_eq!(person.reads("h1").await, "Hello 1");
    // Access cookie gone: a navigation, a script's request with a body and a form are served.
    person.loses_cookie(ACCESS).await;
    a_minute_passes(&proxy.server);
    person.goes_to("/next").await;
    assert_eq!((person.status().await, person.reads("h1").await.as_str()), (200, "Hello 1"), "{kind:?}");
    person.loses_cookie(ACCESS).await;
    a_minute_passes(&proxy.server);
    let script = "return await (await fetch('/upload', {method: 'POST', body: 'x'.repeat(100000)})).json()";
    assert_eq!(person.runs(script).await["bytes"], 100_000, "{kind:?}");
    let submit = |action: &str| {
        format!(
            "document.body.innerHTML = `<form method=post action={action}><textarea name=t></textarea></form>`; \
             document.forms[0].t.value = 'y'.repeat(50000); document.forms[0].submit()"
        )
    };
    person.runs(&submit("/upload")).await;
    eventually("the form is sent", async || person.place().await == "/upload").await;
    assert!(person.reads("body").await.contains("50002"), "{kind:?}");
    // An event stream and a WebSocket open with the valid access token of the next navigation.
    person.goes_to("/live").await;
    person
        .runs(
            "window.heardEvents = 0; window.heardMessages = 0;
             new EventSource('/events').onmessage = () => window.heardEvents++;
             const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
             socket.onopen = () => socket.send('tick'); socket.onmessage = () => window.heardMessages++;",
        )
        .await;
    let heard = async |name: &str| person.runs(&format!("return window.{name}")).await.as_u64().unwrap();
    let opened = Instant::now();
    eventually("both streams are heard", async || {
        heard("heardEvents").await > 1 && heard("heardMessages").await > 0
    })
    .await;
    assert!(opened.elapsed() < Duration::from_secs(10), "{kind:?}: events are held back");
    person.opens_tabs(8, "/page").await;
    person.loses_cookie(ACCESS).await;
    a_minute_passes(&proxy.server);
    person.reloads_every_tab().await;
    let headings = person.reads_in_every_tab("h1").await;
    assert!(
        headings.len() >= 9 && headings.iter().all(|heading| heading == "Hello 1"),
        "{kind:?}: {headings:?}"
    );
    person
        .runs(
            "document.body.innerHTML = `<form method=post action=/auth/logout></form>`; document.forms[0].submit()",
        )
        .await;
    eventually("the person is logged out", async || person.cookie(REFRESH).await.is_none()).await;
    person.goes_to("/reports").await;
    assert_eq!(person.title().await, "Sign in · Bulla", "{kind:?}");
}

/// Runs a scenario with each proxy.
macro_rules! with_each_proxy {
    ($($scenario:ident),* $(,)?) => {
        mod nginx { use super::*; $(#[tokio::test] async fn $scenario() { super::$scenario(KINDS[0]).await; })* }
        mod caddy { use super::*; $(#[tokio::test] async fn $scenario() { super::$scenario(KINDS[1]).await; })* }
        mod haproxy { use super::*; $(#[tokio::test] async fn $scenario() { super::$scenario(KINDS[2]).await; })* }
    };
}

with_each_proxy![
    strangers_are_led_to_the_login,
    people_are_named_and_their_sessions_end,
    no_client_names_itself_or_reaches_the_app_with_bullas_cookies,
    what_another_site_causes_does_not_reach_the_app,
    a_role_is_required_and_a_client_can_not_change_it,
    a_person_in_a_browser_logs_in_works_and_logs_out,
];
