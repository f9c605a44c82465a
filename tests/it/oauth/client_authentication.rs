//! Tests how a client authenticates: by its secret, by a new secret beside the old one, or by a signed assertion.

use bulla::internals::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::support::{
    oauth_client::{is, refused, text},
    providers::signer::{P256, P256_STRANGER, RSA, SHORT, sign_with_secret, with_member},
    server::{Server, eventually},
};

#[tokio::test]
async fn a_client_authenticates_in_exactly_one_way_and_all_failures_get_one_answer() {
    let server = Server::started(&[]);
    let cron = server.client("cron", &["--scope", "jobs"]);
    let phone = server.client("phone", &["--public", "--scope", "jobs"]);
    let grant = ("grant_type", "client_credentials");
    let ask = |basic: Option<(&str, &str)>, form: &[(&str, &str)]| {
        let request = cron.post("/oauth/token").form(form);
        let request = match basic {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        };
        async move { request.send().await.unwrap() }
    };
    let (id, secret) = (cron.id.as_str(), cron.secret.as_str());
    assert_eq!(ask(Some((id, secret)), &[grant]).await.status(), 200);
    assert_eq!(ask(Some((id, secret)), &[grant, ("client_id", id)]).await.status(), 200);
    assert_eq!(ask(None, &[grant, ("client_id", id), ("client_secret", secret)]).await.status(), 200);
    assert_eq!(
        ask(Some((id, secret)), &[grant, ("unknown", "x"), ("scope", "")]).await.status(),
        200,
        "unknown and empty ones are ignored"
    );

    // The secret in both header and body, and two different client ids.
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, ("client_secret", secret)]).await).await,
        is(400, "invalid_request")
    );
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, ("client_id", "other")]).await).await,
        is(400, "invalid_request")
    );
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, grant]).await).await,
        is(400, "invalid_request"),
        "repeated"
    );
    assert_eq!(refused(ask(Some((id, secret)), &[]).await).await, is(400, "invalid_request"));
    assert_eq!(
        refused(ask(Some((id, secret)), &[("grant_type", "password")]).await).await,
        is(400, "unsupported_grant_type")
    );
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, ("scope", "jobs admin")]).await).await,
        is(400, "invalid_scope"),
        "never granted"
    );
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, ("scope", "a\"b")]).await).await,
        is(400, "invalid_scope")
    );
    assert_eq!(
        refused(ask(None, &[grant, ("client_id", &phone.id)]).await).await,
        is(400, "unauthorized_client")
    );

    let mut bodies = Vec::new();
    let other = "A".repeat(43);
    for (id, secret) in [
        (id, other.as_str()),
        (id, "short"),
        (id, ""),
        ("nobody", secret),
        ("no/body", secret),
        (phone.id.as_str(), secret),
    ] {
        let answer = ask(Some((id, secret)), &[grant]).await;
        assert_eq!(answer.status(), 401, "{id} {secret}");
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
        bodies.push(answer.text().await.unwrap());
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    assert!(bodies[0].contains("client_id") && !bodies[0].contains("nobody"), "{}", bodies[0]);
    let in_body = ask(None, &[grant, ("client_id", id), ("client_secret", &other)]).await;
    assert!(in_body.headers().get("www-authenticate").is_none());
    assert_eq!(in_body.text().await.unwrap(), bodies[0]);
    assert_eq!(refused(ask(None, &[grant]).await).await, is(401, "invalid_client"));
    assert_eq!(
        refused(ask(None, &[grant, ("client_id", id)]).await).await,
        is(401, "invalid_client"),
        "without its secret"
    );

    let get = cron
        .http
        .get(format!("{}/oauth/token?grant_type=client_credentials", server.origin))
        .send()
        .await
        .unwrap();
    assert_eq!((get.status().as_u16(), get.headers()["allow"].to_str().unwrap()), (405, "POST"));
    let json = cron
        .post("/oauth/token")
        .basic_auth(id, Some(secret))
        .json(&json!({"grant_type": "client_credentials"}));
    assert_eq!(refused(json.send().await.unwrap()).await, is(400, "invalid_request"));
    assert!(!server.stderr().contains(secret));
}

#[tokio::test]
async fn guessing_a_clients_secret_is_throttled() {
    let server = Server::started(&[("BULLA_TRUSTED_PROXIES", "127.0.0.1")]);
    let cron = server.client("cron", &[]);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = cron
            .post("/oauth/token")
            .basic_auth("somebody", Some("x"))
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await
            .unwrap();
        let wait = answer.headers().get("retry-after").is_some();
        assert_eq!(answer.status() == 429, wait);
        statuses.push(answer.status().as_u16());
    }
    assert!(
        statuses[..10].iter().all(|status| *status == 401) && statuses[11..].contains(&429),
        "{statuses:?}"
    );
    assert_eq!(
        server.sqlite3("SELECT DISTINCT subject FROM audit WHERE event = 'client.failed'"),
        "client:somebody"
    );
    let from = |address: &str, secret: &str| {
        let request = cron.post("/oauth/token").header("x-forwarded-for", address);
        let request =
            request.basic_auth(&cron.id, Some(secret)).form(&[("grant_type", "client_credentials")]);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    for n in 0..30 {
        assert_eq!(from(&format!("203.0.113.{n}"), "x").await, 401);
    }
    assert_eq!(from("192.0.2.1", &cron.secret).await, 200, "strangers elsewhere keep nobody out");
}

#[tokio::test]
async fn two_secrets_overlap_during_a_change_and_a_stolen_one_ends_at_once() {
    let server = Server::started(&[]);
    let mut cron = server.client("cron", &["--scope", "admin"]);
    let first = cron.secret.clone();
    let before = text(&cron.service().await, "access_token").to_owned();
    let rotate = |arguments: &[&str]| {
        let mut line = vec!["--json", "client", "rotate-secret", "cron"];
        line.extend(arguments);
        let shown: Value = serde_json::from_slice(&server.cli(&line).stdout).unwrap();
        text(&shown, "client_secret").to_owned()
    };
    cron.secret = rotate(&[]);
    assert_ne!(cron.secret, first);
    cron.service().await;
    let second = std::mem::replace(&mut cron.secret, first.clone());
    cron.service().await;
    assert_eq!(cron.admin(&before, "/admin/keys").await, 200, "an overlap takes no token along");
    assert_eq!(server.sqlite3("SELECT count(*) FROM revocations"), "0");

    // The former secret has expired.
    server.sqlite3("UPDATE clients SET former_until = created_at");
    assert_eq!(
        refused(cron.token(&[("grant_type", "client_credentials")]).await).await,
        is(401, "invalid_client")
    );
    eventually("ending it early revokes", || async { cron.admin(&before, "/admin/keys").await == 401 }).await;

    cron.secret = second;
    let token = text(&cron.service().await, "access_token").to_owned();
    let third = rotate(&["--now"]);
    assert_eq!(
        refused(cron.token(&[("grant_type", "client_credentials")]).await).await,
        is(401, "invalid_client")
    );
    eventually("a stolen secret's tokens go with it", || async {
        cron.admin(&token, "/admin/keys").await == 401
    })
    .await;
    cron.secret = third;
    let token = text(&cron.service().await, "access_token").to_owned();
    assert_eq!(cron.admin(&token, "/admin/keys").await, 200);
    let stored = server.sqlite3("SELECT length(secret_hash) FROM clients");
    assert_eq!(stored, "32", "of the secret only a digest is kept");
}

#[tokio::test]
async fn a_signed_assertion_is_accepted_once_and_only_if_it_is_valid() {
    let server = Server::started(&[("BULLA_TRUSTED_PROXIES", "127.0.0.1")]);
    let (key, other) = (&*P256, &*P256_STRANGER);
    for (name, jwk, good) in [
        ("public", key.jwk(), true),
        ("both", json!({"keys": [key.jwk(), RSA.jwk()]}), true),
        ("private", key.private_jwk(), false),
        ("one of two is private", json!({"keys": [RSA.jwk(), key.private_jwk()]}), false),
        ("symmetric", json!({"kty": "oct", "k": "AAAA"}), false),
        ("short", SHORT.jwk(), false),
        ("set", json!({"keys": []}), false),
        ("exponent of 1", with_member(RSA.jwk(), "e", "AQ"), false),
        ("exponent of 0", with_member(RSA.jwk(), "e", "AA"), false),
        ("even exponent", with_member(RSA.jwk(), "e", "Ag"), false),
        ("for encryption", with_member(RSA.jwk(), "use", "enc"), false),
        ("off the curve", with_member(key.jwk(), "y", key.jwk()["x"].as_str().unwrap()), false),
        ("ES512", with_member(key.jwk(), "alg", "ES512"), false),
        ("one kid twice", json!({"keys": [key.jwk(), other.jwk()]}), false),
    ] {
        std::fs::write(server.path(name), jwk.to_string()).unwrap();
        let added = server.cli(&["client", "add", name, "--scope", "read", "--jwks", name]);
        assert_eq!(added.status.success(), good, "{name}");
    }
    let app = server.client("signer", &["--scope", "read", "--jwks", "public"]);
    let now = SystemClock.now().millis() / 1000;
    let mut number = 0;
    let mut claims = |changed: Value| {
        number += 1;
        let mut claims = json!({"iss": app.id, "sub": app.id, "aud": server.origin, "exp": now + 60, "jti": format!("n{number}")});
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let header = json!({"alg": "ES256", "kid": "p256"});
    let ask = |address: &str, assertion: String, more: Vec<(&'static str, String)>| {
        let mut form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into()),
            ("client_assertion", assertion),
        ];
        form.extend(more);
        let request = app.post("/oauth/token").header("x-forwarded-for", address).form(&form);
        async move { request.send().await.unwrap() }
    };
    let home = "192.0.2.1";
    let good = key.sign(&header, &claims(json!({})));
    assert_eq!(ask(home, good.clone(), vec![]).await.status(), 200);
    assert_eq!(refused(ask(home, good, vec![]).await).await, is(401, "invalid_client"), "a second time");
    for fine in [json!({"aud": format!("{}/oauth/token", server.origin)}), json!({"aud": [server.origin]})] {
        assert_eq!(
            ask(home, key.sign(&header, &claims(fine)), vec![("client_id", app.id.clone())]).await.status(),
            200
        );
    }
    let unsigned = key.sign(&json!({"alg": "none"}), &claims(json!({})));
    let bad = [
        unsigned.rsplit_once('.').unwrap().0.to_owned() + ".",
        unsigned,
        other.sign(&header, &claims(json!({}))),
        sign_with_secret(&key.public_bytes(), &json!({"alg": "HS256", "kid": "p256"}), &claims(json!({}))),
        key.sign(&json!({"alg": "RS256", "kid": "p256"}), &claims(json!({}))),
        key.sign(&json!({"alg": "ES256", "kid": "p257"}), &claims(json!({}))),
        key.sign(&json!({"alg": "ES256", "jwk": other.jwk()}), &claims(json!({}))),
        key.sign(&json!({"alg": "ES256", "crit": ["x"], "x": 1}), &claims(json!({}))),
        key.sign(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims(json!({}))),
        key.sign(&header, &claims(json!({"iss": "other"}))),
        key.sign(&header, &claims(json!({"sub": "other", "iss": "other"}))),
        key.sign(&header, &claims(json!({"aud": "https://other.example"}))),
        key.sign(&header, &claims(json!({"aud": [server.origin, "https://other.example"]}))),
        key.sign(&header, &claims(json!({"aud": null}))),
        key.sign(&header, &claims(json!({"exp": now - 61}))),
        key.sign(&header, &claims(json!({"exp": now + 4000}))),
        key.sign(&header, &claims(json!({"exp": null}))),
        key.sign(&header, &claims(json!({"nbf": now + 300}))),
        key.sign(&header, &claims(json!({"jti": ""}))),
        key.sign(&header, &claims(json!({"jti": null}))),
    ];
    for (n, bad) in bad.chunks(8).enumerate() {
        // From an address at which the client is known and that isn't throttled yet.
        let address = format!("203.0.113.{n}");
        assert_eq!(ask(&address, key.sign(&header, &claims(json!({}))), vec![]).await.status(), 200);
        for assertion in bad {
            assert_eq!(
                refused(ask(&address, assertion.clone(), vec![]).await).await,
                is(401, "invalid_client")
            );
        }
    }
    let both = key.sign(&header, &claims(json!({})));
    let both = ask("203.0.113.0", both, vec![("client_secret", "x".into())]).await;
    assert_eq!(refused(both).await, is(400, "invalid_request"));
}
