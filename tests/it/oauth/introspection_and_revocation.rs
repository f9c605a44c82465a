//! Tests introspection and revocation: which client may do what with which token.

use serde_json::{Value, json};

use crate::support::{
    code_flow::{BACK, VERIFIER, code},
    oauth_client::{is, refused, text},
    server::{ACCESS, Server},
};

#[tokio::test]
async fn a_client_revokes_its_own_tokens_and_a_repetition_succeeds() {
    let server = Server::started(&[]);
    let (cron, other) =
        (server.client("cron", &["--scope", "admin"]), server.client("other", &["--scope", "admin"]));
    let token = text(&cron.service().await, "access_token").to_owned();
    let kept = text(&cron.service().await, "access_token").to_owned();
    let ada = server.ada().await;
    for foreign in [
        token.as_str(),
        &ada.jar.get(ACCESS).unwrap(),
        &ada.jar.get(crate::support::server::REFRESH).unwrap(),
        "nonsense",
    ] {
        let answer = other.form("/oauth/revoke", &[("token", foreign)]).await;
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, "{}".to_owned()));
    }
    assert_eq!(
        (cron.admin(&token, "/admin/keys").await, ada.status().await),
        (200, 200),
        "another's: no effect"
    );
    for _ in 0..2 {
        let answer =
            cron.form("/oauth/revoke", &[("token", &token), ("token_type_hint", "refresh_token")]).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(cron.admin(&token, "/admin/keys").await, 401, "in the same process: the next request");
    }
    assert_eq!(cron.admin(&kept, "/admin/keys").await, 200, "the client's other tokens go on");
    assert_eq!(server.sqlite3("SELECT count(*) FROM audit WHERE event = 'service.revoked'"), "1");
    assert_eq!(refused(cron.form("/oauth/revoke", &[]).await).await, is(400, "invalid_request"));
    let nobody = cron.post("/oauth/revoke").form(&[("token", &kept)]).send().await.unwrap();
    assert_eq!(refused(nobody).await, is(401, "invalid_client"));
}

#[tokio::test]
async fn introspection_answers_only_clients_that_the_token_is_for() {
    let server = Server::started(&[]);
    let cron = server.client("cron", &["--scope", "jobs"]);
    let billing = server.client("billing", &["--audience", "billing", "--scope", "read"]);
    let shop = server.client("shop", &["--audience", "shop"]);
    let gate = server.client("gate", &["--scope", "introspect"]);
    let ada = server.ada().await;
    let access = ada.jar.get(ACCESS).unwrap();

    let service = text(&cron.service().await, "access_token").to_owned();
    let said = cron.introspect(&service).await;
    assert_eq!(
        (&said["active"], &said["client_id"], &said["scope"]),
        (&json!(true), &json!(cron.id), &json!("jobs"))
    );
    assert_eq!(
        (&said["iss"], text(&said, "sub")),
        (&json!(server.origin), format!("client:{}", cron.id).as_str())
    );
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
    assert!(!billing.is_active(&service).await);

    assert!(!billing.is_active(&access).await, "a cookie's token is nobody's business");
    let said = gate.introspect(&access).await;
    assert_eq!(
        (text(&said, "username"), text(&said, "sub"), &said["roles"]),
        ("ada", "1", &json!(["admin"]))
    );
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 120);

    let exchanged =
        text(&billing.exchange(&access, "billing", &[]).await.json().await.unwrap(), "access_token")
            .to_owned();
    let said = billing.introspect(&exchanged).await;
    assert_eq!(
        (text(&said, "aud"), text(&said, "username"), text(&said, "scope")),
        ("billing", "ada", "read")
    );
    assert!(!shop.is_active(&exchanged).await && !gate.is_active(&exchanged).await);
    server.sqlite3("UPDATE users SET roles = '[\"owner\"]' WHERE id = 1");
    for said in [gate.introspect(&access).await, billing.introspect(&exchanged).await] {
        assert_eq!((&said["active"], &said["roles"]), (&json!(true), &json!([])), "a role that has gone");
    }

    let phone = server.client("phone", &["--public"]);
    let by_public = phone
        .post("/oauth/introspect")
        .form(&[("token", access.as_str()), ("client_id", &phone.id)])
        .send()
        .await
        .unwrap();
    assert_eq!(refused(by_public).await, is(401, "invalid_client"));
    let by_nobody = phone.post("/oauth/introspect").form(&[("token", &access)]).send().await.unwrap();
    assert_eq!(refused(by_nobody).await, is(401, "invalid_client"));
    let by_bearer = phone
        .post("/oauth/introspect")
        .bearer_auth(&access)
        .form(&[("token", &access)])
        .send()
        .await
        .unwrap();
    assert_eq!(refused(by_bearer).await, is(401, "invalid_client"));
}

#[tokio::test]
async fn all_twelve_kinds_of_inactive_tokens_get_the_same_answer() {
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "2s"), ("BULLA_REPLAY_WINDOW", "500ms")]);
    let ada = server.ada().await;
    let scopes =
        ["--scope", "read", "--scope", "introspect", "--audience", "billing", "--redirect-uri", BACK];
    let app = server.client("app", &scopes);
    let (shop, cron) =
        (server.client("shop", &["--audience", "shop"]), server.client("cron", &["--scope", "read"]));
    let sign_in = || async {
        let code = code(&server, &app, &ada).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", BACK),
            ("code_verifier", VERIFIER),
        ];
        app.token(&form).await.json::<Value>().await.unwrap()
    };
    let sealed = |payload: &str, more: &[&str]| {
        let mut line = vec!["token", "seal", payload];
        line.extend(more);
        String::from_utf8(server.cli(&line).stdout).unwrap().trim().to_owned()
    };
    let active = sign_in().await;
    assert!(
        app.is_active(text(&active, "access_token")).await
            && app.is_active(text(&active, "refresh_token")).await
    );

    let expired = text(&active, "access_token").to_owned();
    let outdated = text(&active, "refresh_token").to_owned();
    let code_itself = code(&server, &app, &ada).await;
    let foreign = {
        let elsewhere = Server::started(&[]);
        text(&elsewhere.client("cron", &[]).service().await, "access_token").to_owned()
    };
    let pause = |millis| tokio::time::sleep(std::time::Duration::from_millis(millis));
    // The pause is longer than R, the least time between two rotations.
    pause(1100).await;
    let renewed = app.token(&[("grant_type", "refresh_token"), ("refresh_token", &outdated)]).await;
    assert!(renewed.json::<Value>().await.unwrap()["refresh_token"].is_string());
    // The pause is longer than W, the replay window, and than the rest of the first access token's life.
    pause(1000).await;
    let ended = sign_in().await;
    app.form("/oauth/revoke", &[("token", text(&ended, "access_token"))]).await;
    let revoked = text(&app.service().await, "access_token").to_owned();
    app.form("/oauth/revoke", &[("token", &revoked)]).await;
    let orphan = text(&cron.service().await, "access_token").to_owned();
    assert!(app.is_active(&orphan).await);
    assert!(server.cli(&["client", "delete", "cron"]).status.success());
    let access = sign_in().await;
    let for_shop =
        shop.exchange(text(&access, "access_token"), "shop", &[]).await.json::<Value>().await.unwrap();
    let fresh = server
        .browser()
        .post(
            "/auth/login",
            json!({"username": "ada", "password": crate::support::server::PASSWORD, "transport": "body"}),
        )
        .await;
    let fresh: Value = fresh.json().await.unwrap();
    let good = text(&access, "access_token");
    let flipped = format!("{}{}{}", &good[..60], if &good[60..61] == "A" { "B" } else { "A" }, &good[61..]);

    let kinds = [
        ("expired", expired),
        ("a late parent", outdated),
        ("access token of a session that was given back", text(&ended, "access_token").into()),
        ("its refresh token", text(&ended, "refresh_token").into()),
        ("a service token that was given back", revoked),
        ("of a client that is gone", orphan),
        ("another audience's", text(&for_shop, "access_token").into()),
        ("somebody else's refresh token", text(&fresh, "refresh_token").into()),
        ("a code", code_itself),
        ("another installation's", foreign),
        ("one bit wrong", flipped),
        ("without a session", sealed(r#"{"id":"1"}"#, &[])),
        ("of a session that never was", sealed(r#"{"id":"1","sid":"AAAAAAAAAAAAAAAAAAAAAA"}"#, &[])),
        ("of a purpose nobody knows", sealed(r#"{"id":"1"}"#, &["--purpose", "invite"])),
        ("garbage", "nonsense".into()),
        ("too long", "A".repeat(8000)),
        (
            "another user's than the session's",
            sealed(&format!(r#"{{"id":"2","sid":"{}"}}"#, ada.sid().await), &[]),
        ),
    ];
    let mut headers = Vec::new();
    for (kind, token) in kinds {
        let answer = app.form("/oauth/introspect", &[("token", &token)]).await;
        assert_eq!(answer.status(), 200, "{kind}");
        let mut seen = answer.headers().clone();
        seen.remove("date");
        headers.push(seen);
        assert_eq!(answer.bytes().await.unwrap(), &b"{\"active\":false}"[..], "{kind}");
    }
    assert!(headers.windows(2).all(|pair| pair[0] == pair[1]), "{headers:?}");
}
