//! Tests the metadata document, and that the OAuth routes ignore cookies.

use reqwest::Client;
use serde_json::Value;

use crate::support::{
    oauth_client::{is, refused, text},
    server::{Browser, Server},
};

#[tokio::test]
async fn metadata_takes_its_addresses_from_the_settings_and_not_from_the_request() {
    let server = Server::started(&[]);
    let url = format!("{}/.well-known/oauth-authorization-server", server.origin);
    let client = Client::new();
    let said: Value = client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(text(&said, "issuer"), server.origin);
    assert_eq!(text(&said, "token_endpoint"), format!("{}/oauth/token", server.origin));
    let forged = client.get(&url).header("host", "evil.example").send().await.unwrap();
    assert_eq!(forged.status(), 421);
    let port = server.origin.rsplit(':').next().unwrap();
    let twin = client
        .get(&url)
        .header("host", format!("127.0.0.1:{port}"))
        .header("x-forwarded-host", "evil.example");
    let twin: Value = twin.send().await.unwrap().json().await.unwrap();
    assert_eq!(text(&twin, "issuer"), server.origin);
    // Every endpoint that the metadata names exists.
    for (name, url) in said.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_endpoint")) {
        assert_ne!(client.get(url.as_str().unwrap()).send().await.unwrap().status(), 404, "{name}");
    }
    // A page of another origin may send requests, but without cookies.
    let asked = client
        .request(reqwest::Method::OPTIONS, text(&said, "token_endpoint"))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (asked.status().as_u16(), asked.headers()["access-control-allow-origin"].to_str().unwrap()),
        (204, "*")
    );
    assert!(asked.headers().get("access-control-allow-credentials").is_none());
    // Such a page can also read why a request is refused.
    let long = client.post(text(&said, "token_endpoint")).form(&[("scope", "x".repeat(20_000))]);
    for (status, refused) in [
        (405, client.get(text(&said, "token_endpoint")).send().await.unwrap()),
        (413, long.send().await.unwrap()),
    ] {
        assert_eq!(refused.status(), status);
        assert_eq!(refused.headers()["access-control-allow-origin"], "*", "{status}");
    }
}

#[tokio::test]
async fn oauth_routes_read_no_cookies() {
    let server = Server::started(&[]);
    let ada: Browser = server.ada().await;
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        let form = [("grant_type", "refresh_token"), ("token", "x")];
        let answer = ada.send(ada.request(reqwest::Method::POST, path).form(&form)).await;
        assert_eq!(refused(answer).await, is(401, "invalid_client"), "{path}");
    }
}
