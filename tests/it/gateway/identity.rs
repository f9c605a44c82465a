//! The app learns who the caller is from the gateway only: no spelling of an identity header of a client reaches it, and no cookie
//! of Bulla.

use reqwest::Method;

use super::{ada, before, configured};
use crate::support::{
    app::RecordingApp,
    raw_http::Raw,
    server::{ACCESS, REFRESH},
};

/// Spellings of headers that an app may read as an identity header, or as the description of the request by a proxy.
pub(super) const SPELLINGS: [&str; 44] = [
    "Remote-User",
    "remote-user",
    "REMOTE-USER",
    "Remote_User",
    "REMOTE_USER",
    "Remote.User",
    "remote~user",
    "Remote!User",
    "Remote|User",
    "Remote`User",
    "Remote'User",
    "Remote*User",
    "Remote+User",
    "Remote-Groups",
    "Remote_Groups",
    "Remote-Name",
    "Remote.Name",
    "Remote-Email",
    "remote_email",
    "Remote-Session",
    "X-Forwarded-User",
    "X_Forwarded_User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Auth-Request-User",
    "X_Auth_Request_Email",
    "X-authentik-username",
    "X_Authentik_Groups",
    "x.authentik.uid",
    "X-authentik-meta-app",
    "Bulla-Token",
    "Bulla_Token",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "Forwarded",
    "X-Real-IP",
    "X_Real_Ip",
    "X-Original-URL",
    "X-Original-Uri",
    "X-Rewrite-URL",
];

#[tokio::test]
async fn no_spelling_of_an_identity_header_of_a_client_reaches_the_app() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    for spelling in SPELLINGS {
        for connection in ["", "Connection: remote-user, x-forwarded-for, Remote-Groups\r\n"] {
            let mut raw = Raw::connect(&server);
            raw.head("GET /a", &format!("Cookie: {cookies}\r\n{connection}{spelling}: evil\r\n"));
            assert!(raw.read().starts_with("HTTP/1.1 200"), "{spelling}");
            let request = app.last();
            assert!(!request.head.contains("evil"), "{spelling}: {}", request.head);
            assert_eq!(request.values("remote-user"), ["1"], "{spelling}");
            assert_eq!(request.values("remote-groups"), ["admin"], "{spelling}");
            assert_eq!(request.values("x-forwarded-for"), ["127.0.0.1"], "{spelling}");
        }
    }
    assert_eq!(app.received().len(), 2 * SPELLINGS.len());
}

#[tokio::test]
async fn trailers_with_the_name_of_an_identity_header_do_not_reach_the_app() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    let mut raw = Raw::connect(&server);
    raw.head(
        "POST /a",
        &format!(
            "Cookie: {cookies}\r\nSec-Fetch-Site: same-origin\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Remote-User\r\n"
        ),
    );
    raw.send(b"3\r\nabc\r\n0\r\nX-Sum: 7\r\nRemote-User: evil\r\nRemote_Groups: evil\r\n\r\n");
    assert!(raw.read().starts_with("HTTP/1.1 200"));
    let request = app.last();
    assert_eq!(request.body, b"abc");
    assert!(request.head.to_lowercase().contains("trailer x-sum: 7"), "{}", request.head);
    assert!(!request.head.contains("evil"), "{}", request.head);
}

#[tokio::test]
async fn the_cookies_of_bulla_stay_at_the_gateway_and_those_of_the_app_pass() {
    let app = RecordingApp::answering(|_| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: theme=dark; Path=/\r\nSet-Cookie: {ACCESS}=evil; Path=/; Secure\r\n\
             Set-Cookie: __Secure-bulla-refresh=evil; Path=/; Secure\r\n\r\n"
        )
        .into_bytes()
    });
    let server = before(&app.url);
    let (browser, _) = ada(&server).await;
    browser.jar.set("cart", "7");
    let answer = browser.get("/a").await;
    let set = crate::support::server::set_cookies(&answer);
    assert_eq!(set, ["theme=dark; Path=/"]);
    let request = app.last();
    assert_eq!(request.values("cookie"), ["cart=7"]);
    browser.get("/b").await;
    let cookies = app.last().values("cookie").join("");
    assert!(cookies.contains("theme=dark") && !cookies.contains("bulla"), "{cookies}");
    assert!(!app.received().iter().any(|request| request.head.contains(REFRESH)));
}

#[tokio::test]
async fn the_header_names_follow_the_preset_and_all_others_are_absent() {
    let app = RecordingApp::start();
    for (preset, present, absent) in [
        ("remote", "remote-user", "x-forwarded-user"),
        ("oauth2-proxy", "x-forwarded-user", "remote-user"),
        ("authentik", "x-authentik-uid", "remote-user"),
    ] {
        let server = configured(&format!("[[upstream]]\nurl = '{}'\nheaders = '{preset}'", app.url));
        let (browser, _) = ada(&server).await;
        let request = browser.request(Method::GET, "/a").header(absent, "evil").header(present, "evil");
        assert_eq!(browser.send(request).await.status(), 200);
        assert_eq!(app.last().values(present), ["1"], "{preset}");
        assert!(app.last().values(absent).is_empty(), "{preset}");
    }
}

#[tokio::test]
async fn a_token_for_the_audience_of_the_app_opens_with_its_key() {
    let app = RecordingApp::start();
    let server = configured(&format!("[[upstream]]\nurl = '{}'\naudience = 'reports'", app.url));
    let (browser, _) = ada(&server).await;
    assert_eq!(browser.get("/a").await.status(), 200);
    let token = app.last().value("bulla-token").unwrap().to_owned();
    let opened = server.cli(&["token", "open", &token, "--audience", "reports"]);
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    let payload: serde_json::Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert_eq!(
        (payload["id"].as_str(), payload["sid"].as_str()),
        (Some("1"), Some(browser.sid().await.as_str()))
    );
    // The token is not one of the server itself.
    assert_eq!(server.cli(&["token", "open", &token]).status.code(), Some(4));
}

#[tokio::test]
async fn claims_and_roles_are_encoded_so_that_they_can_not_add_another_one() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    server.sqlite3(
        r#"UPDATE users SET roles = '["a,admin","b|c","ä"]', claims = '{"name":"Ada\r\nRemote-User: 1","email":"a@b.c"}' WHERE name = 'ada'"#,
    );
    let (browser, _) = ada(&server).await;
    browser.get("/a").await;
    let request = app.last();
    assert_eq!(request.values("remote-groups"), ["a%2Cadmin,b%7Cc,%C3%A4"]);
    assert_eq!(request.values("remote-name"), ["Ada%0D%0ARemote-User: 1"]);
    assert_eq!(request.values("remote-email"), ["a@b.c"]);
    assert_eq!(request.values("remote-user"), ["1"]);
}
