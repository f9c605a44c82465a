//! Tests apps that sign people in: the authorization code flow with PKCE (Proof Key for Code Exchange), from the first redirect to
//! the last refresh.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    chromium::Chromium,
    code_flow::{BACK, code, error, location, parameter, phone, query, redeem, refresh, through, who},
    oauth_client::text,
    other_site,
    server::{ACCESS, Server, eventually, set_cookies},
};

#[tokio::test]
async fn an_app_on_another_site_gets_its_code_with_only_the_refresh_cookie() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    let back = format!("http://127.0.0.1:{}/back", other_site::serves("<title>the app</title>".into()));
    let app = server.client("web", &["--public", "--scope", "read", "--redirect-uri", &back]);
    let query = query(&app, &[("redirect_uri", &back)]);
    let start = other_site::links_to(&format!("{}/oauth/authorize?{query}", server.origin));
    person.logs_in("ada").await;
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
    person.loses_cookie(ACCESS).await;
    person.goes_to(&format!("http://127.0.0.1:{start}/")).await;
    person.presses("go").await;
    eventually("the app", || async { person.title().await == "the app" }).await;
    let place = person.place().await;
    assert!(place.starts_with(&back) && parameter(&place, "code").is_some(), "{place}");
    assert_eq!(server.sqlite3("SELECT max(generation) FROM sessions"), "1");
}

#[tokio::test]
async fn a_user_logs_in_for_an_app_and_the_app_gets_its_own_tokens() {
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "2s"), ("BULLA_REPLAY_WINDOW", "500ms")]);
    let (app, browser) = (phone(&server), server.browser());
    let query = query(&app, &[("scope", "read")]);
    let onward = location(&browser.get(&format!("/oauth/authorize?{query}")).await);
    let page = browser.get(&onward).await;
    assert_eq!(page.status(), 401);
    let page = page.text().await.unwrap();
    assert!(page.contains("to continue to <strong>phone</strong>"), "{page}");
    // The target of the login is kept after a wrong password.
    let wrong = [("username", "ada"), ("password", "wrong"), ("rd", &onward)];
    let wrong = browser.send(browser.request(Method::POST, "/auth/login").form(&wrong)).await;
    assert!(wrong.text().await.unwrap().contains("to continue to <strong>phone</strong>"));
    let right = [("username", "ada"), ("password", crate::support::server::PASSWORD), ("rd", &onward)];
    let login = browser.send(browser.request(Method::POST, "/auth/login").form(&right)).await;
    assert_eq!(location(&login), onward);
    // A browser that comes from the form gets a page that sends it on, because `form-action` would block a redirect.
    let navigation = browser.request(Method::GET, &onward).header("sec-fetch-mode", "navigate");
    let page = browser.send(navigation).await;
    assert_eq!(page.status(), 200);
    let to = page.headers()["refresh"].to_str().unwrap().strip_prefix("0;url=").unwrap().to_owned();
    assert!(to.starts_with(&format!("{BACK}?code=bulX")), "{to}");
    assert!(page.text().await.unwrap().contains("continue to phone"));

    let answer = redeem(&app, &parameter(&to, "code").unwrap(), &[]).await;
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()),
        (200, "no-store")
    );
    assert!(set_cookies(&answer).is_empty());
    let tokens: Value = answer.json().await.unwrap();
    assert_eq!((text(&tokens, "scope"), text(&tokens, "token_type")), ("read", "Bearer"));
    let access = text(&tokens, "access_token");
    assert_eq!(who(&server, access).await, 200);
    let opened: Value = serde_json::from_slice(&server.cli(&["token", "open", access]).stdout).unwrap();
    assert_eq!((text(&opened, "client_id"), text(&opened, "scope")), (app.id.as_str(), "read"));

    // Renewal follows the rule of every session: before R there is no new refresh token, after R there is one.
    let first = text(&tokens, "refresh_token");
    let soon: Value = refresh(&app, first, &[]).await.json().await.unwrap();
    assert!(soon["refresh_token"] == first && soon["access_token"].is_string(), "the same one is in force");
    // The pause is longer than R, the least time between two rotations.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let later: Value = refresh(&app, first, &[]).await.json().await.unwrap();
    let second = text(&later, "refresh_token");
    assert_eq!(
        server.sqlite3("SELECT generation, client_id IS NOT NULL FROM sessions WHERE scope = 'read'"),
        "1|1"
    );
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let third: Value = refresh(&app, second, &[]).await.json().await.unwrap();
    assert_eq!(error(refresh(&app, first, &[]).await).await, "invalid_grant");
    assert_eq!(
        error(refresh(&app, text(&third, "refresh_token"), &[]).await).await,
        "invalid_grant",
        "theft ends the session"
    );
    assert_eq!(who(&server, text(&third, "access_token")).await, 401);
    assert_eq!(browser.status().await, 200, "the browser's own session goes on");
}

#[tokio::test]
async fn an_invalid_authorization_request_redirects_to_a_registered_uri_or_not_at_all() {
    let server = Server::started(&[]);
    let (app, ada) = (phone(&server), server.ada().await);
    let two = server
        .client("two", &["--public", "--redirect-uri", BACK, "--redirect-uri", "https://app.example/other"]);
    let sent_back_to = |to| query(&app, &[("redirect_uri", to)]);
    for (nowhere, told) in [
        (query(&app, &[("client_id", "")]), "has no client_id"),
        (sent_back_to("https://app.example/back/"), "redirect_uri of this request is not registered"),
        (sent_back_to("https://app.example/back?x"), "redirect_uri of this request is not registered"),
        (sent_back_to("https://app.example.evil/back"), "redirect_uri of this request is not registered"),
        (sent_back_to("https://app.example@evil/back"), "redirect_uri of this request is not registered"),
        (sent_back_to("javascript:alert(1)"), "redirect_uri of this request is not registered"),
        (query(&two, &[("redirect_uri", "")]), "has no redirect_uri"),
        (format!("{}&client_id={}", query(&app, &[]), app.id), "parameter client_id is given more than once"),
        (
            format!("{}&redirect_uri=https://evil.example/", query(&app, &[])),
            "parameter redirect_uri is given more than once",
        ),
    ] {
        for path in ["/oauth/authorize", "/auth/authorize"] {
            let answer = ada.get(&format!("{path}?{nowhere}")).await;
            assert_eq!(answer.status(), 400, "{path}?{nowhere}");
            assert!(answer.headers().get("location").is_none());
            let page = answer.text().await.unwrap();
            assert!(page.contains(told) && !page.contains("evil"), "{path}?{nowhere}: {page}");
        }
    }
    for unknown in ["nobody", "no/body"] {
        let answer = ada.get(&format!("/oauth/authorize?{}", query(&app, &[("client_id", unknown)]))).await;
        assert_eq!((answer.status().as_u16(), answer.headers().get("location")), (404, None));
        assert!(
            answer
                .text()
                .await
                .unwrap()
                .contains("The client_id of this request is not the id of a registered app")
        );
    }
    for (changed, expected) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("response_mode", "fragment"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("scope", "read admin"), "invalid_scope"),
        (("scope", "a\"b"), "invalid_scope"),
    ] {
        for path in ["/oauth/authorize", "/auth/authorize"] {
            let back = location(&ada.get(&format!("{path}?{}", query(&app, &[changed]))).await);
            let start = format!("{BACK}?error={expected}&error_description=");
            assert!(back.starts_with(&start) && back.contains("&state="), "{changed:?}: {back}");
            let (name, description) = (changed.0, parameter(&back, "error_description").unwrap());
            assert!(description.contains(name), "{name}: {description}");
            assert_eq!(parameter(&back, "iss").as_deref(), Some(server.origin.as_str()));
        }
    }
    assert!(
        through(&ada, &query(&app, &[("redirect_uri", "")])).await.starts_with(&format!("{BACK}?code=")),
        "the only one"
    );
    assert_eq!(ada.post("/auth/authorize", json!({})).await.status(), 405);
    // This request is too long for a login to return to it.
    let endless =
        ada.get(&format!("/oauth/authorize?{}", query(&app, &[("state", &"s".repeat(1000))]))).await;
    assert_eq!((endless.status().as_u16(), endless.headers().get("location")), (400, None));
    assert!(server.cli(&["client", "disable", "phone"]).status.success());
    assert_eq!(ada.get(&format!("/oauth/authorize?{}", query(&app, &[]))).await.status(), 404);
}

#[tokio::test]
async fn a_code_works_once_for_its_client_redirect_uri_and_verifier() {
    let server = Server::started(&[]);
    let (app, ada) = (phone(&server), server.ada().await);
    let other = server.client("other", &["--public", "--redirect-uri", BACK]);
    let good = code(&server, &app, &ada).await;
    for changed in [
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl"),
        ("code_verifier", "short"),
        ("redirect_uri", "https://app.example/other"),
        ("redirect_uri", ""),
        ("client_id", other.id.as_str()),
        ("code", &good[..good.len() - 1]),
        ("code", "nonsense"),
    ] {
        assert_eq!(error(redeem(&app, &good, &[changed]).await).await, "invalid_grant", "{changed:?}");
    }
    assert_eq!(error(redeem(&app, &good, &[("code_verifier", "")]).await).await, "invalid_request");
    assert_eq!(error(redeem(&app, &good, &[("code", "")]).await).await, "invalid_request");
    let tokens: Value = redeem(&app, &good, &[]).await.json().await.unwrap();
    let access = text(&tokens, "access_token").to_owned();
    assert_eq!(who(&server, &access).await, 200);
    assert_eq!(error(redeem(&app, &good, &[]).await).await, "invalid_grant", "a second time");
    assert_eq!(who(&server, &access).await, 401, "and what came of the first is over");
    assert_eq!(error(refresh(&app, text(&tokens, "refresh_token"), &[]).await).await, "invalid_grant");

    // Of eight requests with one code at once, at most one gets tokens, and its session is ended.
    let good = code(&server, &app, &ada).await;
    let all = futures_util::future::join_all((0..8).map(|_| redeem(&app, &good, &[]))).await;
    assert!(all.iter().filter(|answer| answer.status() == 200).count() <= 1);
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions WHERE client_id IS NOT NULL"), "0");

    // An access token is not accepted as a code or a code as an access token, and keys for codes are not exported.
    let (access, now) =
        (ada.jar.get(crate::support::server::ACCESS).unwrap(), code(&server, &app, &ada).await);
    assert_eq!(error(redeem(&app, &access, &[]).await).await, "invalid_grant");
    assert_eq!(who(&server, &now).await, 401);
    assert_eq!(
        server.cli(&["keys", "export", "--purpose", "code", "--max-age", "60s"]).status.code(),
        Some(2)
    );
    // A client that has been disabled gets no tokens for its code.
    assert!(server.cli(&["client", "disable", "phone"]).status.success());
    assert_eq!(redeem(&app, &now, &[]).await.status(), 401);
}

#[tokio::test]
async fn a_code_is_void_when_the_login_behind_it_has_ended() {
    let server = Server::started(&[]);
    let (app, ada) = (phone(&server), server.ada().await);
    let new = "another good one entirely";
    for ended_by in ["logout", "everywhere", "password", "shell"] {
        let browser = server.ada().await;
        let code = code(&server, &app, &browser).await;
        let ended = match ended_by {
            "logout" => browser.post("/auth/logout", json!({})).await.status().as_u16(),
            "everywhere" => browser.post("/auth/logout", json!({"everywhere": true})).await.status().as_u16(),
            "password" => {
                let change = json!({"current": crate::support::server::PASSWORD, "new": new});
                let changed = browser.post("/auth/password", change).await.status().as_u16();
                let back = json!({"current": new, "new": crate::support::server::PASSWORD});
                assert_eq!(browser.post("/auth/password", back).await.status(), 200);
                changed
            }
            _ => {
                server.sqlite3(&format!("DELETE FROM sessions WHERE sid = '{}'", browser.sid().await));
                200
            }
        };
        assert!([200, 204].contains(&ended), "{ended_by}: {ended}");
        assert_eq!(error(redeem(&app, &code, &[]).await).await, "invalid_grant", "{ended_by}");
    }
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions WHERE client_id IS NOT NULL"), "0");

    // A thief of the key ring can seal a code, even one that names a login, but the server has not issued that code.
    assert_ne!(ada.status().await, 200, "signed out everywhere");
    let ada = server.ada().await;
    let good = code(&server, &app, &ada).await;
    let seal = |payload: &Value| {
        let sealed = server.cli(&["token", "seal", &payload.to_string(), "--purpose", "code"]);
        String::from_utf8(sealed.stdout).unwrap().trim().to_owned()
    };
    let opened = server.cli(&["token", "open", &good, "--purpose", "code"]);
    let payload: Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert_eq!(text(&payload, "by"), ada.sid().await);
    assert_eq!(error(redeem(&app, &seal(&payload), &[]).await).await, "invalid_grant");
    assert_eq!(redeem(&app, &good, &[]).await.status(), 200);
}

#[tokio::test]
async fn a_native_app_may_use_any_loopback_port_until_it_is_deleted() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let app =
        server.client("desktop", &["--public", "--scope", "read", "--redirect-uri", "http://127.0.0.1/back"]);
    let back = "http://127.0.0.1:49152/back";
    let to = through(&ada, &query(&app, &[("redirect_uri", back)])).await;
    assert!(to.starts_with(&format!("{back}?code=")));
    let tokens = redeem(&app, &parameter(&to, "code").unwrap(), &[("redirect_uri", back)]).await;
    let tokens: Value = tokens.json().await.unwrap();
    let access = text(&tokens, "access_token").to_owned();
    assert_eq!(who(&server, &access).await, 200);
    server.sqlite3("DELETE FROM clients WHERE name = 'desktop'");
    eventually("its people are signed out of it", || async { who(&server, &access).await == 401 }).await;
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions WHERE client_id IS NOT NULL"), "0");
    let gone = refresh(&app, text(&tokens, "refresh_token"), &[]).await;
    assert_eq!(gone.status(), 401);
    assert_eq!(ada.status().await, 200);
}
