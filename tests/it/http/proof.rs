//! Tests that an access token alone allows no lasting change.
//!
//! A change of a login method, the end of a device, and administration require the session. A change of a login method also
//! requires a recent proof. The proof must still hold when the change is written.

use std::process::{Command, Stdio};

use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::server::{ACCESS, Browser, PASSWORD, REFRESH, Server, set_cookies};

const OTHER: &str = "another fine password";

fn new_password() -> Value {
    json!({"current": PASSWORD, "new": OTHER})
}

/// Every request that requires the session.
fn guarded(own: &str, others: &str) -> Vec<(Method, String, Value)> {
    let nothing = || json!({});
    vec![
        (Method::POST, "/auth/password".into(), new_password()),
        (
            Method::POST,
            "/auth/identities/unlink".into(),
            json!({"issuer": "https://id.example", "subject": "1"}),
        ),
        (Method::DELETE, format!("/auth/sessions/{own}"), nothing()),
        (Method::POST, format!("/auth/sessions/{own}/end"), nothing()),
        (Method::POST, "/admin/users".into(), json!({"name": "heir", "roles": ["admin"]})),
        (Method::PATCH, "/admin/users/2".into(), json!({"roles": ["admin"]})),
        (Method::DELETE, "/admin/users/2".into(), nothing()),
        (Method::DELETE, format!("/admin/sessions/{others}"), nothing()),
        (Method::DELETE, "/admin/sessions".into(), nothing()),
        (Method::POST, "/admin/clients".into(), json!({"name": "heir", "scopes": ["admin"]})),
        (Method::PATCH, "/admin/clients/nobody".into(), nothing()),
        (Method::POST, "/admin/clients/nobody/secret".into(), nothing()),
        (Method::DELETE, "/admin/clients/nobody".into(), nothing()),
    ]
}

/// Everything that a change could leave behind in the database.
fn state(server: &Server) -> String {
    server.sqlite3(
        "SELECT (SELECT group_concat(password_hash || roles) FROM users), (SELECT count(*) FROM clients),
           (SELECT group_concat(sid) FROM sessions), (SELECT count(*) FROM identities), (SELECT count(*) FROM revocations)",
    )
}

async fn refused(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let said: Value = answer.json().await.unwrap();
    (status, said["code"].as_str().unwrap().to_owned())
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.into())
}

#[tokio::test]
async fn an_access_token_alone_changes_no_credential_ends_no_device_and_does_not_administer() {
    let server = Server::started(&[]);
    server.crowd(1);
    server
        .sqlite3("INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', '1', '1')");
    let (ada, twin, bob) = (server.ada().await, server.ada().await, server.browser());
    bob.log_in("u1").await;
    let (access, own, others) = (ada.jar.get(ACCESS).unwrap(), ada.sid().await, bob.sid().await);
    let phone = json!({"username": "ada", "password": PASSWORD, "transport": "hybrid"});
    let hybrid = server.browser();
    let phone: Value = hybrid.post("/auth/login", phone).await.json().await.unwrap();
    let before = state(&server);
    for (method, path, body) in guarded(&own, &others) {
        let ask = |access: Option<&str>, refresh: Option<String>| {
            let thief = server.browser();
            access.inspect(|token| thief.jar.set(ACCESS, token));
            refresh.inspect(|token| thief.jar.set(REFRESH, token));
            let request = thief.request(method.clone(), &path).json(&body);
            async move { refused(thief.send(request).await).await }
        };
        let bearer = async |browser: &Browser, token: &str| {
            refused(browser.send(browser.request(method.clone(), &path).bearer_auth(token).json(&body)).await)
                .await
        };
        let needs = is(403, "session_required");
        assert_eq!(ask(Some(&access), None).await, needs, "{method} {path}, in a cookie alone");
        assert_eq!(bearer(&server.browser(), &access).await, needs, "{method} {path}, as a bearer");
        assert_eq!(bearer(&ada, &access).await, needs, "{method} {path}, as a bearer beside good cookies");
        let token = phone["access_token"].as_str().unwrap();
        assert_eq!(
            bearer(&hybrid, token).await,
            needs,
            "{method} {path}, a hybrid's bearer beside its cookie"
        );
        for (whose, other) in [("another device's", &twin), ("another user's", &bob)] {
            let refresh = other.jar.get(REFRESH);
            assert_eq!(ask(Some(&access), refresh).await, needs, "{method} {path}, {whose} refresh token");
        }
        assert_eq!(ask(Some(&access), Some("bulXnonsense".into())).await, needs, "{method} {path}, garbage");
        assert_eq!(state(&server), before, "{method} {path}");
    }
}

#[tokio::test]
async fn the_proven_session_administers_and_ends_devices() {
    let server = Server::started(&[]);
    let (ada, phone) = (server.ada().await, server.ada().await);
    assert_eq!(ada.post("/admin/users", json!({"name": "bob"})).await.status(), 201);
    // Without an access token the guard first rotates the refresh token, so the token that the request presents is then the
    // previous one.
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
    ada.jar.remove(ACCESS);
    assert_eq!(ada.post("/admin/users", json!({"name": "carol"})).await.status(), 201);
    assert_eq!(ada.delete(&format!("/auth/sessions/{}", phone.sid().await)).await.status(), 204);
    // A script's password is a stronger proof than a session.
    let script = server.browser();
    let url = format!("{}/admin/users", server.origin);
    let add = script.client.post(url).basic_auth("ada", Some(PASSWORD)).json(&json!({"name": "dave"}));
    assert_eq!(add.send().await.unwrap().status(), 201);
    let change = script.client.post(format!("{}/auth/password", server.origin)).json(&json!({"new": OTHER}));
    assert_eq!(
        change.try_clone().unwrap().basic_auth("ada", Some("wrong password")).send().await.unwrap().status(),
        401
    );
    assert_eq!(change.basic_auth("ada", Some(PASSWORD)).send().await.unwrap().status(), 200);
    let back = json!({"new": PASSWORD});
    let back = script.client.post(format!("{}/auth/password", server.origin)).json(&back);
    assert_eq!(back.basic_auth("ada", Some(OTHER)).send().await.unwrap().status(), 200);
    // The refresh cookie of a hybrid login shows the session if the request contains no bearer token.
    let login = json!({"username": "ada", "password": PASSWORD, "transport": "hybrid"});
    assert_eq!(script.post("/auth/login", login).await.status(), 200);
    assert_eq!(script.post("/admin/users", json!({"name": "eve"})).await.status(), 201);
}

#[tokio::test]
async fn a_refresh_token_that_needs_a_pardon_does_not_prove_the_session_and_an_older_one_ends_it() {
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "4s"), ("BULLA_REPLAY_WINDOW", "500ms")]);
    let ada = server.ada().await;
    let stolen = ada.jar.get(REFRESH).unwrap();
    let rotates = async || {
        server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
        ada.jar.remove(ACCESS);
        assert_eq!(ada.status().await, 200);
        server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 1000");
    };
    let asks = async || {
        let thief = server.browser();
        thief.jar.set(ACCESS, &ada.jar.get(ACCESS).unwrap());
        thief.jar.set(REFRESH, &stolen);
        refused(thief.post("/admin/users", json!({"name": "heir"})).await).await
    };
    rotates().await;
    assert_eq!(asks().await, is(403, "session_required"), "late, and forgiven elsewhere");
    assert_eq!(
        server.sqlite3("SELECT count(*) FROM audit WHERE event LIKE 'refresh.%'"),
        "0",
        "nothing is written"
    );
    rotates().await;
    assert_eq!(asks().await, is(401, "unauthorized"), "outdated");
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
    assert_eq!(server.sqlite3("SELECT count(*) FROM audit WHERE event = 'refresh.reuse'"), "1");
    assert_eq!(server.sqlite3("SELECT count(*) FROM users"), "1");
}

#[tokio::test]
async fn a_pardon_by_the_guard_does_not_prove_the_session() {
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "4s"), ("BULLA_REPLAY_WINDOW", "500ms")]);
    server
        .sqlite3("INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', '1', '1')");
    for (path, body) in [
        ("/admin/users", json!({"name": "heir", "roles": ["admin"]})),
        ("/auth/identities/unlink", json!({"issuer": "https://id.example", "subject": "1"})),
        ("/auth/password", new_password()),
    ] {
        let ada = server.ada().await;
        let stolen = ada.jar.get(REFRESH).unwrap();
        server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
        ada.jar.remove(ACCESS);
        assert_eq!(ada.status().await, 200);
        server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 1000");
        // Without an access token the guard first renews the session, with a pardon. The same token presented again would be a
        // repeat.
        for time in ["the pardon", "once more, shortly after it"] {
            let thief = server.browser();
            thief.jar.set(REFRESH, &stolen);
            let answer = refused(thief.post(path, body.clone()).await).await;
            assert_eq!(answer, is(403, "session_required"), "{path}, {time}");
        }
        assert_eq!(
            server.sqlite3("SELECT count(*) FROM audit WHERE event = 'refresh.pardon'"),
            "1",
            "{path}"
        );
        server.sqlite3("DELETE FROM audit; DELETE FROM sessions");
    }
    assert_eq!(
        server.sqlite3("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM identities)"),
        "1|1"
    );
}

#[tokio::test]
async fn a_session_proven_by_another_user_agent_is_recorded_in_the_audit() {
    let server = Server::started(&[]);
    let (ada, thief) = (server.ada().await, server.browser());
    for cookie in [ACCESS, REFRESH] {
        thief.jar.set(cookie, &ada.jar.get(cookie).unwrap());
    }
    for name in ["heir", "spare"] {
        let add = thief.request(Method::POST, "/admin/users").header("user-agent", "thief/1");
        assert_eq!(thief.send(add.json(&json!({"name": name}))).await.status(), 201);
    }
    let moved = server.sqlite3("SELECT detail FROM audit WHERE event = 'refresh.moved'");
    assert!(moved.matches("thief/1").count() == 1 && moved.lines().count() == 1, "{moved}");
}

#[tokio::test]
async fn a_logout_everywhere_needs_the_proven_session_and_a_logout_here_does_not() {
    let server = Server::started(&[]);
    let (ada, _phone) = (server.ada().await, server.ada().await);
    let access = ada.jar.get(ACCESS).unwrap();
    let everywhere = json!({"everywhere": true});
    let thief = server.browser();
    thief.jar.set(ACCESS, &access);
    let needs = is(403, "session_required");
    assert_eq!(
        refused(thief.post("/auth/logout", everywhere.clone()).await).await,
        needs,
        "in a cookie alone"
    );
    let bearer = ada.request(Method::POST, "/auth/logout").bearer_auth(&access).json(&everywhere);
    assert_eq!(refused(ada.send(bearer).await).await, needs, "as a bearer beside good cookies");
    let form = thief.request(Method::POST, "/auth/logout").form(&[("everywhere", "on")]);
    assert_eq!(thief.send(form).await.status(), 403);
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "2");
    assert_eq!(thief.post("/auth/logout", json!({})).await.status(), 204);
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "1", "its own");
    let again = server.ada().await;
    assert_eq!(again.post("/auth/logout", everywhere).await.status(), 204);
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
}

#[tokio::test]
async fn changes_of_credentials_need_a_recent_login_or_the_present_password() {
    let server = Server::started(&[("BULLA_REAUTH_WITHIN", "5m")]);
    let ada = server.ada().await;
    server.sqlite3(
        "INSERT INTO identities (issuer, subject, user_id)
         VALUES ('https://id.example', '1', '1'), ('https://id.example', '2', '1'), ('https://id.example', '3', '1')",
    );
    let unlink = async |subject: &str, current: Option<&str>| {
        let mut body = json!({"issuer": "https://id.example", "subject": subject});
        current.inspect(|current| body["current"] = (*current).into());
        let answer = ada.post("/auth/identities/unlink", body).await;
        if answer.status() == 204 { is(204, "") } else { refused(answer).await }
    };
    let ago = |then: &str| server.sqlite3(&format!("UPDATE sessions SET auth_time = {then}"));
    for (old, why) in [
        ("created_at - 301000", "too long ago"),
        ("NULL", "not known"),
        ("created_at + 3600000", "a clock that was wrong"),
    ] {
        ago(old);
        assert_eq!(unlink("1", None).await, is(403, "reauth_required"), "{why}");
        assert_eq!(unlink("1", Some("")).await, is(403, "reauth_required"), "{why}");
    }
    assert_eq!(unlink("1", Some("wrong password")).await, is(403, "wrong_password"));
    assert_eq!(server.sqlite3("SELECT count(*) FROM identities"), "3");
    assert_eq!(unlink("1", Some(PASSWORD)).await, is(204, ""));
    assert_eq!(unlink("2", None).await, is(204, ""), "the password was a proof, just now");
    ago("created_at - 301000");
    assert_eq!(unlink("3", None).await, is(403, "reauth_required"));
    // Changes of anything but login methods require no recent proof.
    let phone = server.ada().await.sid().await;
    assert_eq!(ada.delete(&format!("/auth/sessions/{phone}")).await.status(), 204);
    assert_eq!(ada.post("/admin/users", json!({"name": "bob"})).await.status(), 201);
    // A new login is a proof, and so is HTTP Basic.
    ada.log_in("ada").await;
    let url = format!("{}/auth/identities/unlink", server.origin);
    let body = json!({"issuer": "https://id.example", "subject": "3"});
    let script = server.browser().client.post(url).basic_auth("ada", Some(PASSWORD)).json(&body);
    assert_eq!(script.send().await.unwrap().status(), 204);
    assert_eq!(unlink("3", None).await, is(404, "not_found"), "asked of nobody any more");
}

#[tokio::test]
async fn a_form_that_needs_a_new_login_leads_through_it_and_back() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let identity = [("issuer", "https://id.example"), ("subject", "1")];
    server
        .sqlite3("INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', '1', '1')");
    server.sqlite3("UPDATE sessions SET auth_time = NULL");
    let unlink =
        async || ada.send(ada.request(Method::POST, "/auth/identities/unlink").form(&identity)).await;
    let page = unlink().await;
    assert_eq!(page.status(), 403);
    let page = page.text().await.unwrap();
    assert!(page.contains("too long ago") && page.contains(r#"name="rd" value="/auth/account""#), "{page}");
    assert!(page.contains(r#"value="ada""#), "{page}");
    let sid = ada.sid().await;
    ada.log_in("ada").await;
    assert_ne!(ada.sid().await, sid, "a new session takes the place of the old one");
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "1");
    assert_eq!(unlink().await.status(), 303);
    assert_eq!(server.sqlite3("SELECT count(*) FROM identities"), "0");
    // Without the refresh cookie, the missing session is the reason for the refusal.
    ada.jar.remove(REFRESH);
    let end =
        ada.request(Method::POST, &format!("/auth/sessions/{}/end", ada.sid().await)).form(&[("x", "")]);
    let page = ada.send(end).await;
    assert_eq!(page.status(), 403);
    assert!(page.text().await.unwrap().contains("Sign in"));
}

#[tokio::test]
async fn an_app_gets_no_code_for_an_access_token_alone() {
    let server = Server::started(&[]);
    let back = "http://127.0.0.1/back";
    let app = server.client("phone", &["--public", "--scope", "read", "--redirect-uri", back]);
    let path = format!(
        "/auth/authorize?client_id={}&response_type=code&code_challenge={}&code_challenge_method=S256",
        app.id,
        "A".repeat(43)
    );
    let (ada, thief) = (server.ada().await, server.browser());
    thief.jar.set(ACCESS, &ada.jar.get(ACCESS).unwrap());
    let page = thief.get(&path).await;
    assert_eq!(page.status(), 401);
    assert!(page.text().await.unwrap().contains("<strong>phone</strong>"), "the login, for the app");
    let other = server.ada().await;
    thief.jar.set(REFRESH, &other.jar.get(REFRESH).unwrap());
    assert_eq!(thief.get(&path).await.status(), 401, "another session's refresh token");
    for without_access in [false, true] {
        if without_access {
            ada.jar.remove(ACCESS);
        }
        let on = ada.get(&path).await;
        assert!(on.headers()["location"].to_str().unwrap().starts_with(&format!("{back}?code=bul")));
    }
}

#[tokio::test]
async fn of_four_concurrent_changes_with_one_password_one_succeeds() {
    let server = Server::started(&[]);
    server.crowd(4);
    for user in ["u1", "u2", "u3", "u4"] {
        let devices = join_all((0..4).map(|_| async {
            let device = server.browser();
            device.log_in(user).await;
            device
        }))
        .await;
        let changes = devices.iter().enumerate().map(|(n, device)| {
            device.post("/auth/password", json!({"current": PASSWORD, "new": format!("{OTHER} {n}")}))
        });
        let answers: Vec<u16> =
            join_all(changes).await.iter().map(|answer| answer.status().as_u16()).collect();
        let won: Vec<usize> = (0..4).filter(|n| answers[*n] == 200).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        // 401: the change has ended the session. 403: the password was read after the change, so it is wrong. 409: it was verified
        // before.
        assert!(answers.iter().all(|status| [200, 401, 403, 409].contains(status)), "{answers:?}");
        let who = server.sqlite3(&format!("SELECT id FROM users WHERE name = '{user}'"));
        assert_eq!(server.sqlite3(&format!("SELECT count(*) FROM sessions WHERE user_id = '{who}'")), "1");
        let login = json!({"username": user, "password": format!("{OTHER} {}", won[0])});
        assert_eq!(server.browser().post("/auth/login", login).await.status(), 200);
    }
}

/// A thief who knows the old password and is signed in on eight devices changes the password from four devices at a time, while an
/// operator runs `command`.
async fn thief_against(server: &Server, user: &str, command: &[&str], input: &str) {
    let devices = join_all((0..8).map(|_| async {
        let device = server.browser();
        device.log_in(user).await;
        device
    }))
    .await;
    let mut operator = server.command(command);
    operator.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut operator = spawn(operator);
    use std::io::Write as _;
    operator.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    for four in devices.chunks(4) {
        let change = |device: &Browser| {
            let device = device.clone();
            async move { device.post("/auth/password", new_password()).await }
        };
        join_all(four.iter().map(change)).await;
    }
    let done = tokio::task::spawn_blocking(move || operator.wait_with_output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn spawn(mut command: Command) -> std::process::Child {
    command.spawn().unwrap()
}

#[tokio::test]
async fn a_thief_with_the_old_password_cannot_replace_an_operators_new_one() {
    let server = Server::started(&[]);
    server.crowd(4);
    for user in ["u1", "u2", "u3", "u4"] {
        let mended = "the operator's fine password";
        thief_against(&server, user, &["user", "passwd", user, "--password-stdin"], mended).await;
        let who = server.sqlite3(&format!("SELECT id FROM users WHERE name = '{user}'"));
        assert_eq!(
            server.sqlite3(&format!("SELECT count(*) FROM sessions WHERE user_id = '{who}'")),
            "0",
            "{user}"
        );
        let by = format!(
            "SELECT actor FROM audit WHERE event = 'password.changed' AND subject = '{who}' ORDER BY seq DESC LIMIT 1"
        );
        assert!(server.sqlite3(&by).starts_with("cli:"), "{user}: the operator's is the last");
    }
}

#[tokio::test]
async fn a_thief_cannot_keep_a_session_through_a_revocation() {
    let server = Server::started(&[]);
    server.crowd(4);
    for user in ["u1", "u2", "u3", "u4"] {
        thief_against(&server, user, &["session", "revoke", "--user", user], "").await;
        let who = server.sqlite3(&format!("SELECT id FROM users WHERE name = '{user}'"));
        assert_eq!(
            server.sqlite3(&format!("SELECT count(*) FROM sessions WHERE user_id = '{who}'")),
            "0",
            "{user}"
        );
    }
}

#[tokio::test]
async fn a_changed_password_reports_the_recently_linked_identities() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    server.sqlite3(
        "INSERT INTO identities (issuer, subject, user_id, linked_at)
         SELECT 'https://id.example', 'thief', '1', created_at - 86400000 FROM users WHERE id = 1
         UNION SELECT 'https://id.example', 'of old', '1', created_at - 31 * 86400000 FROM users WHERE id = 1",
    );
    let changed: Value = ada.post("/auth/password", new_password()).await.json().await.unwrap();
    let lately = changed["recently_linked"].as_array().unwrap();
    assert_eq!((lately.len(), &lately[0]["subject"]), (1, &json!("thief")));
    let noted = server.sqlite3("SELECT detail FROM audit WHERE event = 'password.changed'");
    assert!(noted.contains("thief") && !noted.contains("of old"), "{noted}");
    let page = ada.get("/auth/account?password-changed").await.text().await.unwrap();
    let (_, lately) = page.split_once("Identities linked in the last 30 days").unwrap();
    let (lately, _) = lately.split_once("</section>").unwrap();
    assert!(lately.contains("thief") && lately.contains("1 d ago") && !lately.contains("of old"), "{lately}");
    assert!(
        !ada.get("/auth/account")
            .await
            .text()
            .await
            .unwrap()
            .contains("Identities linked in the last 30 days")
    );
    // The account page sets no cookies for a browser that is not signed in.
    assert!(set_cookies(&server.browser().get("/auth/account").await).is_empty());
    let told = server.cli_with(&["user", "passwd", "ada", "--password-stdin"], PASSWORD);
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("thief") && !told.contains("of old"), "{told}");
}

#[tokio::test]
async fn a_password_changed_after_the_access_token_has_expired_leaves_the_browser_signed_in() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    ada.jar.remove(ACCESS);
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
    assert_eq!(ada.post("/auth/password", new_password()).await.status(), 200);
    assert_eq!(ada.status().await, 200);
    ada.jar.remove(ACCESS);
    assert_eq!(ada.status().await, 200, "the refresh cookie is of the new session, too");
}
