//! Tests which credentials of a request count, and that forged or contradictory ones log no user in or out.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::server::{ACCESS, PASSWORD, REFRESH, Server, set_cookies};

#[tokio::test]
async fn another_site_cannot_log_a_browser_in_with_its_own_refresh_token() {
    let server = Server::started(&[]);
    let evil = server.ada().await;
    let token = evil.jar.get(REFRESH).unwrap();
    let victim = server.browser();
    let refresh = || victim.client.post(format!("{}/auth/refresh", server.origin));
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
    ] {
        let form = refresh().header(name, value).form(&[("refresh_token", &token)]);
        let answer = form.send().await.unwrap();
        assert_eq!(answer.status(), 403, "{name}: {value}");
        assert!(set_cookies(&answer).is_empty());
        let answer =
            refresh().header(name, value).json(&json!({"refresh_token": token})).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    let program = refresh().json(&json!({"refresh_token": token})).send().await.unwrap();
    assert_eq!(program.status(), 200, "a program says nothing of where it is");
}

#[tokio::test]
async fn with_an_authorization_header_cookies_are_neither_read_nor_changed() {
    let server = Server::started(&[]);
    let (browser, phone) = (server.ada().await, server.browser());
    let login = json!({"username": "ada", "password": PASSWORD, "transport": "body"});
    let tokens: Value = phone.post("/auth/login", login.clone()).await.json().await.unwrap();
    let bearer = tokens["access_token"].as_str().unwrap();

    let request = |path: &str| browser.request(Method::POST, path).bearer_auth(bearer);
    assert_eq!(browser.send(request("/auth/refresh")).await.status(), 401, "the cookie isn't read");
    assert_eq!(browser.send(request("/auth/login").json(&login)).await.status(), 200);
    assert_eq!(browser.status().await, 200, "that login didn't end the session of the cookies");
    let out = browser.send(request("/auth/logout")).await;
    assert_eq!((out.status().as_u16(), set_cookies(&out).len()), (204, 0));
    assert_eq!(browser.status().await, 200, "it ended the bearer's session");
    let gone = phone.request(Method::GET, "/auth/session").bearer_auth(bearer);
    assert_eq!(phone.send(gone).await.status(), 401);
    let malformed = browser.request(Method::POST, "/auth/refresh").header("authorization", "Bearer");
    assert_eq!(browser.send(malformed).await.status(), 400);
}

#[tokio::test]
async fn a_forged_access_token_ends_no_session() {
    let server = Server::started(&[]);
    server.add_user("eve", &[]);
    let (browser, eve) = (server.ada().await, server.browser());
    eve.log_in("eve").await;
    let (sid, hers) = (browser.sid().await, eve.sid().await);
    let forge = |sid: &str| {
        let token = server.cli(&["token", "seal", &json!({"id": "1", "sid": sid}).to_string()]);
        String::from_utf8(token.stdout).unwrap().trim_end().to_owned()
    };
    for everywhere in [true, false] {
        for sid in ["AAAAAAAAAAAAAAAAAAAAAA", &hers] {
            let request = server.browser().request(Method::POST, "/auth/logout").bearer_auth(forge(sid));
            let answer = request.json(&json!({"everywhere": everywhere})).send().await.unwrap();
            assert_eq!(answer.status(), 401, "no row says that {sid} is ada's");
        }
    }
    let thief = server.browser();
    thief.jar.set(ACCESS, &forge(&hers));
    assert_eq!(thief.post("/auth/logout", json!({"everywhere": true})).await.status(), 204);
    assert_eq!((browser.status().await, eve.status().await), (200, 200));
    thief.jar.set(ACCESS, &forge(&sid));
    assert_eq!(thief.post("/auth/logout", json!({})).await.status(), 204);
    assert_eq!(browser.status().await, 401, "whoever has the whole of a token is its owner");
}

#[tokio::test]
async fn contradictory_cookies_are_refused_and_do_not_block_a_login() {
    let server = Server::started(&[]);
    let client = server.browser().client;
    let two = format!("{REFRESH}=one; {REFRESH}=two");
    let login = || {
        let request = client.post(format!("{}/auth/login", server.origin)).header("cookie", &two);
        request.json(&json!({"username": "ada", "password": PASSWORD}))
    };
    assert_eq!(login().send().await.unwrap().status(), 403, "they are our cookies all the same");
    assert_eq!(login().header("sec-fetch-site", "same-origin").send().await.unwrap().status(), 200);
    let refresh = client.post(format!("{}/auth/refresh", server.origin)).header("cookie", &two);
    assert_eq!(refresh.header("sec-fetch-site", "same-origin").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn an_empty_body_is_accepted_with_any_content_type() {
    let server = Server::started(&[]);
    for media in [None, Some("application/json"), Some("text/plain;charset=UTF-8")] {
        let browser = server.ada().await;
        for (path, status) in [("/auth/refresh", 200), ("/auth/logout", 204)] {
            let request = browser.request(Method::POST, path);
            let request =
                media.into_iter().fold(request, |r, media| r.header("content-type", media).body(""));
            assert_eq!(browser.send(request).await.status(), status, "{path} {media:?}");
        }
    }
}

#[tokio::test]
async fn claims_that_are_too_long_to_seal_are_a_503_during_a_navigation() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    browser.jar.remove(ACCESS);
    let big = format!("UPDATE users SET claims = '{{\"x\":\"{}\"}}'", "x".repeat(4000));
    server.sqlite3(&big);
    let answer = browser.get("/auth/continue?rd=/").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after") && set_cookies(&answer).is_empty());
}
