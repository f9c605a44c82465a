//! Tests the administration of clients over HTTP: by users and by machines.

use bulla::internals::clock::{Clock as _, SystemClock};
use reqwest::Client;
use serde_json::{Value, json};

use crate::support::{
    oauth_client::{App, is, refused, text},
    providers::signer::{P256, P256_STRANGER, RSA, Signer, with_member},
    server::Server,
};

#[tokio::test]
async fn clients_are_administered_by_users_and_machines() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let phone = server.client("phone", &["--public"]);
    let path = format!("/admin/clients/{}", phone.id);
    assert_eq!(ada.post(&format!("{path}/secret"), json!({})).await.status(), 409, "a public one stays so");
    let keys = ada.request(reqwest::Method::PATCH, &path).json(&json!({"jwks": P256.jwk()}));
    assert_eq!(ada.send(keys).await.status(), 409);
    assert_eq!(ada.delete(&path).await.status(), 204);
    server.sqlite3("DELETE FROM audit WHERE event LIKE 'client.%'");
    let added = ada
        .post("/admin/clients", json!({"name": "cron", "scopes": ["admin"], "audiences": ["billing"]}))
        .await;
    assert_eq!(added.status(), 201);
    let added: Value = added.json().await.unwrap();
    let (id, secret) = (text(&added, "id").to_owned(), text(&added, "client_secret").to_owned());
    let path = format!("/admin/clients/{id}");
    let shown: Value = ada.get(&path).await.json().await.unwrap();
    assert!(shown["client_secret"].is_null() && !shown.to_string().contains(&secret), "shown once");
    let listed: Value = ada.get("/admin/clients").await.json().await.unwrap();
    assert_eq!(listed["clients"][0], shown);
    assert_eq!(ada.post("/admin/clients", json!({"name": "cron"})).await.status(), 409);
    for bad in [
        json!({"name": ""}),
        json!({"name": "a\nb"}),
        json!({"name": "x", "scopes": ["a b"]}),
        json!({"name": "x", "audiences": ["Billing"]}),
        json!({"name": "x", "audiences": [""]}),
        json!({"name": "x", "redirect_uris": ["http://app.example/"]}),
        json!({"name": "x", "redirect_uris": ["javascript:alert(1)"]}),
    ] {
        assert_eq!(ada.post("/admin/clients", bad.clone()).await.status(), 422, "{bad}");
    }
    let cron = App { id: id.clone(), secret, origin: server.origin.clone(), http: Client::new() };
    let token = text(&cron.service().await, "access_token").to_owned();
    assert_eq!(cron.admin(&token, &path).await, 200);
    let rotated: Value =
        ada.post(&format!("{path}/secret"), json!({"overlap": 60})).await.json().await.unwrap();
    assert!(rotated["former_secret_until"].is_i64() && text(&rotated, "client_secret") != cron.secret);
    assert_eq!(cron.admin(&token, &path).await, 200);
    let patched = ada.send(ada.request(reqwest::Method::PATCH, &path).json(&json!({"disabled": true}))).await;
    assert_eq!(patched.status(), 200);
    assert_eq!(cron.admin(&token, &path).await, 401, "in the same process: the next request");
    assert_eq!(
        refused(cron.token(&[("grant_type", "client_credentials")]).await).await,
        is(401, "invalid_client")
    );
    assert_eq!(ada.delete(&path).await.status(), 204);
    assert_eq!(
        (
            ada.delete(&path).await.status().as_u16(),
            ada.get("/admin/clients/no%2Fbody").await.status().as_u16()
        ),
        (404, 404)
    );
    server.add_user("bob", &[]);
    let bob = server.browser();
    bob.log_in("bob").await;
    assert_eq!(bob.get("/admin/clients").await.status(), 403);
    let events = server.sqlite3(
        "SELECT group_concat(event, ' ') FROM (SELECT event FROM audit WHERE event LIKE 'client.%' AND event <> \
         'client.failed' ORDER BY seq)",
    );
    assert_eq!(events, "client.added client.secret client.disabled client.deleted");
}

#[tokio::test]
async fn an_administrator_changes_a_clients_keys_and_invalid_keys_are_explained() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let app = server.client("signer", &["--scope", "read"]);
    let patch = |jwks: Value| {
        let path = format!("/admin/clients/{}", app.id);
        ada.send(ada.request(reqwest::Method::PATCH, &path).json(&json!({"jwks": jwks})))
    };
    let now = SystemClock.now().millis() / 1000;
    let asserts = |key: &'static Signer, jti: &str| {
        let claims = json!({"iss": app.id, "sub": app.id, "aud": server.origin, "exp": now + 60, "jti": jti});
        let assertion = key.sign(&json!({"alg": key.algorithm(), "kid": key.kid}), &claims);
        let request = app.post("/oauth/token").form(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ]);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(app.token(&[("grant_type", "client_credentials")]).await.status(), 200);
    assert_eq!(asserts(&P256, "1").await, 401, "no keys yet");
    assert_eq!(patch(P256.jwk()).await.status(), 200);
    assert_eq!(asserts(&P256, "2").await, 200);
    assert_eq!(
        app.token(&[("grant_type", "client_credentials")]).await.status(),
        401,
        "keys replace the secret"
    );
    let padded = |mut key: Value| {
        key["n"] = json!(format!("{}==", key["n"].as_str().unwrap()));
        key
    };
    for (bad, why) in [
        (P256.private_jwk(), "private"),
        (json!({"keys": [P256.jwk(), P256_STRANGER.jwk()]}), "same `kid`"),
        (json!({"keys": []}), "0 keys"),
        (json!([P256.jwk()]), "not a JSON object"),
        (json!("https://app.example/jwks"), "not a JSON object"),
        (with_member(RSA.jwk(), "e", "AQ"), "exponent"),
        (with_member(RSA.jwk(), "use", "enc"), "`use`"),
        (with_member(P256.jwk(), "y", P256.jwk()["x"].as_str().unwrap()), "not on its curve"),
        (with_member(P256.jwk(), "x", "no base64!"), "base64url"),
        (with_member(P256.jwk(), "alg", "ES512"), "`alg`"),
    ] {
        let refused = patch(bad.clone()).await;
        assert_eq!(refused.status(), 422, "{bad}");
        let said: Value = refused.json().await.unwrap();
        assert!(text(&said, "detail").contains(why), "{why}: {said}");
    }
    assert_eq!(asserts(&P256, "3").await, 200, "a key that is refused changes nothing");
    for (body, why) in [
        (r#"{"jwks":1,"jwks":2}"#, "The parameter jwks is given more than once."),
        (r#"{"keys":1}"#, "Expected is one of scopes, audiences, redirect_uris, jwks, disabled."),
        (r#"{"jwks""#, "The body is malformed, or a field is missing."),
    ] {
        let path = format!("/admin/clients/{}", app.id);
        let request = ada.request(reqwest::Method::PATCH, &path).header("content-type", "application/json");
        let refused = ada.send(request.body(body)).await;
        assert_eq!(refused.status(), 400, "{body}");
        let said: Value = refused.json().await.unwrap();
        assert!(text(&said, "detail").contains(why), "{said}");
    }
    assert_eq!(patch(json!({"keys": [padded(RSA.jwk()), P256_STRANGER.jwk()]})).await.status(), 200);
    assert_eq!(asserts(&P256, "4").await, 401, "the old key is gone");
    assert_eq!((asserts(&RSA, "5").await, asserts(&P256_STRANGER, "6").await), (200, 200));
    let event =
        server.sqlite3("SELECT detail FROM audit WHERE event = 'client.changed' ORDER BY seq DESC LIMIT 1");
    assert!(event.contains("jwks") && !event.contains("AQAB"), "{event}");
}
