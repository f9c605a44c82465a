//! Tests a repeated login at a provider: with `max_age=0`, by the same user, and proven by the token's `auth_time`.

use std::collections::BTreeMap;

use reqwest::{Method, Response, Url};
use serde_json::{Value, json};

use super::{generic_provider::keycloak, google::google};
use crate::support::providers::provider::{Person, TestProvider, Token, now};

/// Goes to the provider by a button and comes back with a token that `twist` has changed.
async fn by(person: &Person<'_>, button: &str, twist: impl FnOnce(&mut Token)) -> (Url, Response) {
    let sent = person.browser.send(person.request(Method::GET, button)).await;
    assert_eq!(sent.status(), 303);
    let url = Url::parse(sent.headers()["location"].to_str().unwrap()).unwrap();
    let back = returns(person, &url, twist).await;
    (url, back)
}

async fn returns(person: &Person<'_>, url: &Url, twist: impl FnOnce(&mut Token)) -> Response {
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let mut token = person.provider.token(&query["nonce"]);
    twist(&mut token);
    let code = person.provider.grant(url, &token);
    person.comes_back(url, &[("code", &code), ("state", &query["state"])]).await
}

async fn asks_to_link(person: &Person<'_>) -> Result<Url, String> {
    let answer =
        person.post(&format!("/auth/provider/{}/link", person.provider.profile.name), json!({})).await;
    let said: Value = answer.json().await.unwrap();
    match said["location"].as_str() {
        Some(url) => Ok(Url::parse(url).unwrap()),
        None => Err(said["code"].as_str().unwrap().to_owned()),
    }
}

fn auth_time(provider: &TestProvider) -> String {
    provider.server.sqlite3("SELECT auth_time FROM sessions ORDER BY n DESC LIMIT 1")
}

#[tokio::test]
async fn a_provider_login_counts_as_recent_only_by_the_tokens_auth_time() {
    let provider = TestProvider::open(keycloak());
    let secs = |ago: i64| json!(i64::try_from(now()).unwrap() - ago);
    for (said, recent, why) in [
        (Some(secs(0)), true, "just now"),
        (Some(secs(500)), true, "eight minutes ago"),
        (Some(secs(660)), false, "eleven minutes ago"),
        (Some(secs(-30)), true, "a clock a little ahead"),
        (Some(secs(-3600)), false, "a clock that is wrong"),
        (Some(json!(now().to_string())), false, "a text"),
        (Some(json!(-1)), false, "a time that is none"),
        (None, false, "nothing"),
    ] {
        let person = provider.somebody();
        let done = person.signs_in(|t| {
            let claims = t.claims.as_object_mut().unwrap();
            claims.remove("auth_time");
            said.clone().inspect(|said| drop(claims.insert("auth_time".into(), said.clone())));
        });
        assert_eq!(done.await.status(), 303, "{why}");
        assert_eq!(asks_to_link(&person).await.err(), (!recent).then(|| "reauth_required".into()), "{why}");
    }
}

#[tokio::test]
async fn a_reauthentication_must_be_new_and_of_the_same_user() {
    let provider = TestProvider::open(keycloak());
    let person = provider.somebody();
    // The `auth_time` in this profile of Keycloak is in the year 2023.
    person.signs_in(|_| {}).await;
    assert_eq!(asks_to_link(&person).await.unwrap_err(), "reauth_required");
    let form = person.request(Method::POST, "/auth/provider/keycloak/link").form(&[("x", "")]);
    let page = person.browser.send(form).await;
    assert_eq!(page.status(), 403);
    let page = page.text().await.unwrap();
    let button = "/auth/provider/keycloak?again=1&#38;rd=%2Fauth%2Faccount";
    assert!(page.contains("too long ago") && page.contains(button), "{page}");
    let button = button.replace("&amp;", "&");
    let sid = person.is().await["sid"].clone();

    for (why, twist) in [
        ("an old login", (|_| {}) as fn(&mut Token)),
        ("no time", |t| drop(t.claims.as_object_mut().unwrap().remove("auth_time"))),
        ("a text", |t| t.claims["auth_time"] = json!(now().to_string())),
        ("ten minutes ago", |t| t.claims["auth_time"] = json!(now() - 600)),
        ("an hour ahead", |t| t.claims["auth_time"] = json!(now() + 3600)),
        ("somebody else", |t| {
            t.claims["auth_time"] = json!(now());
            t.claims["sub"] = json!("somebody else");
        }),
    ] {
        let (url, back) = by(&person, &button, twist).await;
        assert!(url.query_pairs().any(|(name, value)| name == "max_age" && value == "0"), "{url}");
        assert!(url.query_pairs().any(|(name, value)| name == "prompt" && value == "login"), "{url}");
        assert_eq!(back.status(), 403, "{why}");
        let page = back.text().await.unwrap();
        assert!(page.contains("?again=1"), "tried once more as what it was: {page}");
        assert_eq!(person.is().await["sid"], sid, "{why}");
    }
    let (_, back) = by(&person, &button, |t| t.claims["auth_time"] = json!(now())).await;
    assert_eq!(back.headers()["location"], "/auth/account");
    assert_ne!(person.is().await["sid"], sid, "a new session in place of the old one");
    let url = asks_to_link(&person).await.unwrap();
    assert_eq!(returns(&person, &url, |t| t.claims["sub"] = json!("one more")).await.status(), 303);
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM identities WHERE subject = 'one more'"), "1");
}

#[tokio::test]
async fn the_reauthentication_request_to_google_has_max_age_and_no_prompt() {
    let provider = TestProvider::open(google());
    let person = provider.somebody();
    let (url, back) =
        by(&person, "/auth/provider/google?again", |t| t.claims["auth_time"] = json!(now())).await;
    assert!(url.query_pairs().any(|(name, value)| name == "max_age" && value == "0"), "{url}");
    assert!(!url.query_pairs().any(|(name, _)| name == "prompt"), "{url}");
    assert_eq!(back.status(), 303, "nobody was signed in: a login");
    let url = person.leaves().await;
    assert!(!url.query_pairs().any(|(name, _)| name == "max_age"), "a plain login asks for none");
}

#[tokio::test]
async fn the_right_to_link_is_checked_again_at_the_callback() {
    let provider = TestProvider::open(keycloak());
    let (server, one_more) = (&provider.server, |t: &mut Token| t.claims["sub"] = json!("one more"));
    let links = || server.sqlite3("SELECT count(*) FROM identities");
    let leaves = async || {
        let person = provider.somebody();
        person.browser.log_in("ada").await;
        let url = asks_to_link(&person).await.unwrap();
        (person, url)
    };
    let (person, url) = leaves().await;
    server.sqlite3("UPDATE sessions SET auth_time = auth_time - 601000");
    assert_eq!(returns(&person, &url, one_more).await.status(), 403, "no longer recent");

    let (person, url) = leaves().await;
    server.sqlite3("DELETE FROM sessions");
    assert_eq!(returns(&person, &url, one_more).await.status(), 401, "ended");

    let (person, url) = leaves().await;
    person.browser.jar.remove(crate::support::server::REFRESH);
    assert_eq!(returns(&person, &url, one_more).await.status(), 401, "without the session");

    let (person, url) = leaves().await;
    let other = server.ada().await;
    person
        .browser
        .jar
        .set(crate::support::server::REFRESH, &other.jar.get(crate::support::server::REFRESH).unwrap());
    assert_eq!(returns(&person, &url, one_more).await.status(), 401, "another session");
    assert_eq!(links(), "0");

    // The current password in the request also counts as the proof for the callback.
    let (person, _) = leaves().await;
    server.sqlite3("UPDATE sessions SET auth_time = NULL");
    assert_eq!(asks_to_link(&person).await.unwrap_err(), "reauth_required");
    let path = "/auth/provider/keycloak/link";
    let wrong = person.post(path, json!({"current": "wrong password"})).await;
    assert_eq!(wrong.status(), 403);
    let said: Value =
        person.post(path, json!({"current": crate::support::server::PASSWORD})).await.json().await.unwrap();
    let url = Url::parse(said["location"].as_str().unwrap()).unwrap();
    assert_eq!(returns(&person, &url, one_more).await.status(), 303);
    assert_eq!(links(), "1");
    assert_ne!(auth_time(&provider), "");
}

#[tokio::test]
async fn an_access_token_alone_starts_no_link() {
    let provider = TestProvider::open(keycloak());
    let (person, thief) = (provider.somebody(), provider.somebody());
    person.browser.log_in("ada").await;
    let access = person.browser.jar.get(crate::support::server::ACCESS).unwrap();
    let bearer =
        thief.request(Method::POST, "/auth/provider/keycloak/link").bearer_auth(&access).json(&json!({}));
    let said: Value = thief.browser.send(bearer).await.json().await.unwrap();
    assert_eq!((&said["code"], &said["status"]), (&json!("session_required"), &json!(403)));
    thief.browser.jar.set(crate::support::server::ACCESS, &access);
    assert_eq!(asks_to_link(&thief).await.unwrap_err(), "session_required");
    assert!(thief.browser.jar.logins().is_empty());
}
