//! Tests several logins in one browser: parallel tabs, the Back button, and errors that the provider returns through the
//! browser.

use std::collections::BTreeMap;

use reqwest::{Method, Response, Url};
use serde_json::json;

use super::generic_provider::keycloak;
use crate::support::providers::{
    internet::Reply,
    provider::{Person, TestProvider},
};
use crate::support::server::{ACCESS, set_cookies};

fn query(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// Opens a tab and starts a login that leads to `rd`.
async fn opens_a_tab(person: &Person<'_>, rd: &str) -> Url {
    let from = Url::parse_with_params("x:/", [("rd", rd)]).unwrap();
    let path = format!("/auth/provider/keycloak?{}", from.query().unwrap());
    let sent = person.browser.send(person.request(Method::GET, &path)).await;
    assert_eq!(sent.status(), 303);
    Url::parse(sent.headers()["location"].to_str().unwrap()).unwrap()
}

/// Completes the login of the tab with a code.
async fn finishes(person: &Person<'_>, url: &Url) -> Response {
    let asked = query(url);
    let code = person.provider.grant(url, &person.provider.token(&asked["nonce"]));
    person.comes_back(url, &[("code", &code), ("state", &asked["state"])]).await
}

/// Returns the status and the `Location`.
fn ends(response: &Response) -> (u16, &str) {
    let location = response.headers().get("location").map_or("", |value| value.to_str().unwrap());
    (response.status().as_u16(), location)
}

#[tokio::test]
async fn parallel_logins_of_several_tabs_finish_in_any_order() {
    let provider = TestProvider::open(keycloak());
    for order in [vec![0, 1], vec![1, 0], vec![3, 0, 4, 2, 1]] {
        let person = provider.somebody();
        let mut tabs = Vec::new();
        for number in 0..order.len() {
            tabs.push(opens_a_tab(&person, &format!("/tab/{number}")).await);
        }
        assert_eq!(person.browser.jar.logins().len(), order.len());
        for number in order {
            let back = finishes(&person, &tabs[number]).await;
            assert_eq!(ends(&back), (303, format!("/tab/{number}").as_str()));
        }
        assert_eq!(person.browser.status().await, 200);
    }
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM audit WHERE event = 'login.failed'"), "0");
}

#[tokio::test]
async fn a_sixth_login_drops_the_oldest_and_the_cookies_keep_within_8_kib() {
    let provider = TestProvider::open(keycloak());
    let person = provider.somebody();
    let mut tabs = Vec::new();
    for _ in 0..6 {
        tabs.push(person.leaves().await);
    }
    assert_eq!(person.browser.jar.logins().len(), 5);
    assert_eq!(finishes(&person, &tabs[0]).await.status(), 401);
    for tab in &tabs[1..] {
        assert_eq!(finishes(&person, tab).await.status(), 303);
    }

    let person = provider.somebody();
    let mut last = None;
    for number in 0..8 {
        last = Some(opens_a_tab(&person, &format!("/{number}{}", "x".repeat(2000))).await);
        let logins = person.browser.jar.logins();
        let bytes: usize = logins.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
        assert!(!logins.is_empty() && bytes <= 8192, "{bytes}");
    }
    assert_eq!(finishes(&person, &last.unwrap()).await.status(), 303, "the newest is kept");
}

#[tokio::test]
async fn several_nonces_and_logins_can_be_open_at_once() {
    let provider = TestProvider::open(keycloak());
    let person = provider.somebody();
    let tab = person.leaves().await;
    let mut nonces = Vec::new();
    for _ in 0..6 {
        nonces.push(person.nonce().await);
    }
    assert_eq!(person.browser.jar.logins().len(), 6, "five nonces and a login");
    let mut refused = Vec::new();
    for (number, nonce) in nonces.iter().enumerate() {
        let token = provider.token(nonce).text();
        let body = json!({"provider": "keycloak", "id_token": token, "nonce": nonce});
        let status = person.post("/auth/login", body).await.status();
        if status != 200 {
            refused.push((number, status.as_u16()));
        }
    }
    // The oldest nonce is dropped. Nonces of the same millisecond have the same age, so any of these may be the dropped one.
    assert!(matches!(refused[..], [(0..=4, 401)]), "{refused:?}");
    assert_eq!(person.browser.jar.logins().len(), 1, "each nonce's cookie is cleared at its own end");
    let (one, other) = (person.nonce().await, person.nonce().await);
    for nonce in [one, other] {
        let bearer = provider.token(&nonce).text();
        let request = person.request(Method::GET, "/auth/session").bearer_auth(bearer);
        assert_eq!(person.browser.send(request).await.status(), 200);
    }
    assert_eq!(finishes(&person, &tab).await.status(), 303);
}

#[tokio::test]
async fn back_or_reload_of_the_callback_redirects_to_the_target_of_the_login() {
    let provider = TestProvider::open(keycloak());
    for (rd, to) in [("/auth/sessions?x=1", "/auth/sessions?x=1"), ("", "/auth/account")] {
        let person = provider.somebody();
        let url = opens_a_tab(&person, rd).await;
        let asked = query(&url);
        let code = provider.grant(&url, &provider.token(&asked["nonce"]));
        let answer = [("code", code.as_str()), ("state", asked["state"].as_str())];
        assert_eq!(ends(&person.comes_back(&url, &answer).await), (303, to));
        let count = "SELECT (SELECT count(*) FROM audit), (SELECT group_concat(sid) FROM sessions)";
        let before = provider.server.sqlite3(count);
        // More attempts than the limit on failed attempts allows.
        for _ in 0..15 {
            let again = person.comes_back(&url, &answer).await;
            assert_eq!((ends(&again), set_cookies(&again).len()), ((303, to), 0));
        }
        assert_eq!(provider.server.sqlite3(count), before, "no audit row and no new session");

        // Any other callback is refused, whether the browser is signed in or not.
        let others = [answer[0], ("state", "another")];
        assert_eq!(person.comes_back(&url, &others).await.status(), 401);
        let stranger = provider.somebody();
        assert_eq!(stranger.comes_back(&url, &answer).await.status(), 401);
        stranger.browser.log_in("ada").await;
        assert_eq!(stranger.comes_back(&url, &answer).await.status(), 401);
        assert_eq!(person.post("/auth/logout", json!({})).await.status(), 204);
        let gone = person.comes_back(&url, &answer).await;
        assert_eq!((gone.status().as_u16(), set_cookies(&gone).len()), (401, 0), "signed out");
    }
}

#[tokio::test]
async fn a_providers_error_and_a_cancelled_login_count_as_no_failure() {
    let provider = TestProvider::open(keycloak());
    let person = provider.somebody();
    for (error, status, says) in [
        ("server_error", 503, "The provider is not available"),
        ("temporarily_unavailable", 503, "The provider is not available"),
        ("access_denied", 401, "Please try again"),
        ("invalid_request", 401, "Please try again"),
    ] {
        // More attempts than the limit on failed attempts allows.
        for _ in 0..12 {
            let url = person.leaves().await;
            let state = query(&url)["state"].clone();
            let back = person.comes_back(&url, &[("error", error), ("state", &state)]).await;
            assert_eq!(back.status(), status, "{error}");
            assert_eq!(back.headers().contains_key("retry-after"), status == 503, "{error}");
            let page = back.text().await.unwrap().replace("&#x27;", "&#39;");
            assert!(page.contains(says) && page.contains("Sign in with Keycloak"), "{error}: {page}");
        }
    }
    let failed = provider.server.sqlite3("SELECT count(*) FROM audit WHERE event = 'login.failed'");
    assert_eq!(failed, "0");
    let done = person.signs_in(|_| {}).await;
    assert_eq!(done.status(), 303);
    assert!(set_cookies(&done)[0].starts_with(ACCESS));
}

#[tokio::test]
async fn a_link_that_is_cancelled_at_the_provider_leads_back_to_the_account() {
    let provider = TestProvider::open(keycloak());
    let person = provider.somebody();
    person.browser.log_in("ada").await;
    for (error, end) in [("access_denied", (303, "/auth/account")), ("server_error", (503, ""))] {
        let asked = person.post("/auth/provider/keycloak/link", json!({})).await;
        let said: serde_json::Value = asked.json().await.unwrap();
        let url = Url::parse(said["location"].as_str().unwrap()).unwrap();
        let state = query(&url)["state"].clone();
        let back = person.comes_back(&url, &[("error", error), ("state", &state)]).await;
        assert_eq!(ends(&back), end, "{error}");
    }
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM identities"), "0");
}

#[tokio::test]
async fn concurrent_requests_of_one_callback_begin_one_session_and_all_redirect_to_its_target() {
    let provider = TestProvider::open(keycloak());
    let person = provider.somebody();
    let url = opens_a_tab(&person, "/auth/sessions").await;
    let asked = query(&url);
    let before = person.browser.jar.logins();
    let code = provider.grant(&url, &provider.token(&asked["nonce"]));
    let answer = [("code", code.as_str()), ("state", asked["state"].as_str())];
    let all = futures_util::future::join_all((0..5).map(|_| person.comes_back(&url, &answer))).await;
    assert!(all.iter().all(|back| ends(back) == (303, "/auth/sessions")), "{all:?}");
    assert_eq!(all.iter().filter(|back| !set_cookies(back).is_empty()).count(), 1, "cookies are set once");
    assert_eq!(person.browser.status().await, 200);
    assert_eq!(provider.internet.asked(provider.profile.token_endpoint).len(), 1, "a code is redeemed once");

    // The answer to the first request was lost: the browser still has the old cookies and is not signed in.
    let retry = provider.somebody();
    for (name, value) in &before {
        retry.browser.jar.set(name, value);
    }
    // More attempts than the limit on failed attempts allows.
    for _ in 0..15 {
        let again = retry.comes_back(&url, &answer).await;
        assert_eq!((ends(&again), set_cookies(&again).len()), ((303, "/auth/sessions"), 0));
    }
    assert_eq!(retry.browser.status().await, 401);
    // With the old cookies and the new session, the page leads on to the target.
    for (name, value) in &before {
        person.browser.jar.set(name, value);
    }
    let late = person.comes_back(&url, &answer).await;
    assert_eq!((late.status().as_u16(), set_cookies(&late).len()), (401, 0));
    assert!(late.text().await.unwrap().contains("url=/auth/sessions"));
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM sessions"), "1");
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM audit WHERE event = 'login.failed'"), "0");

    let stranger = provider.somebody();
    assert_eq!(
        stranger.comes_back(&url, &answer).await.status(),
        401,
        "a browser without the login's cookie"
    );
}

#[tokio::test]
async fn concurrent_requests_of_a_linking_callback_all_lead_to_the_account() {
    let provider = TestProvider::open(keycloak());
    let person = provider.somebody();
    person.browser.log_in("ada").await;
    let asked = person.post("/auth/provider/keycloak/link", json!({})).await;
    let said: serde_json::Value = asked.json().await.unwrap();
    let url = Url::parse(said["location"].as_str().unwrap()).unwrap();
    let asked = query(&url);
    let code = provider.grant(&url, &provider.token(&asked["nonce"]));
    let answer = [("code", code.as_str()), ("state", asked["state"].as_str())];
    let all = futures_util::future::join_all((0..3).map(|_| person.comes_back(&url, &answer))).await;
    assert!(all.iter().all(|back| ends(back) == (303, "/auth/account")), "{all:?}");
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM identities"), "1");
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM audit WHERE event = 'login.failed'"), "0");
}

#[tokio::test]
async fn the_error_of_a_callback_names_a_repeated_parameter() {
    let provider = TestProvider::open(keycloak());
    let person = provider.somebody();
    let url = person.leaves().await;
    for name in ["code", "state", "error", "iss"] {
        let back = person.comes_back(&url, &[(name, "x"), (name, "y")]).await;
        assert_eq!(back.status(), 400, "{name}");
        let page = back.text().await.unwrap();
        assert!(
            page.contains("<html") && page.contains(&format!("The parameter {name} is given more")),
            "{page}"
        );
    }
}

#[tokio::test]
async fn reloading_a_refused_login_is_no_new_attempt_and_shows_the_same_page() {
    let mut profile = keycloak();
    profile.settings = "[provider.keycloak]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                        issuer = 'https://login.example.org/realms/main'\nlabel = 'Keycloak'";
    let provider = TestProvider::open(profile);
    let person = provider.somebody();
    let failed = || provider.server.sqlite3("SELECT count(*) FROM audit WHERE event = 'login.failed'");
    let asked = || provider.internet.asked(provider.profile.token_endpoint).len();
    // A code that the provider refuses, and an identity that no user has.
    for (granted, status, says) in
        [(false, 401, "Please try again"), (true, 403, "No user of this server has this identity")]
    {
        let url = person.leaves().await;
        let asks = query(&url);
        let code = match granted {
            true => provider.grant(&url, &provider.token(&asks["nonce"])),
            false => "invented".to_owned(),
        };
        let (failed_before, asked_before) = (failed(), asked());
        for _ in 0..15 {
            let back = person.comes_back(&url, &[("code", &code), ("state", &asks["state"])]).await;
            assert_eq!((back.status().as_u16(), set_cookies(&back).len()), (status, 0));
            let page = back.text().await.unwrap();
            assert!(page.contains(says), "{page}");
        }
        assert_eq!(asked(), asked_before + 1, "the provider is asked once");
        let more = failed().parse::<u32>().unwrap() - failed_before.parse::<u32>().unwrap();
        assert_eq!(more, u32::from(!granted), "one attempt");
        // Another code counts as another attempt.
        let guess = person.comes_back(&url, &[("code", "a guess"), ("state", &asks["state"])]).await;
        assert_eq!(guess.status(), 401);
        assert_eq!(asked(), asked_before + 2);
    }
    // If the provider cannot be reached, the next request asks it again.
    let url = person.leaves().await;
    let asks = query(&url);
    let code = provider.grant(&url, &provider.token(&asks["nonce"]));
    provider.internet.at(provider.profile.token_endpoint, |_| Reply::Error(503, json!({})));
    let answer = [("code", code.as_str()), ("state", asks["state"].as_str())];
    assert_eq!(person.comes_back(&url, &answer).await.status(), 503);
    provider.build();
    assert_eq!(person.comes_back(&url, &answer).await.status(), 403, "nobody has this identity");
}

#[tokio::test]
async fn concurrent_requests_of_one_callback_at_two_nodes_begin_one_session() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let provider = TestProvider::open(keycloak());
    let other = provider.server.beside();
    // Both nodes have the provider's keys.
    assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 303);
    let person = provider.somebody();
    let url = opens_a_tab(&person, "/auth/sessions").await;
    let asked = query(&url);
    let token = provider.token(&asked["nonce"]).text();
    let times = AtomicU32::new(0);
    provider.internet.at(provider.profile.token_endpoint, move |_| {
        match times.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Json(json!({"id_token": token, "token_type": "bearer"})),
            _ => Reply::Error(400, json!({"error": "invalid_grant"})),
        }
    });
    let answer = [("code", "once"), ("state", asked["state"].as_str())];
    let back = Url::parse_with_params("x:/auth/provider/keycloak/callback", answer).unwrap();
    let there = format!("{}{}?{}", other.origin, back.path(), back.query().unwrap());
    let there = person.browser.client.get(there).header("cookie", person.browser.jar.header());
    let there = there.header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "navigate");
    let there = there.header("accept", "text/html").header("x-forwarded-for", &person.address);
    let (here, there) = tokio::join!(person.comes_back(&url, &answer), there.send());
    let there = there.unwrap();
    let (first, second) = if !set_cookies(&here).is_empty() { (here, there) } else { (there, here) };
    assert_eq!(ends(&first), (303, "/auth/sessions"));
    assert_eq!((ends(&second), set_cookies(&second).len()), ((303, "/auth/sessions"), 0));
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM sessions"), "2");
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM audit WHERE event = 'login.failed'"), "0");
}
