//! Tests the tokens of apps that sign users in: who may use and refresh them, and for what.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    code_flow::{BACK, code, error, location, parameter, phone, query, redeem, refresh, who},
    oauth_client::text,
    server::{Server, eventually},
};

#[tokio::test]
async fn an_access_token_alone_begins_no_session_for_an_app() {
    let server = Server::started(&[]);
    let (app, browser) = (phone(&server), server.browser());
    server.add_user("bob", &[]);
    let path = format!("/auth/authorize?{}", query(&app, &[]));
    for transport in ["hybrid", "body"] {
        let login =
            json!({"username": "bob", "password": crate::support::server::PASSWORD, "transport": transport});
        let login: Value = browser.post("/auth/login", login).await.json().await.unwrap();
        let access = text(&login, "access_token");
        let bare = server.browser();
        let bearer = bare.send(bare.request(Method::GET, &path).bearer_auth(access)).await;
        assert_eq!(bearer.status(), 403, "{transport}");
        bare.jar.set(crate::support::server::ACCESS, access);
        assert_eq!(bare.get(&path).await.status(), 403, "{transport}, in a cookie");
        if transport == "hybrid" {
            let back = location(&browser.get(&path).await);
            assert!(parameter(&back, "code").is_some(), "with the cookie it does: {back}");
        }
    }
}

#[tokio::test]
async fn a_refresh_token_works_only_for_its_client_and_only_with_its_scope() {
    let server = Server::started(&[]);
    let (app, ada) = (phone(&server), server.ada().await);
    let other = server.client("other", &["--public", "--scope", "read", "--redirect-uri", BACK]);
    let tokens: Value = redeem(&app, &code(&server, &app, &ada).await, &[]).await.json().await.unwrap();
    assert_eq!(text(&tokens, "scope"), "read write", "what the client may, if nothing is said");
    let token = text(&tokens, "refresh_token");
    assert_eq!(error(refresh(&other, token, &[]).await).await, "invalid_grant");
    let ours = ada.post("/auth/refresh", json!({"refresh_token": token})).await;
    assert_eq!(ours.status(), 401, "not around the client");
    ada.jar.remove(crate::support::server::ACCESS);
    let own = ada.jar.get(crate::support::server::REFRESH).unwrap();
    ada.jar.set(crate::support::server::REFRESH, token);
    assert_eq!(ada.status().await, 401, "nor in a cookie");
    assert_eq!(error(refresh(&app, &own, &[]).await).await, "invalid_grant", "nor a cookie's in a form");
    let narrow: Value = refresh(&app, token, &[("scope", "read")]).await.json().await.unwrap();
    assert_eq!(text(&narrow, "scope"), "read");
    assert_eq!(error(refresh(&app, token, &[("scope", "read admin")]).await).await, "invalid_scope");
    let wide: Value = refresh(&app, token, &[]).await.json().await.unwrap();
    assert_eq!(text(&wide, "scope"), "read write");
    assert!(server.cli(&["client", "change", "phone", "--scope", "read"]).status.success());
    eventually("tokens of the wider scope are revoked", || async {
        who(&server, text(&wide, "access_token")).await == 401
    })
    .await;
    let less: Value = refresh(&app, token, &[]).await.json().await.unwrap();
    assert_eq!(text(&less, "scope"), "read", "what the client may now");
    assert_eq!(who(&server, text(&less, "access_token")).await, 200);

    // Revoking the refresh token ends the whole session.
    let given = app
        .post("/oauth/revoke")
        .form(&[("client_id", app.id.as_str()), ("token", token)])
        .send()
        .await
        .unwrap();
    assert_eq!(given.status(), 200);
    assert_eq!(who(&server, text(&less, "access_token")).await, 401);
    assert_eq!(error(refresh(&app, token, &[]).await).await, "invalid_grant");
}

#[tokio::test]
async fn the_tokens_of_an_app_cannot_be_used_beyond_their_scope() {
    let server = Server::started(&[]);
    let (app, ada) = (phone(&server), server.ada().await);
    let root = server.client("root", &["--public", "--scope", "admin", "--redirect-uri", BACK]);
    let mut tokens = Vec::new();
    for app in [&app, &root] {
        let got: Value = redeem(app, &code(&server, app, &ada).await, &[]).await.json().await.unwrap();
        tokens.push(text(&got, "access_token").to_owned());
    }
    let send = |token: &str, method: Method, path: &str, body: Value| {
        let request = ada.client.request(method, format!("{}{path}", server.origin)).bearer_auth(token);
        async move { request.json(&body).send().await.unwrap().status().as_u16() }
    };
    let ask = |token: &str, method: Method, path: &str| {
        send(
            token,
            method,
            path,
            json!({"current": crate::support::server::PASSWORD, "new": "another good one"}),
        )
    };
    let post = |token: &str, path: &str, body: Value| send(token, Method::POST, path, body);
    let sid = ada.sid().await;
    assert_eq!(
        ask(&tokens[0], Method::GET, "/admin/users").await,
        403,
        "the user is an administrator, the app is not let"
    );
    assert_eq!(ask(&tokens[1], Method::GET, "/admin/users").await, 200);
    for token in &tokens {
        for path in ["/auth/sessions", "/auth/identities", "/auth/account"] {
            assert_eq!(ask(token, Method::GET, path).await, 403, "{path} is for persons");
        }
        assert_eq!(post(token, "/auth/logout", json!({})).await, 403);
        assert_eq!(ask(token, Method::POST, "/auth/password").await, 403);
        assert_eq!(ask(token, Method::DELETE, &format!("/auth/sessions/{sid}")).await, 403);
        assert_eq!(post(token, "/auth/logout", json!({"everywhere": true})).await, 403);
        let identity = json!({"issuer": "https://id.example", "subject": "1"});
        assert_eq!(post(token, "/auth/identities/unlink", identity).await, 403);
        let path = format!("/auth/authorize?{}", query(&app, &[]));
        assert_eq!(ask(token, Method::GET, &path).await, 403, "it doesn't sign in to another app");
    }
    // The same holds for a token that a holder of the key ring seals for an app's session.
    let opened = server.cli(&["token", "open", &tokens[0]]);
    let opened: Value = serde_json::from_slice(&opened.stdout).unwrap();
    for more in [
        json!({}),
        json!({"client_id": app.id, "scope": "admin"}),
        json!({"client_id": root.id, "scope": "admin"}),
    ] {
        let mut payload = json!({"id": opened["id"], "sid": opened["sid"], "roles": ["admin"]});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let sealed = server.cli(&["token", "seal", &payload.to_string()]);
        let forged = String::from_utf8(sealed.stdout).unwrap();
        assert_eq!(ask(forged.trim(), Method::GET, "/admin/users").await, 403, "{payload}");
        assert_eq!(ask(forged.trim(), Method::POST, "/auth/password").await, 403, "{payload}");
    }
    // Claims with the names `scope` and `client_id` are left out, so that they don't look like those of an app.
    let claims = json!({"claims": {"scope": "admin", "client_id": "x", "plan": "team"}});
    assert_eq!(ada.send(ada.request(Method::PATCH, "/admin/users/1").json(&claims)).await.status(), 200);
    ada.jar.remove(crate::support::server::ACCESS);
    let who: Value = ada.get("/auth/session").await.json().await.unwrap();
    assert_eq!(who["claims"], json!({"plan": "team"}));
}
