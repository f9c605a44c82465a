//! The authorization code flow as an app performs it: the request, the redirect, and the exchange of the code.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Response;
use sha2::{Digest as _, Sha256};

use super::{
    oauth_client::{App, text},
    server::{Browser, Server, set_cookies},
};

pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub const BACK: &str = "https://app.example/back";

/// A public app that people sign in to, with the scopes `read` and `write`.
pub fn phone(server: &Server) -> App {
    server.client("phone", &["--public", "--scope", "read", "--scope", "write", "--redirect-uri", BACK])
}

/// The query of a valid authorization request with some parameters changed; an empty value removes the parameter.
pub fn query(app: &App, changed: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut all = vec![
        ("response_type", "code"),
        ("client_id", &app.id),
        ("redirect_uri", BACK),
        ("state", "s t&1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changed {
        all.retain(|(known, _)| known != name);
        if !value.is_empty() {
            all.push((name, value));
        }
    }
    let pairs = all.iter().map(|(name, value)| {
        format!("{name}={}", value.bytes().map(|b| format!("%{b:02X}")).collect::<String>())
    });
    pairs.collect::<Vec<_>>().join("&")
}

pub fn location(answer: &Response) -> String {
    assert_eq!(answer.status(), 303);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// The decoded value of a query parameter of an address.
pub fn parameter(address: &str, name: &str) -> Option<String> {
    let query = address.split_once('?')?.1;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    Some(value.replace('+', " ").replace("%3A", ":").replace("%2F", "/").replace("%26", "&"))
}

/// Follows an authorization request in the browser; returns the address to which the browser is sent back.
pub async fn through(browser: &Browser, query: &str) -> String {
    let onward = location(&browser.get(&format!("/oauth/authorize?{query}")).await);
    assert_eq!(onward, format!("/auth/authorize?{query}"));
    location(&browser.get(&onward).await)
}

pub async fn code(server: &Server, app: &App, browser: &Browser) -> String {
    let back = through(browser, &query(app, &[])).await;
    assert_eq!(parameter(&back, "state").as_deref(), Some("s t&1"));
    assert_eq!(parameter(&back, "iss").as_deref(), Some(server.origin.as_str()));
    parameter(&back, "code").unwrap()
}

/// Redeems a code; `changed` as in [`query`].
pub async fn redeem(app: &App, code: &str, changed: &[(&str, &str)]) -> Response {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("client_id", &app.id),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ];
    for (name, value) in changed {
        form.retain(|(known, _)| known != name);
        if !value.is_empty() {
            form.push((name, value));
        }
    }
    app.post("/oauth/token").form(&form).send().await.unwrap()
}

pub async fn refresh(app: &App, token: &str, more: &[(&str, &str)]) -> Response {
    let mut form = vec![("grant_type", "refresh_token"), ("client_id", &app.id), ("refresh_token", token)];
    form.extend(more);
    app.post("/oauth/token").form(&form).send().await.unwrap()
}

pub async fn error(answer: Response) -> String {
    assert_eq!(answer.status(), 400);
    assert!(set_cookies(&answer).is_empty());
    text(&answer.json().await.unwrap(), "error").to_owned()
}

/// The status of a request with an access token.
pub async fn who(server: &Server, token: &str) -> u16 {
    let request = server.browser().client.get(format!("{}/auth/session", server.origin)).bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}
