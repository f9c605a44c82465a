//! Tests ID tokens that a client presents: with a nonce from Bulla, by the client that received the nonce, and only once.

use reqwest::Method;
use serde_json::{Value, json};

use super::generic_provider::keycloak;
use crate::support::providers::provider::{Person, TestProvider};
use crate::support::server::{ACCESS, LOGIN, REFRESH, set_cookies};

fn token(person: &Person<'_>, nonce: &str) -> String {
    person.provider.token(nonce).text()
}

async fn login(person: &Person<'_>, token: &str, nonce: &str) -> u16 {
    let body = json!({"provider": "keycloak", "id_token": token, "nonce": nonce});
    person.post("/auth/login", body).await.status().as_u16()
}

#[tokio::test]
async fn a_nonce_works_once_and_only_for_the_browser_that_requested_it() {
    let provider = TestProvider::open(keycloak());
    let (ada, eve) = (provider.somebody(), provider.somebody());
    let nonce = ada.nonce().await;
    let (name, cookie) = ada.browser.jar.logins().remove(0);
    let stolen = token(&ada, &nonce);

    // A stolen token is of no use to an attacker: not without a cookie, not with the attacker's own cookie, and not with an
    // invented nonce.
    assert_eq!(login(&eve, &stolen, &nonce).await, 401);
    let eves = eve.nonce().await;
    assert_eq!(login(&eve, &stolen, &nonce).await, 401);
    assert_eq!(login(&eve, &stolen, &eves).await, 401);
    assert_eq!(login(&eve, &token(&eve, "invented"), "invented").await, 401);
    assert_eq!(login(&ada, &stolen, "").await, 401);

    assert_eq!(login(&ada, &stolen, &nonce).await, 200);
    assert!(
        ada.browser.jar.get(ACCESS).is_some() && ada.browser.jar.logins().is_empty(),
        "its cookie is gone"
    );
    ada.browser.jar.set(&name, &cookie);
    assert_eq!(login(&ada, &stolen, &nonce).await, 401, "spent");
    assert_eq!(login(&ada, &token(&ada, &nonce), &nonce).await, 401, "for any token");
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM used"), "1");
}

#[tokio::test]
async fn a_program_without_cookies_uses_a_ticket_with_its_nonce() {
    let provider = TestProvider::open(keycloak());
    let phone = provider.somebody();
    let asked = phone.post("/auth/login/nonce", json!({"transport": "body"})).await;
    assert!(set_cookies(&asked).is_empty());
    let answer: Value = asked.json().await.unwrap();
    let (nonce, ticket) = (answer["nonce"].as_str().unwrap(), answer["ticket"].as_str().unwrap());
    let body = |ticket: Value| json!({"provider": "keycloak", "id_token": token(&phone, nonce), "nonce": nonce, "ticket": ticket, "transport": "body"});
    for bad in [Value::Null, json!(""), json!(nonce), json!(format!("{ticket}A"))] {
        assert_eq!(phone.post("/auth/login", body(bad)).await.status(), 401);
    }
    let mut in_cookies = body(json!(ticket));
    in_cookies["transport"] = json!("cookie");
    assert_eq!(phone.post("/auth/login", in_cookies).await.status(), 401, "a ticket is for bodies");
    let done = phone.post("/auth/login", body(json!(ticket))).await;
    assert_eq!((done.status().as_u16(), set_cookies(&done).len()), (200, 0));
    let tokens: Value = done.json().await.unwrap();
    assert!(tokens["access_token"].is_string() && tokens["refresh_token"].is_string(), "{tokens}");
    assert_eq!(phone.post("/auth/login", body(json!(ticket))).await.status(), 401, "spent");

    // The browser's cookie is not accepted as a ticket, and a ticket is not accepted as the browser's cookie.
    let nonce = phone.nonce().await;
    let (_, cookie) = phone.browser.jar.logins().remove(0);
    let mut crossed = body(json!(cookie));
    (crossed["nonce"], crossed["id_token"]) = (json!(nonce), json!(token(&phone, &nonce)));
    assert_eq!(phone.post("/auth/login", crossed).await.status(), 401);
}

#[tokio::test]
async fn an_id_token_as_bearer_begins_a_session_on_any_request_and_the_request_is_processed() {
    let provider = TestProvider::open(keycloak());
    let ada = provider.somebody();
    let nonce = ada.nonce().await;
    let token = token(&ada, &nonce);
    let ask = || ada.request(Method::GET, "/auth/session").bearer_auth(&token);
    let who = ada.browser.send(ask()).await;
    assert_eq!(who.status(), 200);
    let cookies = set_cookies(&who);
    assert!(
        cookies[0].starts_with(ACCESS) && cookies[1].starts_with(REFRESH) && cookies[2].starts_with(LOGIN)
    );
    assert_eq!(who.json::<Value>().await.unwrap()["name"], "ada@example.org");
    assert_eq!(ada.browser.status().await, 200, "by the cookies from now on");
    let again = ada.browser.send(ask()).await;
    assert_eq!(
        (again.status().as_u16(), set_cookies(&again).len()),
        (401, 0),
        "the token itself was good once"
    );

    let stranger = provider.somebody();
    let nonce = stranger.nonce().await;
    for (claim, value) in [("iss", "https://nobody.example"), ("aud", "another")] {
        let mut bad = provider.token(&nonce);
        bad.claims[claim] = json!(value);
        let request = stranger.request(Method::GET, "/auth/session").bearer_auth(bad.text());
        assert_eq!(stranger.browser.send(request).await.status(), 401, "{claim}");
    }
}

#[tokio::test]
async fn other_sites_get_no_nonce_and_cannot_present_tokens() {
    let provider = TestProvider::open(keycloak());
    let ada = provider.somebody();
    let nonce = ada.nonce().await;
    let body = json!({"provider": "keycloak", "id_token": token(&ada, &nonce), "nonce": nonce});
    for (path, body) in [("/auth/login/nonce", json!({})), ("/auth/login", body.clone())] {
        for (name, value) in
            [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("x-none", "")]
        {
            let request = ada.browser.client.post(format!("{}{path}", ada.browser.origin)).json(&body);
            let request = request.header("cookie", ada.browser.jar.header()).header(name, value);
            assert_eq!(request.send().await.unwrap().status(), 403, "{path} {name}");
        }
    }
    let unknown = json!({"provider": "nobody", "id_token": "a.b.c", "nonce": nonce});
    assert_eq!(ada.post("/auth/login", unknown).await.status(), 400);
    let nothing = json!({"provider": "keycloak", "nonce": nonce});
    assert_eq!(ada.post("/auth/login", nothing).await.status(), 400);
    assert_eq!(ada.post("/auth/login", body).await.status(), 200, "nothing of that has spent it");
}

#[tokio::test]
async fn failed_id_tokens_are_counted_per_address_and_delay_no_other_user() {
    let provider = TestProvider::open(keycloak());
    let (eve, ada) = (provider.somebody(), provider.somebody());
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(eve.presents(|t| t.claims["nonce"] = json!("x")).await.status().as_u16());
    }
    assert!(answers[..10].iter().all(|status| *status == 401) && answers.contains(&429), "{answers:?}");
    assert_eq!(ada.presents(|_| {}).await.status(), 200);
    assert!(
        provider
            .server
            .sqlite3("SELECT count(*) FROM audit WHERE event = 'login.failed'")
            .parse::<u32>()
            .unwrap()
            >= 10
    );
}
