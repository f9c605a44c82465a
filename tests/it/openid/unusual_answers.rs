//! Tests unusual answers of real providers. Each has one correct result, and none counts as a failed login.

use serde_json::{Value, json};

use super::{generic_provider::keycloak, token_cases::by};
use crate::support::providers::{
    internet::Reply,
    provider::{TestProvider, Token},
    signer::{ED25519, NEXT, P256, RSA, STRANGER},
};

const USERINFO: &str = "https://login.example.org/realms/main/protocol/openid-connect/userinfo";

fn failed(provider: &TestProvider) -> String {
    provider.server.sqlite3("SELECT count(*) FROM audit WHERE event = 'login.failed'")
}

fn without_mail(token: &mut Token) {
    for claim in ["email", "email_verified"] {
        token.claims.as_object_mut().unwrap().remove(claim);
    }
}

#[tokio::test]
async fn a_nonsensical_answer_of_the_token_endpoint_is_a_503_and_no_failure() {
    let provider = TestProvider::open(keycloak());
    type Place = fn() -> Reply;
    let places: [(&str, Place); 8] = [
        ("HTML", || Reply::Bytes(b"<html>".to_vec())),
        ("`id_token`", || Reply::Json(json!({"access_token": "x", "token_type": "bearer"}))),
        ("`id_token`", || Reply::Json(json!({"id_token": 7, "expires_in": "3600"}))),
        ("has", || Reply::Json(json!({"id_token": "y".repeat(70_000)}))),
        ("temporarily_unavailable", || Reply::Error(400, json!({"error": "temporarily_unavailable"}))),
        ("server_error", || Reply::Error(400, json!({"error": "server_error"}))),
        ("client id or client secret", || Reply::Error(401, json!({"error": "invalid_client"}))),
        ("502", || Reply::Error(502, json!({}))),
    ];
    for (name, place) in places {
        provider.internet.at(provider.profile.token_endpoint, move |_| place());
        for _ in 0..3 {
            assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 503, "{name}");
        }
        if name != "HTML" {
            provider.server.says(name).await;
        }
    }
    assert_eq!(failed(&provider), "0");
}

#[tokio::test]
async fn keys_with_a_shared_or_missing_id_are_selected_by_type_and_algorithm() {
    let provider = TestProvider::open(keycloak());
    let renamed = |mut key: Value, algorithm: Option<&str>| {
        key["kid"] = json!("rsa-1");
        match algorithm {
            Some(algorithm) => key["alg"] = json!(algorithm),
            None => drop(key.as_object_mut().unwrap().remove("alg")),
        }
        key
    };
    *provider.keys.lock().unwrap() = vec![
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "rsa-1"}),
        json!("no key at all"),
        renamed(NEXT.jwk(), Some("RS384")),
        renamed(P256.jwk(), Some("ES256")),
        renamed(NEXT.jwk(), None),
        RSA.jwk(),
        RSA.jwk(),
    ];
    assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 303);
    assert_eq!(
        provider
            .somebody()
            .signs_in(|t| drop(t.header.as_object_mut().unwrap().remove("kid")))
            .await
            .status(),
        303
    );
    let by_curve = |t: &mut Token| {
        t.signer = &P256;
        t.header["alg"] = json!("ES256");
    };
    assert_eq!(provider.somebody().presents(by_curve).await.status(), 200);
    assert_eq!(failed(&provider), "0");
}

#[tokio::test]
async fn a_key_that_changed_under_its_old_id_is_fetched_once() {
    let provider = TestProvider::open(keycloak());
    assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 303);
    let mut changed = NEXT.jwk();
    changed["kid"] = json!("rsa-1");
    *provider.keys.lock().unwrap() = vec![changed];
    assert_eq!(provider.somebody().presents(|t| t.signer = &NEXT).await.status(), 200);
    for _ in 0..5 {
        assert_eq!(provider.somebody().presents(|_| {}).await.status(), 401);
    }
    assert!(provider.internet.asked(provider.profile.jwks_uri).len() <= 3, "at most one fetch in 30 seconds");
}

#[tokio::test]
async fn a_mail_address_and_its_verification_must_come_from_one_source() {
    let mut profile = keycloak();
    profile.settings = "[provider.keycloak]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                        issuer = 'https://login.example.org/realms/main'\n\
                        create = 'allowed-domains'\nallowed_domains = ['example.org']";
    let provider = TestProvider::open(profile);
    let sub = "f3a1b2c4-0000-4000-8000-000000000001";
    provider.internet.at(USERINFO, move |_| Reply::Json(json!({"sub": sub, "email": "eve@example.org"})));
    let verified_alone = |t: &mut Token| drop(t.claims.as_object_mut().unwrap().remove("email"));
    assert_eq!(provider.somebody().signs_in(verified_alone).await.status(), 403);
    provider.internet.at(USERINFO, move |_| Reply::Json(json!({"sub": sub, "email_verified": true})));
    let address_alone = |t: &mut Token| drop(t.claims.as_object_mut().unwrap().remove("email_verified"));
    assert_eq!(provider.somebody().signs_in(address_alone).await.status(), 403);
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM identities"), "0");
    let text = |t: &mut Token| t.claims["email_verified"] = json!("true");
    assert_eq!(provider.somebody().signs_in(text).await.status(), 303, "true as a text");
}

#[tokio::test]
async fn an_outage_of_userinfo_affects_only_logins_that_need_it() {
    let provider = TestProvider::open(keycloak());
    type Place = fn() -> Reply;
    let places: [Place; 4] = [
        || Reply::Error(403, json!({})),
        || Reply::Error(500, json!({})),
        || Reply::Bytes(b"<html>".to_vec()),
        || Reply::Bytes(b"a.b.c".to_vec()),
    ];
    for place in places {
        provider.internet.at(USERINFO, move |_| place());
        assert_eq!(provider.somebody().signs_in(without_mail).await.status(), 303);
    }
    // A signed answer (a JWT) is read.
    provider.internet.at(USERINFO, |_| {
        let claims = json!({
            "sub": "another", "iss": "https://login.example.org/realms/main", "aud": "our-client-id",
            "email": "bob@example.org", "email_verified": true,
        });
        Reply::Bytes(RSA.sign(&json!({"alg": "RS256", "kid": RSA.kid}), &claims).into_bytes())
    });
    let another = |t: &mut Token| {
        without_mail(t);
        t.claims["sub"] = json!("another");
    };
    let bob = provider.somebody();
    assert_eq!(bob.signs_in(another).await.status(), 303);
    assert_eq!(bob.is().await["name"], "bob@example.org");
    assert_eq!(failed(&provider), "0");
}

#[tokio::test]
async fn keys_with_padding_and_keys_without_an_id_verify() {
    let provider = TestProvider::open(keycloak());
    let padded = |mut key: Value| {
        for name in ["n", "e", "x", "y"] {
            let Some(text) = key[name].as_str().map(str::to_owned) else { continue };
            key[name] = json!(format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4)));
        }
        key
    };
    *provider.keys.lock().unwrap() = vec![padded(RSA.jwk()), padded(P256.jwk()), padded(ED25519.jwk())];
    for signer in [&*RSA, &*P256, &*ED25519] {
        assert_eq!(provider.somebody().signs_in(|t| by(signer, t)).await.status(), 303, "{}", signer.kid);
    }
    let provider = TestProvider::open(keycloak());
    let nameless = |mut key: Value| {
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    *provider.keys.lock().unwrap() = vec![nameless(NEXT.jwk()), nameless(RSA.jwk()), nameless(P256.jwk())];
    for signer in [&*RSA, &*P256, &*NEXT] {
        assert_eq!(provider.somebody().signs_in(|t| by(signer, t)).await.status(), 303, "{}", signer.kid);
    }
    assert_eq!(failed(&provider), "0");
    assert_eq!(provider.somebody().presents(|t| t.signer = &STRANGER).await.status(), 401);
}

#[tokio::test]
async fn an_unreadable_answer_of_a_provider_counts_as_no_failure() {
    let provider = TestProvider::open(keycloak());
    for text in ["garbage", "a.b.c", "a.b.c.d.e", "eyJhbGciOiJSUzI1NiJ9.e30=.AAAA"] {
        let answer = provider.somebody().signs_in(|t| t.text = Some(text.into())).await;
        assert_eq!(answer.status(), 503, "{text}");
    }
    provider.server.says("not a readable signed token (JWS)").await;
    type Said = fn() -> Value;
    let places: [Said; 2] = [|| json!({}), || json!({"error": "invalid_token"})];
    for said in places {
        provider.internet.at(USERINFO, move |_| Reply::Json(said()));
        assert_eq!(provider.somebody().signs_in(without_mail).await.status(), 303, "{}", said());
    }
    provider.internet.at(USERINFO, |_| {
        let sub = "f3a1b2c4-0000-4000-8000-000000000001";
        Reply::Json(json!({"sub": sub, "email": "ada@example.org", "email_verified": true}))
    });
    // An empty address counts as no address.
    let empty = |t: &mut Token| (t.claims["email"], t.claims["email_verified"]) = (json!(""), json!(true));
    let asked = provider.internet.asked(USERINFO).len();
    assert_eq!(provider.somebody().signs_in(empty).await.status(), 303);
    assert_eq!(provider.internet.asked(USERINFO).len(), asked + 1);
    assert_eq!(failed(&provider), "0");
    provider.internet.at(USERINFO, |_| Reply::Json(json!({"sub": "somebody else"})));
    assert_eq!(provider.somebody().signs_in(without_mail).await.status(), 401);
}
