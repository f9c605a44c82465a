//! Tests the eight steps A to H of RFC 6749's figure 2, "Refreshing an Expired Access Token": between an authorization server
//! (Bulla), a resource server that has only the key of its audience, and a client.

use bulla::KeyFile;
use reqwest::Response;
use serde_json::Value;

use crate::support::{
    app::{Received, RecordingApp},
    code_flow::{BACK, code, redeem, refresh},
    oauth_client::{App, text},
    server::{Server, eventually},
};

const AUDIENCE: &str = "notes";
const INVALID_TOKEN: &str = r#"Bearer error="invalid_token""#;

/// The answer of the resource server. It opens the token with its own key, without a request to the authorization server.
fn note(request: &Received, keys: &KeyFile) -> Vec<u8> {
    let token = request.value("authorization").and_then(|header| header.strip_prefix("Bearer "));
    let (status, header, body) = match keys.open(token.unwrap_or_default()) {
        Ok(opened) => ("200 OK", "Content-Type: application/json".to_owned(), opened.payload),
        Err(_) => ("401 Unauthorized", format!("WWW-Authenticate: {INVALID_TOKEN}"), String::new()),
    };
    format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Exchanges a token for the authorization server for a token for the resource server (RFC 8693).
async fn for_notes(client: &App, token: &str) -> String {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", &client.id),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", token),
        ("audience", AUDIENCE),
    ];
    text(&json(client.post("/oauth/token").form(&form).send().await.unwrap()).await, "access_token")
        .to_owned()
}

async fn json(answer: Response) -> Value {
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_client_refreshes_an_expired_access_token_in_the_eight_steps_of_the_figure() {
    // A short lifetime, so that a token expires during the test.
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "5s"), ("BULLA_REPLAY_WINDOW", "1s")]);
    let rights = ["--public", "--scope", "read", "--audience", AUDIENCE, "--redirect-uri", BACK];
    let client = server.client("notepad", &rights);
    assert!(server.cli(&["keys", "export", "--audience", AUDIENCE, "--out", "notes.json"]).status.success());
    let keys = KeyFile::new(server.path("notes.json")).unwrap();
    let resource = RecordingApp::answering(move |request| note(request, &keys));
    let ask = async |token: &str| client.http.get(&resource.url).bearer_auth(token).send().await.unwrap();

    // A: the client presents its authorization grant: a code, and the verifier of the code.
    let browser = server.ada().await;
    let tokens = json(redeem(&client, &code(&server, &client, &browser).await, &[]).await).await;
    // B: it gets an access token and a refresh token.
    let first = for_notes(&client, text(&tokens, "access_token")).await;
    let refresh_token = text(&tokens, "refresh_token");
    // C and D: it presents the access token to the resource server, which accepts it.
    let read: Value = json(ask(&first).await).await;
    assert_eq!(text(&read, "client_id"), client.id);
    // E and F: it presents the access token until the resource server refuses it, because it has expired.
    eventually("the access token expires", async || ask(&first).await.status() != 200).await;
    let refused = ask(&first).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], INVALID_TOKEN);
    // G: it presents its refresh token to the authorization server.
    let renewed = json(refresh(&client, refresh_token, &[]).await).await;
    // H: it gets a new access token and a new refresh token.
    assert_ne!(text(&renewed, "refresh_token"), refresh_token);
    let second = for_notes(&client, text(&renewed, "access_token")).await;
    assert_eq!(ask(&second).await.status(), 200);
    assert_eq!(ask(&first).await.status(), 401);
}
