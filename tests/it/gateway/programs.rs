//! The streams of programs: they end when the token of the program does.

use std::time::{Duration, Instant};

use reqwest::Method;

use super::{
    ada, configured,
    streams::{WEBSOCKET, cut_rows, frame, open},
};
use crate::support::{
    app::SampleApp,
    server::{Server, eventually},
};

fn server(app: &SampleApp) -> Server {
    let access = "access = ['login', 'apps', 'machines']\nscopes = ['api']";
    configured(&format!("[[upstream]]\nurl = '{}'\n{access}\n", app.url))
}

/// Opens an event stream and a WebSocket with a token, and checks that both end within a second after `end` has been called.
async fn both_end(server: &Server, what: &str, token: &str, end: impl AsyncFnOnce()) {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let mut events = open(server, "/events", &bearer);
    let mut socket = open(server, "/ws", &format!("{bearer}{WEBSOCKET}"));
    let mut seen = String::new();
    while !seen.contains("data: 1") {
        seen += &events.read();
    }
    let answer = socket.read();
    assert!(answer.starts_with("HTTP/1.1 101"), "{what}: {answer}");
    socket.send(&frame("hello"));
    assert!(socket.read().ends_with("hello"));
    let before: u64 = cut_rows(server).parse().unwrap();
    let called = Instant::now();
    end().await;
    let took = called.elapsed();
    tokio::task::spawn_blocking(move || {
        socket.read_to_end();
        let rest = events.read_to_end();
        assert!(!rest.contains("\r\n0\r\n\r\n"), "the end of the stream must not look complete");
    })
    .await
    .unwrap();
    assert!(called.elapsed() < took + Duration::from_secs(1), "{what}: {:?}", called.elapsed());
    eventually("the audit counts both", async || cut_rows(server) == (before + 2).to_string()).await;
}

#[tokio::test]
async fn the_streams_of_a_machine_end_when_its_token_or_its_client_is_revoked() {
    let Some(app) = SampleApp::start() else { return };
    let server = server(&app);
    for command in ["disable", "delete", "change", "revoke"] {
        let client = server.client(command, &["--scope", "api"]);
        let answer = client.service().await;
        let token = answer["access_token"].as_str().unwrap();
        both_end(&server, command, token, async || match command {
            "revoke" => assert_eq!(client.form("/oauth/revoke", &[("token", token)]).await.status(), 200),
            _ => {
                let mut line = vec!["client", command, &client.id];
                line.extend(if command == "change" { &["--scope", "other"][..] } else { &[] });
                let done = server.cli(&line);
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            }
        })
        .await;
    }
}

#[tokio::test]
async fn the_streams_of_an_app_end_with_its_client_or_with_the_session() {
    let Some(app) = SampleApp::start() else { return };
    let server = server(&app);
    for command in ["disable", "delete", "logout"] {
        let client = server.client(command, &["--scope", "api"]);
        let (browser, _) = ada(&server).await;
        let payload = serde_json::json!({"id": "1", "sid": browser.sid().await, "client_id": client.id, "scope": "api"});
        let sealed = server.cli(&["token", "seal", &payload.to_string()]);
        let token = String::from_utf8(sealed.stdout).unwrap();
        both_end(&server, command, token.trim(), async || {
            if command == "logout" {
                let request = browser.request(Method::POST, "/auth/logout").json(&serde_json::json!({}));
                assert!(browser.send(request).await.status().is_success());
            } else {
                assert!(server.cli(&["client", command, &client.id]).status.success());
            }
        })
        .await;
    }
}
