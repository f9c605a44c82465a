//! Tests the step from identities to users: who becomes a new user, who may link an identity, and where the login leads back
//! to.

use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::{generic_provider::keycloak, google::google};
use crate::support::providers::provider::{Person, TestProvider, now};
use crate::support::server::{ACCESS, REFRESH, set_cookies};

#[tokio::test]
async fn by_default_a_login_creates_no_user_and_a_logged_in_user_links_an_identity() {
    let mut profile = keycloak();
    profile.settings = "[provider.keycloak]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                        issuer = 'https://login.example.org/realms/main'";
    let provider = TestProvider::open(profile);
    let ada = provider.somebody();
    let unknown = ada.signs_in(|t| t.claims["preferred_username"] = json!("ada")).await;
    assert_eq!((unknown.status().as_u16(), set_cookies(&unknown).len()), (403, 0));
    assert!(unknown.text().await.unwrap().contains("No user of this server has this identity"));

    ada.browser.log_in("ada").await;
    links(&ada, |_| {}).await;
    let other_device = provider.somebody();
    assert_eq!(other_device.signs_in(|_| {}).await.status(), 303);
    assert_eq!(other_device.is().await["name"], "ada");
    let page = ada.browser.get("/auth/account").await.text().await.unwrap();
    assert!(
        page.contains("https://login.example.org/realms/main") && page.contains("Link Keycloak"),
        "{page}"
    );
    let listed: Value = ada.browser.get("/auth/identities").await.json().await.unwrap();
    assert_eq!(listed["identities"][0]["subject"], "f3a1b2c4-0000-4000-8000-000000000001");

    assert_eq!(ada.post("/auth/identities/unlink", listed["identities"][0].clone()).await.status(), 204);
    assert_eq!(ada.post("/auth/identities/unlink", listed["identities"][0].clone()).await.status(), 404);
    assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 403);
    let events = provider
        .server
        .sqlite3("SELECT event, actor, subject FROM audit WHERE event LIKE 'identity.%' ORDER BY seq");
    assert_eq!(events, "identity.linked|1|1\nidentity.unlinked|1|1");
}

/// Presses "Link", goes to the provider and comes back.
async fn links(
    person: &Person<'_>,
    twist: impl FnOnce(&mut crate::support::providers::provider::Token),
) -> u16 {
    let url = asks_to_link(person).await;
    let query: std::collections::BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let mut token = person.provider.token(&query["nonce"]);
    twist(&mut token);
    let code = person.provider.grant(&url, &token);
    person.comes_back(&url, &[("code", &code), ("state", &query["state"])]).await.status().as_u16()
}

async fn asks_to_link(person: &Person<'_>) -> Url {
    let path = format!("/auth/provider/{}/link", person.provider.profile.name);
    let form = person.request(Method::POST, &path).form(&[("x", "")]);
    let page = person.browser.send(form).await;
    assert_eq!(page.status(), 200);
    let refresh = page.headers()["refresh"].to_str().unwrap().to_owned();
    Url::parse(refresh.strip_prefix("0; url=").unwrap()).unwrap()
}

#[tokio::test]
async fn only_its_owner_links_an_identity_and_it_is_never_taken_over() {
    let provider = TestProvider::open(keycloak());
    provider.server.add_user("bob", &[]);
    let (ada, bob) = (provider.somebody(), provider.somebody());
    assert_eq!(
        ada.post("/auth/provider/keycloak/link", json!({})).await.status(),
        401,
        "nobody is signed in"
    );
    ada.browser.log_in("ada").await;
    bob.browser.log_in("bob").await;
    assert_eq!(links(&ada, |_| {}).await, 303);
    assert_eq!(links(&bob, |_| {}).await, 409, "it is another's");

    // A user who has logged out meanwhile cannot complete a link, nor can another browser complete a link that this one began.
    let url = asks_to_link(&bob).await;
    bob.post("/auth/logout", json!({})).await;
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let code =
        provider.grant(&url, &provider.token(&url.query_pairs().find(|(n, _)| n == "nonce").unwrap().1));
    assert_eq!(bob.comes_back(&url, &[("code", &code), ("state", &state)]).await.status(), 401);
    let url = asks_to_link(&ada).await;
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let victim = provider.somebody();
    victim.browser.log_in("bob").await;
    assert_eq!(victim.comes_back(&url, &[("code", "any"), ("state", &state)]).await.status(), 401);
    for site in ["cross-site", "same-site"] {
        let forged = ada.browser.client.post(format!("{}/auth/provider/keycloak/link", ada.browser.origin));
        let forged = forged
            .header("cookie", ada.browser.jar.header())
            .header("sec-fetch-site", site)
            .form(&[("x", "")]);
        assert_eq!(forged.send().await.unwrap().status(), 403, "{site}");
    }
    let owned = provider.server.sqlite3("SELECT user_id FROM identities");
    assert_eq!(owned, "1");
}

#[tokio::test]
async fn the_last_credential_cannot_be_unlinked() {
    let provider = TestProvider::open(google());
    let ada = provider.somebody();
    assert_eq!(ada.signs_in(|t| t.claims["auth_time"] = json!(now())).await.status(), 303);
    let listed: Value = ada.browser.get("/auth/identities").await.json().await.unwrap();
    let last = ada.post("/auth/identities/unlink", listed["identities"][0].clone()).await;
    assert_eq!(last.status(), 409);
    assert!(last.text().await.unwrap().contains("last way to sign in"));
    let fields = [("issuer", "https://accounts.google.com"), ("subject", "110169484474386276334")];
    let page = ada.browser.send(ada.request(Method::POST, "/auth/identities/unlink").form(&fields)).await;
    let page = page.text().await.unwrap();
    assert!(page.contains("last way to sign in") && !page.contains("Current password"), "{page}");
    assert_eq!(links(&ada, |t| t.claims["sub"] = json!("2")).await, 303, "a second account");
    assert_eq!(ada.post("/auth/identities/unlink", listed["identities"][0].clone()).await.status(), 204);
}

#[tokio::test]
async fn a_new_user_never_gets_a_name_that_looks_like_an_existing_one() {
    let provider = TestProvider::open(keycloak());
    let eve = provider.somebody();
    let answer = eve.signs_in(|t| {
        t.claims["email_verified"] = json!(false);
        // The first letter is Cyrillic.
        t.claims["preferred_username"] = json!("\u{430}da");
    });
    assert_eq!(answer.await.status(), 303);
    let who = eve.is().await;
    assert_eq!((&who["id"], &who["roles"]), (&json!("2"), &json!([])), "not the administrator ada");
    assert!(who["name"].as_str().unwrap().starts_with("\u{430}da-"), "{who}");
}

#[tokio::test]
async fn a_provider_login_continues_to_the_authorization_of_the_app() {
    let provider = TestProvider::open(keycloak());
    let back = "https://app.example/back";
    let app = provider.server.client("Phone", &["--public", "--scope", "read", "--redirect-uri", back]);
    let challenge = "A".repeat(43);
    // This length occurs: some client libraries encode their whole state in `state`.
    let state = "s".repeat(1500);
    let at = format!(
        "/auth/authorize?client_id={}&response_type=code&code_challenge={challenge}&code_challenge_method=S256&state={state}",
        app.id
    );
    let person = provider.somebody();
    let page = person.browser.get(&at).await;
    assert_eq!(page.status(), 401);
    let page = page.text().await.unwrap();
    assert!(page.contains("<strong>Phone</strong>"), "{page}");
    let button = page.split("href=\"").filter_map(|rest| rest.split('"').next());
    let button = button.filter(|href| href.starts_with("/auth/provider/keycloak?rd=")).last().unwrap();
    let sent = person.browser.send(person.request(Method::GET, button)).await;
    let url = Url::parse(sent.headers()["location"].to_str().unwrap()).unwrap();
    let query: std::collections::BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let code = provider.grant(&url, &provider.token(&query["nonce"]));
    let returned = person.comes_back(&url, &[("code", &code), ("state", &query["state"])]).await;
    assert_eq!(returned.headers()["location"].to_str().unwrap(), at);
    let on = person.browser.get(&at).await;
    assert_eq!(on.status(), 303);
    assert!(on.headers()["location"].to_str().unwrap().starts_with(&format!("{back}?code=bul")));
}

#[tokio::test]
async fn a_provider_login_returns_only_to_a_page_of_this_site() {
    let provider = TestProvider::open(keycloak());
    for (rd, to) in [
        ("/auth/sessions?x=%26y", "/auth/sessions?x=%26y"),
        ("", "/auth/account"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
    ] {
        let person = provider.somebody();
        let from = Url::parse_with_params("x:/", [("rd", rd)]).unwrap();
        let from = person.request(Method::GET, &format!("/auth/provider/keycloak?{}", from.query().unwrap()));
        let sent = person.browser.send(from).await;
        let url = Url::parse(sent.headers()["location"].to_str().unwrap()).unwrap();
        let query: std::collections::BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let code = provider.grant(&url, &provider.token(&query["nonce"]));
        let back = person.comes_back(&url, &[("code", &code), ("state", &query["state"])]).await;
        assert_eq!(back.headers()["location"].to_str().unwrap(), to, "{rd:?}");
    }
    let page =
        provider.somebody().browser.get("/auth/login?rd=/auth/sessions?a=b%26c").await.text().await.unwrap();
    assert!(page.contains(r#"href="/auth/provider/keycloak?rd=%2Fauth%2Fsessions%3Fa%3Db%26c""#), "{page}");
    assert!(page.contains("Sign in with Keycloak"), "{page}");
}

#[tokio::test]
async fn a_callback_works_once_and_only_in_the_browser_that_started_the_login() {
    let provider = TestProvider::open(keycloak());
    let (ada, victim) = (provider.somebody(), provider.somebody());
    let url = ada.leaves().await;
    let query: std::collections::BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let code = provider.grant(&url, &provider.token(&query["nonce"]));
    let answer = [("code", code.as_str()), ("state", query["state"].as_str())];
    // Forged login (login CSRF): the victim's browser opens an attacker's link, with the attacker's code and state.
    assert_eq!(victim.comes_back(&url, &answer).await.status(), 401);
    let victims = victim.leaves().await;
    assert_eq!(victim.comes_back(&victims, &answer).await.status(), 401);
    let code = code.as_str();
    for bad in [[("code", code), ("state", "")], [("code", code), ("state", "x")], [("code", ""), answer[1]]]
    {
        assert_eq!(ada.comes_back(&url, &bad[..]).await.status(), 401);
    }
    let mixed = [answer[0], answer[1], ("iss", "https://other.example.org")];
    assert_eq!(ada.comes_back(&url, &mixed).await.status(), 401, "RFC 9207");
    assert!(
        provider.internet.asked(provider.profile.token_endpoint).is_empty(),
        "none of that came to the provider"
    );
    let (name, login) = ada.browser.jar.logins().remove(0);
    let done = ada.comes_back(&url, &[answer[0], answer[1], ("iss", provider.profile.issuer)]).await;
    assert_eq!(done.status(), 303);
    let lines = set_cookies(&done);
    assert!(lines[0].starts_with(ACCESS) && lines[1].starts_with(REFRESH) && lines[2].starts_with(&name));
    assert_ne!(ada.browser.jar.get(&name).unwrap(), login, "the login is finished");
    ada.browser.jar.set(&name, &login);
    assert_eq!(ada.comes_back(&url, &answer).await.status(), 401, "the code is spent");
    let again = provider.grant(&url, &provider.token(&query["nonce"]));
    assert_eq!(
        ada.comes_back(&url, &[("code", &again), answer[1]]).await.status(),
        401,
        "and so is the nonce"
    );
    assert_eq!(ada.browser.get("/auth/provider/nobody").await.status(), 404);
}

#[tokio::test]
async fn a_disabled_user_cannot_log_in_at_a_provider() {
    let provider = TestProvider::open(keycloak());
    let ada = provider.somebody();
    ada.signs_in(|_| {}).await;
    assert!(provider.server.cli(&["user", "disable", "ada@example.org"]).status.success());
    assert_eq!(ada.signs_in(|_| {}).await.status(), 401);
    assert_eq!(ada.presents(|_| {}).await.status(), 401);
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM sessions"), "0");
}

#[tokio::test]
async fn two_concurrent_first_logins_create_one_user() {
    let provider = TestProvider::open(keycloak());
    for round in 0..5 {
        let come = || async {
            provider.somebody().signs_in(|t| t.claims["sub"] = json!(format!("subject {round}"))).await
        };
        let (one, other) = tokio::join!(come(), come());
        assert_eq!((one.status().as_u16(), other.status().as_u16()), (303, 303));
    }
    assert_eq!(provider.server.sqlite3("SELECT count(*), count(DISTINCT user_id) FROM identities"), "5|5");
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM users WHERE name LIKE 'ada@example.org%'"), "5");
}
