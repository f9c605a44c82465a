//! Tests a provider that cannot be reached, that gives wrong answers, or that changes its keys.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{generic_provider::keycloak, google::google, token_cases::by};
use crate::support::providers::{
    internet::{Internet, Reply},
    provider::{Profile, TestProvider},
    signer::{NEXT, RSA},
};
use crate::support::server::{PASSWORD, set_cookies};

const OTHER: &str =
    "[provider.google]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\ncreate = 'always'";

/// The same provider, configured without discovery, so that only its key set can be missing.
fn direct() -> Profile {
    let mut profile = keycloak();
    profile.settings = "[provider.keycloak]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
        issuer = 'https://login.example.org/realms/main'\ncreate = 'always'\n\
        authorization_endpoint = 'https://login.example.org/realms/main/protocol/openid-connect/auth'\n\
        token_endpoint = 'https://login.example.org/realms/main/protocol/openid-connect/token'\n\
        jwks_uri = 'https://login.example.org/realms/main/protocol/openid-connect/certs'";
    profile.discovery = None;
    profile
}

#[tokio::test]
async fn an_outage_of_one_provider_affects_only_its_users() {
    let internet = Internet::new();
    let provider = TestProvider::closed(internet, keycloak(), OTHER);
    let ada = provider.somebody();
    let down = ada.browser.send(ada.request(reqwest::Method::GET, "/auth/provider/keycloak")).await;
    assert_eq!((down.status().as_u16(), down.headers()["retry-after"].to_str().unwrap()), (503, "10"));
    assert!(set_cookies(&down).is_empty());
    let page = down.text().await.unwrap();
    assert!(
        page.contains("at the moment")
            && page.contains("name=\"password\"")
            && page.contains("Sign in with Google")
    );
    assert_eq!(ada.presents(|_| {}).await.status(), 503);
    ada.browser.log_in("ada").await;
    assert_eq!(ada.browser.status().await, 200, "passwords still work");

    // Meanwhile logins at the other provider work.
    let google = google();
    let (document, jwks) = (google.discovery.clone().unwrap(), json!({"keys": [RSA.jwk()]}));
    provider.internet.at("https://accounts.google.com/.well-known/openid-configuration", move |_| {
        Reply::Json(document.clone())
    });
    provider.internet.at(google.jwks_uri, move |_| Reply::Json(jwks.clone()));
    let person = provider.somebody();
    let nonce = person.nonce().await;
    let mut token = provider.token(&nonce);
    (token.claims["iss"], token.claims["azp"]) = (json!(google.issuer), json!("our-client-id"));
    let body = json!({"provider": "google", "id_token": token.text(), "nonce": nonce});
    assert_eq!(person.post("/auth/login", body).await.status(), 200);

    // The provider becomes available, and logins work without a restart of the server.
    provider.build();
    crate::support::server::eventually("the provider is back", || async {
        provider.somebody().presents(|_| {}).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn an_invalid_key_set_is_a_503_and_accepts_no_token() {
    let jwks = direct().jwks_uri;
    type Place = fn() -> Reply;
    let places: [(&str, Place); 10] = [
        ("away", || Reply::Error(500, json!({}))),
        ("gone", || Reply::Error(404, json!({"keys": [RSA.jwk()]}))),
        ("empty", || Reply::Json(json!({"keys": []}))),
        ("without keys", || Reply::Json(json!({}))),
        ("no JSON", || Reply::Bytes(b"<html>".to_vec())),
        ("huge", || {
            Reply::Bytes(
                format!("{{\"keys\": [{}], \"x\": \"{}\"}}", RSA.jwk(), "y".repeat(300_000)).into_bytes(),
            )
        }),
        ("elsewhere", || Reply::Redirect("https://keys.example.net/jwks".into())),
        ("in this machine", || Reply::Redirect("http://127.0.0.1:1/jwks".into())),
        ("keys for something else", || {
            let mut key = RSA.jwk();
            key["key_ops"] = json!(["wrapKey"]);
            Reply::Json(json!({"keys": [key]}))
        }),
        ("private keys", || {
            let mut key = RSA.jwk();
            key["d"] = json!("AQAB");
            Reply::Json(json!({"keys": [key]}))
        }),
    ];
    for (name, place) in places {
        let provider = TestProvider::open(direct());
        provider.internet.at("https://keys.example.net/jwks", |_| Reply::Json(json!({"keys": [RSA.jwk()]})));
        provider.internet.at(jwks, move |_| place());
        let answer = provider.somebody().presents(|_| {}).await;
        assert_eq!((answer.status().as_u16(), set_cookies(&answer).len()), (503, 0), "{name}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "provider_away", "{name}");
        assert!(
            provider.internet.asked("https://keys.example.net/jwks").is_empty(),
            "{name}: no redirect is followed"
        );
        assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 503, "{name}");
        assert_eq!(provider.server.sqlite3("SELECT count(*) FROM sessions"), "0", "{name}");
    }
}

#[tokio::test]
async fn a_slow_provider_delays_only_its_own_logins() {
    let provider = TestProvider::open(direct());
    provider.internet.at(direct().jwks_uri, |_| Reply::Late(json!({"keys": [RSA.jwk()]})));
    let waiting = AtomicBool::new(true);
    let slow = async {
        let all = (0..8).map(|_| async { provider.somebody().presents(|_| {}).await.status().as_u16() });
        let slow = futures_util::future::join_all(all).await;
        waiting.store(false, Ordering::SeqCst);
        slow
    };
    let meanwhile = async {
        let ada = provider.server.ada().await;
        (ada.status().await, waiting.load(Ordering::SeqCst))
    };
    let (slow, ada) = tokio::join!(slow, meanwhile);
    assert!(slow.iter().all(|status| *status == 503), "{slow:?}");
    assert_eq!(ada, (200, true), "she is in while they still wait");
    // All logins wait for the same answer, not for one answer each.
    assert_eq!(provider.internet.asked(direct().jwks_uri).len(), 1);
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_or_with_internal_addresses_is_refused() {
    type Twist = fn(&mut Value);
    let twists: [(&str, Twist); 5] = [
        ("a slash more", |said| said["issuer"] = json!("https://login.example.org/realms/main/")),
        ("another tenant", |said| said["issuer"] = json!("https://login.example.org/realms/test")),
        ("no issuer", |said| drop(said.as_object_mut().unwrap().remove("issuer"))),
        ("keys in this machine", |said| said["jwks_uri"] = json!("https://127.0.0.1/jwks")),
        ("a token endpoint in plain", |said| {
            said["token_endpoint"] = json!("http://login.example.org/token")
        }),
    ];
    for (name, twist) in twists {
        let mut profile = keycloak();
        twist(profile.discovery.as_mut().unwrap());
        let provider = TestProvider::open(profile);
        let person = provider.somebody();
        let answer =
            person.browser.send(person.request(reqwest::Method::GET, "/auth/provider/keycloak")).await;
        assert_eq!(answer.status(), 503, "{name}");
        assert_eq!(provider.internet.all_asked(), 1, "{name}: only for the document");
    }
}

#[tokio::test]
async fn no_login_fails_while_the_provider_rotates_its_keys() {
    let provider = TestProvider::open(keycloak());
    assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 303);
    // The next key is published, then used for signatures, and then the old key is withdrawn. Foreign tokens arrive in between.
    provider.keys.lock().unwrap().push(NEXT.jwk());
    assert_eq!(provider.somebody().presents(|t| t.header["kid"] = json!("invented")).await.status(), 401);
    assert_eq!(provider.somebody().presents(|t| t.header["kid"] = json!("invented too")).await.status(), 401);
    assert_eq!(provider.somebody().presents(|t| by(&NEXT, t)).await.status(), 200);
    assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 303);
    *provider.keys.lock().unwrap() = vec![NEXT.jwk()];
    assert_eq!(provider.somebody().signs_in(|t| by(&NEXT, t)).await.status(), 303);
    // The provider replaces its key without notice, in the same minute in which foreign tokens arrive.
    *provider.keys.lock().unwrap() = vec![crate::support::providers::signer::P256.jwk()];
    assert_eq!(provider.somebody().presents(|t| t.header["kid"] = json!("invented")).await.status(), 401);
    assert_eq!(
        provider.somebody().signs_in(|t| by(&crate::support::providers::signer::P256, t)).await.status(),
        303
    );
    assert_eq!(
        provider.somebody().presents(|t| by(&crate::support::providers::signer::P256, t)).await.status(),
        200
    );
}

#[tokio::test]
async fn no_provider_is_contacted_before_the_first_login() {
    let provider = TestProvider::open(keycloak());
    provider.server.ada().await;
    assert_eq!(provider.internet.all_asked(), 0);
    assert!(PASSWORD.len() > 8);
}
