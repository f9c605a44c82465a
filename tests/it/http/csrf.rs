//! Tests that requests which another site makes a browser send change nothing (docs/design/http.md).

use reqwest::Method;
use serde_json::json;

use crate::support::server::{ACCESS, PASSWORD, REFRESH, Server, set_cookies};

/// Headers which show that a request doesn't come from a page of the server.
const FOREIGN: [(&str, &str); 7] = [
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
    ("sec-fetch-site", ""),
    ("origin", "https://evil.example"),
    ("origin", "http://localhost.evil.example"),
    ("origin", "null"),
    ("x-nothing", "neither"),
];

#[tokio::test]
async fn requests_of_other_sites_are_refused_and_change_nothing() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let cookies = format!(
        "{ACCESS}={}; {REFRESH}={}",
        browser.jar.get(ACCESS).unwrap(),
        browser.jar.get(REFRESH).unwrap()
    );
    for path in ["/auth/login", "/auth/refresh", "/auth/logout", "/auth/password"] {
        for (name, value) in FOREIGN {
            let request = browser.client.post(format!("{}{path}", server.origin)).header("cookie", &cookies);
            let body = json!({"username": "ada", "password": PASSWORD, "current": PASSWORD, "new": "whatever it is"});
            let answer = request.header(name, value).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path} {name}: {value}");
            assert!(set_cookies(&answer).is_empty());
        }
    }
    assert_eq!(browser.get("/auth/logout").await.status(), 405);
    assert_eq!(browser.get("/auth/logout").await.headers()["allow"], "POST");
    assert_eq!(browser.status().await, 200);
    // A login by a program has neither cookies nor an origin.
    let login = json!({"username": "ada", "password": PASSWORD});
    let plain =
        browser.client.post(format!("{}/auth/login", server.origin)).json(&login).send().await.unwrap();
    assert_eq!(plain.status(), 200);
}

#[tokio::test]
async fn no_changing_route_accepts_a_request_of_another_site() {
    let server = Server::started(&[]);
    server.crowd(1);
    let (browser, other) = (server.ada().await, server.ada().await);
    let sid = other.sid().await;
    let cookies = format!(
        "{ACCESS}={}; {REFRESH}={}",
        browser.jar.get(ACCESS).unwrap(),
        browser.jar.get(REFRESH).unwrap()
    );
    for (method, path) in [
        (Method::DELETE, format!("/auth/sessions/{sid}")),
        (Method::POST, format!("/auth/sessions/{sid}/end")),
        (Method::POST, "/admin/users".into()),
        (Method::PATCH, "/admin/users/2".into()),
        (Method::DELETE, "/admin/users/2".into()),
        (Method::DELETE, format!("/admin/sessions/{sid}")),
        (Method::DELETE, "/admin/sessions".into()),
    ] {
        let body = json!({"name": "eve", "disabled": true});
        for (name, value) in FOREIGN {
            let request = browser.client.request(method.clone(), format!("{}{path}", server.origin));
            let request = request.header("cookie", &cookies).header(name, value).json(&body);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 403, "{method} {path} {name}: {value}");
            assert!(set_cookies(&answer).is_empty());
        }
    }
    assert_eq!((browser.status().await, other.status().await), (200, 200));
    assert_eq!(server.sqlite3("SELECT count(*), max(disabled) FROM users"), "2|0");
}

#[tokio::test]
async fn another_site_cannot_log_a_browser_in() {
    let server = Server::started(&[]);
    let stranger = server.browser();
    for (name, value) in FOREIGN.into_iter().filter(|(name, _)| *name != "x-nothing") {
        let request = stranger.client.post(format!("{}/auth/login", server.origin)).header(name, value);
        let answer = request.form(&[("username", "ada"), ("password", PASSWORD)]).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), set_cookies(&answer).len()), (403, 0), "{name}: {value}");
    }
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
}

#[tokio::test]
async fn json_with_a_content_type_of_forms_is_refused() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    for path in ["/auth/login", "/auth/refresh", "/auth/logout", "/auth/password", "/admin/users"] {
        for kind in
            ["text/plain", "text/plain; x=application/json", "multipart/form-data", "application/jsonp", ""]
        {
            let body = json!({"username": "ada", "password": PASSWORD, "name": "eve"}).to_string();
            let request = browser.request(Method::POST, path).header("content-type", kind).body(body);
            let answer = browser.send(request).await;
            assert_eq!(answer.status(), 415, "{path} {kind}");
            assert!(answer.text().await.unwrap().contains("\"unsupported_media_type\""));
        }
    }
    assert_eq!(browser.status().await, 200);
    assert_eq!(server.sqlite3("SELECT count(*) FROM users"), "1");
}
