//! Tests the routes over real HTTP: the flow that the project is made for, and hostile requests.

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::server::{ACCESS, PASSWORD, REFRESH, Server, set_cookies};

fn attributes(line: &str, name: &str) -> u64 {
    let rest = line.strip_prefix(&format!("{name}=bulX")).unwrap_or_else(|| panic!("{line}"));
    let rest = rest.split_once("; ").unwrap().1;
    let (age, rest) = rest.strip_prefix("Max-Age=").unwrap().split_once("; ").unwrap();
    assert_eq!(rest, "Path=/; Secure; HttpOnly; SameSite=Lax");
    age.parse().unwrap()
}

#[tokio::test]
async fn a_user_logs_in_renews_lists_devices_and_logs_out() {
    let server = Server::started(&[]);
    let browser = server.browser();

    // Without a token the answer is 401.
    let nothing = browser.get("/auth/session").await;
    assert_eq!(nothing.status(), 401);
    assert!(set_cookies(&nothing).is_empty());

    // A login sets both cookies.
    let login = browser.log_in("ada").await;
    let cookies = set_cookies(&login);
    assert_eq!(cookies.len(), 2);
    assert!((114..=120).contains(&attributes(&cookies[0], ACCESS)));
    assert!((1710..=1800).contains(&attributes(&cookies[1], REFRESH)));
    assert_eq!(login.headers()["cache-control"], "no-store");

    // The access token alone is accepted.
    let (access, refresh) = (browser.jar.get(ACCESS).unwrap(), browser.jar.get(REFRESH).unwrap());
    browser.jar.remove(REFRESH);
    let alone = browser.get("/auth/session").await;
    assert_eq!(alone.status(), 200);
    assert!(set_cookies(&alone).is_empty());
    let who: Value = alone.json().await.unwrap();
    assert_eq!((&who["id"], &who["name"], &who["roles"]), (&json!("1"), &json!("ada"), &json!(["admin"])));

    // Without an access token, the refresh token gives a new access token, and the request is processed.
    browser.jar.clear();
    browser.jar.set(REFRESH, &refresh);
    let renewed = browser.get("/auth/session").await;
    assert_eq!(renewed.status(), 200);
    let cookies = set_cookies(&renewed);
    assert_eq!(cookies.len(), 1, "sooner than R: no refresh cookie");
    attributes(&cookies[0], ACCESS);
    assert_eq!(renewed.json::<Value>().await.unwrap()["sid"], who["sid"]);
    assert_ne!(browser.jar.get(ACCESS).unwrap(), access);

    // With credentials and without tokens, the request is processed and both tokens are issued.
    let script = server.browser();
    let basic =
        script.client.get(format!("{}/auth/session", server.origin)).basic_auth("ada", Some(PASSWORD));
    let first = script.send(basic).await;
    assert_eq!((first.status().as_u16(), set_cookies(&first).len()), (200, 2));
    let sid = first.json::<Value>().await.unwrap()["sid"].clone();
    let again =
        script.client.get(format!("{}/auth/session", server.origin)).basic_auth("ada", Some(PASSWORD));
    let again: Value = script.send(again).await.json().await.unwrap();
    assert_eq!(again["sid"], sid, "a script takes over its own earlier row");
    assert_eq!(server.sqlite3("SELECT count(*) FROM revocations"), "0");
}

#[tokio::test]
async fn sixty_four_requests_with_one_refresh_cookie_make_one_rotation() {
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "2s"), ("BULLA_REPLAY_WINDOW", "500ms")]);
    let browser = server.ada().await;
    let refresh = browser.jar.get(REFRESH).unwrap();
    // The pause is longer than R, the least time between two rotations.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let all = (0..64).map(|_| {
        let request = browser.client.get(format!("{}/auth/session", server.origin));
        tokio::spawn(request.header("cookie", format!("{REFRESH}={refresh}")).send())
    });
    let answers = futures_util::future::join_all(all.collect::<Vec<_>>()).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().unwrap().status() == 200));
    assert_eq!(server.sqlite3("SELECT count(*), max(generation) FROM sessions"), "1|1");
}

#[tokio::test]
async fn a_reused_refresh_token_ends_the_session_and_is_recorded() {
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "2s"), ("BULLA_REPLAY_WINDOW", "500ms")]);
    let browser = server.ada().await;
    let stolen = browser.jar.get(REFRESH).unwrap();
    for _ in 0..2 {
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        browser.jar.remove(ACCESS);
        assert_eq!(browser.status().await, 200);
    }
    assert_eq!(server.sqlite3("SELECT generation FROM sessions"), "2");
    assert_eq!(browser.status().await, 200, "the access token is good");

    let thief = server.browser();
    thief.jar.set(REFRESH, &stolen);
    let theft = thief.send(thief.request(Method::GET, "/auth/session").header("user-agent", "thief/1")).await;
    assert_eq!(theft.status(), 401);
    assert!(set_cookies(&theft).is_empty());
    assert_eq!(browser.status().await, 401, "this session's access tokens are refused from then on");
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
    let evidence: Value =
        serde_json::from_str(&server.sqlite3("SELECT detail FROM audit WHERE event = 'refresh.reuse'"))
            .unwrap();
    assert_eq!((&evidence["presented_generation"], &evidence["generation"]), (&json!(0), &json!(2)));
    assert_eq!(evidence["presented_by"]["user_agent"], "thief/1");
    assert!(evidence["began_by"]["ip"].is_string() && evidence["age_ms"].is_number());
}

#[tokio::test]
async fn a_logout_ends_the_session_and_clears_both_cookies() {
    let server = Server::started(&[]);
    let (browser, other) = (server.ada().await, server.ada().await);
    let kept = (browser.jar.get(ACCESS).unwrap(), browser.jar.get(REFRESH).unwrap());
    let out = browser.post("/auth/logout", json!({})).await;
    assert_eq!(out.status(), 204);
    assert!(set_cookies(&out).iter().all(|line| line.contains("Max-Age=0")) && set_cookies(&out).len() == 2);
    browser.jar.set(ACCESS, &kept.0);
    browser.jar.set(REFRESH, &kept.1);
    assert_eq!(browser.status().await, 401, "neither token is good any more");
    assert!(set_cookies(&browser.get("/auth/session").await).is_empty(), "a refusal clears nothing");
    assert_eq!(other.status().await, 200);
    other.jar.remove(ACCESS);
    for unclear in [json!("true"), json!(""), json!(1)] {
        assert_eq!(other.post("/auth/logout", json!({"everywhere": unclear})).await.status(), 400);
    }
    assert_eq!(other.post("/auth/logout", json!({"everywhere": true})).await.status(), 204);
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
}

#[tokio::test]
async fn devices_are_ended_one_by_one_and_those_of_other_users_are_not_found() {
    let server = Server::started(&[]);
    server.add_user("bob", &[]);
    let (phone, laptop, bob) = (server.ada().await, server.ada().await, server.browser());
    bob.log_in("bob").await;
    let mine: Value = laptop.get("/auth/sessions").await.json().await.unwrap();
    assert_eq!(mine["sessions"].as_array().unwrap().len(), 2);
    let (phones, bobs) = (phone.sid().await, bob.sid().await);
    assert_eq!(laptop.delete(&format!("/auth/sessions/{bobs}")).await.status(), 404);
    assert_eq!(laptop.delete("/auth/sessions/nonsense").await.status(), 404);
    assert_eq!(bob.status().await, 200);
    assert_eq!(laptop.delete(&format!("/auth/sessions/{phones}")).await.status(), 204);
    assert_eq!((phone.status().await, laptop.status().await), (401, 200));
}

#[tokio::test]
async fn a_changed_password_ends_all_sessions_and_begins_one() {
    let server = Server::started(&[]);
    let (here, there) = (server.ada().await, server.ada().await);
    let change =
        |current: &str, new: &str| here.post("/auth/password", json!({"current": current, "new": new}));
    assert_eq!(change("wrong", "another good one").await.status(), 403);
    assert_eq!(change(PASSWORD, "short").await.status(), 422);
    assert_eq!(there.status().await, 200);
    let before = here.sid().await;
    assert_eq!(change(PASSWORD, "another good one").await.status(), 200);
    assert_eq!((here.status().await, there.status().await), (200, 401));
    assert_ne!(here.sid().await, before);
    let old =
        here.request(Method::POST, "/auth/login").json(&json!({"username": "ada", "password": PASSWORD}));
    assert_eq!(server.browser().send(old).await.status(), 401);
}

#[tokio::test]
async fn the_transport_of_tokens_is_fixed_at_login() {
    let server = Server::started(&[]);
    let log_in = |transport: &'static str| {
        let browser = server.browser();
        async move {
            let login = json!({"username": "ada", "password": PASSWORD, "transport": transport});
            let response = browser.post("/auth/login", login).await;
            let cookies = set_cookies(&response).len();
            (browser, cookies, response.json::<Value>().await.unwrap())
        }
    };
    let (phone, cookies, said) = log_in("body").await;
    assert_eq!((cookies, said["token_type"].as_str()), (0, Some("Bearer")));
    let bearer =
        phone.request(Method::GET, "/auth/session").bearer_auth(said["access_token"].as_str().unwrap());
    assert_eq!(phone.send(bearer).await.status(), 200);
    let refreshed = phone.post("/auth/refresh", json!({"refresh_token": said["refresh_token"]})).await;
    assert!(set_cookies(&refreshed).is_empty());
    assert!(refreshed.json::<Value>().await.unwrap()["access_token"].is_string());

    let (_, cookies, said) = log_in("hybrid").await;
    assert_eq!((cookies, said["access_token"].is_string(), said["refresh_token"].is_null()), (1, true, true));

    let (browser, cookies, said) = log_in("cookie").await;
    assert_eq!((cookies, said["access_token"].is_null(), said["refresh_token"].is_null()), (2, true, true));
    let refreshed: Value = browser.post("/auth/refresh", json!({})).await.json().await.unwrap();
    assert!(refreshed["access_token"].is_null() && refreshed["refresh_token"].is_null());
    let unknown = json!({"username": "ada", "password": PASSWORD, "transport": "pigeon"});
    assert_eq!(browser.post("/auth/login", unknown).await.status(), 400);
}

#[tokio::test]
async fn ambiguous_headers_are_refused_and_unrelated_ones_are_ignored() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let access = browser.jar.get(ACCESS).unwrap();
    let get = |headers: Vec<(&'static str, String)>| {
        let request = browser.client.get(format!("{}/auth/session", server.origin));
        let request = headers.into_iter().fold(request, |r, (name, value)| r.header(name, value));
        async move {
            // A 431 closes its connection. The client may notice this before it has sent the request or when it sends the next one,
            // so it retries.
            let mut asked = 0;
            loop {
                match request.try_clone().unwrap().send().await {
                    Ok(answer) => return answer.status().as_u16(),
                    Err(error) => assert!(asked < 20, "{error}"),
                }
                asked += 1;
            }
        }
    };
    let cookie = |value: String| vec![("cookie", value)];
    for (headers, expected) in [
        (cookie(format!("{ACCESS}={access}")), 200),
        (cookie(format!(";;;=x; name; {ACCESS}={access};;")), 200),
        (cookie(format!("{ACCESS}={access}; {ACCESS}={access}")), 200),
        (cookie(format!("{ACCESS}=\"{access}\"")), 200),
        (vec![("cookie", "a=b".into()), ("cookie", format!("{ACCESS}={access}"))], 200),
        (cookie(format!("{ACCESS}={access}; {ACCESS}=other")), 401),
        (cookie(format!("{}={access}", ACCESS.to_lowercase())), 401),
        (vec![("authorization", format!("bearer {access}"))], 200),
        (vec![("authorization", format!("Bearer  {access}"))], 400),
        (vec![("authorization", format!("Bearer {access}, Bearer {access}"))], 400),
        (
            vec![
                ("authorization", format!("Bearer {access}")),
                ("authorization", format!("Bearer {access}")),
            ],
            400,
        ),
        (
            vec![("authorization", "Bearer bulXnonsense".into()), ("cookie", format!("{ACCESS}={access}"))],
            401,
        ),
        (cookie((0..3000).map(|n| format!("c{n}={n}{n}{n}{n}; ")).collect()), 431),
        ((0..3000).map(|n| ("cookie", format!("c{n}={n}"))).collect(), 431),
        (cookie("x".repeat(64 << 10)), 431),
        (cookie("x".repeat(200 << 10)), 431),
    ] {
        let shown: String = format!("{headers:?}").chars().take(120).collect();
        assert_eq!(get(headers).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn with_an_authorization_header_cookies_are_ignored() {
    let server = Server::started(&[]);
    server.crowd(1);
    let (ada, other) = (server.ada().await, server.browser());
    other.log_in("u1").await;
    let both = ada.request(Method::GET, "/auth/session").bearer_auth(other.jar.get(ACCESS).unwrap());
    let who: Value = ada.send(both).await.json().await.unwrap();
    assert_eq!(who["name"], "u1");
    let bad = ada.request(Method::GET, "/auth/session").bearer_auth("bulXnonsense");
    assert_eq!(ada.send(bad).await.status(), 401, "though the cookies are good");
    let basic =
        ada.client.get(format!("{}/auth/session", server.origin)).basic_auth("u1", Some("wrong password"));
    let basic = basic.header("cookie", format!("{ACCESS}={}", ada.jar.get(ACCESS).unwrap()));
    assert_eq!(ada.send(basic).await.status(), 401);
}

#[tokio::test]
async fn answers_have_the_protective_headers() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let check = |headers: &HeaderMap, what: &str| {
        assert_eq!(headers["cache-control"], "no-store", "{what}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{what}");
        let page =
            headers.get("content-type").is_some_and(|kind| kind.to_str().unwrap().starts_with("text/html"));
        let policy = if page { "same-origin" } else { "no-referrer" };
        assert_eq!(headers["referrer-policy"], policy, "{what}");
        let csp = headers["content-security-policy"].to_str().unwrap();
        assert!(
            csp.contains("default-src 'none'")
                && csp.contains("frame-ancestors 'none'")
                && !csp.contains("unsafe"),
            "{what}"
        );
    };
    for path in [
        "/auth/login",
        "/auth/session",
        "/auth/account",
        "/auth/nothing",
        "/auth/logout",
        "/admin/users",
        "/admin/nothing",
    ] {
        check(browser.get(path).await.headers(), path);
        check(server.browser().get(path).await.headers(), path);
    }
    let page = browser.request(Method::GET, "/auth/account").header("sec-fetch-mode", "navigate");
    let html = browser.send(page).await.text().await.unwrap();
    assert!(html.contains("My devices") && !html.contains("<script") && !html.contains("style="));
    // A navigation without a valid session gets the login page, which contains the way back.
    let lost = server.browser();
    let lost =
        lost.send(lost.request(Method::GET, "/auth/account?x=1").header("sec-fetch-mode", "navigate")).await;
    assert_eq!(lost.status(), 401);
    assert!(lost.text().await.unwrap().contains(r#"name="rd" value="/auth/account?x=1""#));
}

#[tokio::test]
async fn requests_for_other_host_names_are_refused() {
    let server = Server::started(&[]);
    let client = reqwest::Client::new();
    let port = server.origin.rsplit(':').next().unwrap();
    for (host, expected) in
        [("evil.example".to_owned(), 421), (format!("127.0.0.1:{port}"), 200), (format!("[::1]:{port}"), 200)]
    {
        let answer =
            client.get(format!("{}/auth/login", server.origin)).header("host", &host).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{host}");
    }
    let probe = client
        .get(format!("{}/health/ready", server.origin))
        .header("host", "10.1.2.3")
        .send()
        .await
        .unwrap();
    assert_eq!(probe.status(), 200);
}

/// A proxy's rule for a path may not decode it, so Bulla has one spelling of each path.
#[tokio::test]
async fn percent_encoded_spellings_of_a_path_are_not_found() {
    let server = Server::started(&[("BULLA_TRUSTED_PROXIES", "127.0.0.1")]);
    let ada = server.ada().await;
    for path in
        ["/auth/session", "/auth/verify", "/admin/users", "/admin/users/1", "/health/live", "/metrics"]
    {
        let question = |path: &str| {
            let request = ada.request(Method::GET, path).header("x-original-method", "GET");
            ada.send(request.header("x-original-uri", "/"))
        };
        assert_eq!(question(path).await.status(), 200, "{path}");
        for (at, letter) in path.char_indices().filter(|(_, letter)| letter.is_ascii_alphabetic()) {
            let encoded = format!("{}%{:02x}{}", &path[..at], u32::from(letter), &path[at + 1..]);
            assert_eq!(question(&encoded).await.status(), 404, "{encoded}");
        }
    }
    // Only the parameters of a path are decoded.
    assert_eq!(ada.get("/admin/users/%31").await.status(), 200);
}

#[tokio::test]
async fn administration_checks_the_role_in_the_store_and_not_in_the_token() {
    let server = Server::started(&[]);
    server.add_user("bob", &[]);
    let (ada, bob) = (server.ada().await, server.browser());
    bob.log_in("bob").await;
    assert_eq!(bob.get("/admin/users").await.status(), 403);
    assert_eq!(server.browser().get("/admin/users").await.status(), 401);
    let users: Value = ada.get("/admin/users").await.json().await.unwrap();
    assert_eq!(users["users"].as_array().unwrap().len(), 2);
    assert!(!users.to_string().contains("argon2"));

    let added = ada
        .post("/admin/users", json!({"name": "<b>carol</b>", "password": PASSWORD, "roles": ["ops"]}))
        .await;
    assert_eq!(added.status(), 201);
    assert_eq!(
        ada.post("/admin/users", json!({"name": "ADA", "password": PASSWORD})).await.status(),
        409,
        "case"
    );
    assert_eq!(
        ada.post("/admin/users", json!({"name": "\u{430}da", "password": PASSWORD})).await.status(),
        409,
        "a Cyrillic a"
    );
    assert_eq!(ada.delete("/admin/users/1").await.status(), 409, "the last administrator");
    let demoted = ada.send(ada.request(Method::PATCH, "/admin/users/1").json(&json!({"roles": []}))).await;
    assert_eq!(demoted.status(), 409);
    assert_eq!(ada.get("/admin/users/99").await.status(), 404);

    let disabled =
        ada.send(ada.request(Method::PATCH, "/admin/users/2").json(&json!({"disabled": true}))).await;
    assert_eq!(disabled.status(), 200);
    assert_eq!(bob.status().await, 401, "in the same process: the next request");
    for path in ["/admin/sessions", "/admin/revocations", "/admin/keys", "/admin/audit"] {
        let answer = ada.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(!answer.text().await.unwrap().contains("secret"), "{path}");
    }
    // A role that is removed in the store is no longer accepted at /admin, though the token still contains it.
    server.sqlite3("UPDATE users SET roles = '[]' WHERE id = 1");
    assert_eq!(ada.get("/admin/users").await.status(), 403);
}

#[tokio::test]
async fn invalid_requests_are_refused_and_their_content_is_not_logged() {
    let server = Server::started(&[("BULLA_LOG_LEVEL", "trace")]);
    let browser = server.ada().await;
    let good = browser.jar.get(ACCESS).unwrap();
    let long = "A".repeat(5000);
    for bad in [
        "",
        "x",
        "bulX",
        &good[1..],
        &good[..good.len() - 1],
        &format!("{good}A"),
        &format!("{good}="),
        &long,
        "%00",
        "..",
        "MARKER+/MARKER",
    ] {
        browser.jar.set(ACCESS, bad);
        browser.jar.set(REFRESH, bad);
        let answer = browser.get("/auth/session").await;
        assert_eq!(answer.status(), 401, "{bad:.20}");
        assert!(set_cookies(&answer).is_empty());
    }
    browser.jar.set(ACCESS, &browser.jar.get(REFRESH).unwrap());
    let log = server.stderr();
    assert!(!log.contains("MARKER") && !log.contains(&good[..40]) && !log.contains(PASSWORD), "{log}");
}

#[tokio::test]
async fn refresh_tokens_and_access_tokens_are_not_interchangeable() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let (access, refresh) = (browser.jar.get(ACCESS).unwrap(), browser.jar.get(REFRESH).unwrap());
    browser.jar.set(ACCESS, &refresh);
    browser.jar.set(REFRESH, &access);
    assert_eq!(browser.status().await, 401);
    let elsewhere = Server::started(&[]);
    let stranger = elsewhere.browser();
    stranger.jar.set(ACCESS, &access);
    stranger.jar.set(REFRESH, &refresh);
    assert_eq!(stranger.status().await, 401, "another installation's token");
    let bare = server.cli(&["token", "seal", r#"{"id":"1"}"#]);
    let bare = String::from_utf8(bare.stdout).unwrap();
    let no_sid = browser.client.get(format!("{}/auth/session", server.origin)).bearer_auth(bare.trim());
    assert_eq!(no_sid.send().await.unwrap().status(), 401, "an access token without sid");
}

#[tokio::test]
async fn a_token_for_another_purpose_is_refused_as_cookie_and_as_bearer() {
    let server = Server::started(&[]);
    let sid = server.ada().await.sid().await;
    let stranger = server.browser();
    let statuses = async |payload: &str, binding: &[&str]| {
        let sealed = server.cli(&[&["token", "seal", payload], binding].concat());
        let token = String::from_utf8(sealed.stdout).unwrap().trim().to_owned();
        assert!(token.starts_with("bulX"), "{payload}: {binding:?}");
        let bearer = stranger.client.get(format!("{}/auth/session", server.origin)).bearer_auth(&token);
        let bearer = bearer.send().await.unwrap();
        stranger.jar.set(ACCESS, &token);
        stranger.jar.set(REFRESH, &token);
        let cookie = stranger.get("/auth/session").await;
        assert!(set_cookies(&bearer).is_empty() && set_cookies(&cookie).is_empty());
        (bearer.status().as_u16(), cookie.status().as_u16())
    };
    let ada = format!(r#"{{"id":"1","sid":"{sid}"}}"#);
    assert_eq!(statuses(&ada, &[]).await, (200, 200), "the ring's owner can seal for anybody");
    for binding in [
        &["--purpose", "service"][..],
        &["--purpose", "refresh"],
        &["--purpose", "login"],
        &["--purpose", "my-own"],
        &["--audience", "billing"],
        &["--purpose", "service", "--audience", "access"],
    ] {
        assert_eq!(statuses(&ada, binding).await, (401, 401), "{binding:?}");
    }
    let long = "1".repeat(256);
    for id in ["1", "null", r#""""#, r#"["1"]"#, &format!(r#""{long}""#)] {
        let payload = format!(r#"{{"id":{id},"sid":"{sid}"}}"#);
        assert_eq!(statuses(&payload, &[]).await, (401, 401), "{payload}");
    }
}

#[tokio::test]
async fn the_first_request_for_another_host_is_logged_with_the_received_and_the_expected_name() {
    let server = Server::started(&[]);
    let client = reqwest::Client::new();
    for _ in 0..3 {
        let asked = client.get(format!("{}/auth/login", server.origin)).header("host", "127.0.0.1").send();
        assert_eq!(asked.await.unwrap().status(), 421);
    }
    let log = || server.stderr();
    crate::support::server::eventually("the log", || async { log().contains("421") }).await;
    assert!(log().contains("the Host 127.0.0.1,") && log().contains(&server.origin), "{}", log());
    assert_eq!(log().matches("refused with 421").count(), 1);
}
