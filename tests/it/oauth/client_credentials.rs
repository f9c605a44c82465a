//! Tests the tokens that a client gets for itself, and what revokes them.

use serde_json::{Value, json};

use crate::support::{
    oauth_client::text,
    server::{ACCESS, Server, eventually},
};

#[tokio::test]
async fn a_machine_gets_its_own_token_and_may_do_what_its_scope_allows() {
    let server = Server::started(&[]);
    let (cron, reader) = (
        server.client("cron", &["--scope", "admin", "--scope", "jobs"]),
        server.client("reader", &["--scope", "read"]),
    );
    let answer = cron.token(&[("grant_type", "client_credentials")]).await;
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["pragma"], "no-cache", "RFC 6749, 5.1");
    let got: Value = answer.json().await.unwrap();
    assert_eq!(
        (&got["token_type"], &got["expires_in"], &got["scope"]),
        (&json!("Bearer"), &json!(3600), &json!("admin jobs"))
    );
    let token = text(&got, "access_token");
    let opened = server.cli(&["token", "open", token, "--purpose", "service"]);
    let opened: Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert_eq!(
        (&opened["id"], &opened["scope"]),
        (&json!(format!("client:{}", cron.id)), &json!("admin jobs"))
    );
    assert_eq!(text(&opened, "sid").len(), 22);
    assert_eq!(
        server.sqlite3("SELECT subject FROM audit WHERE event = 'service.issued'"),
        text(&opened, "sid")
    );

    assert_eq!(cron.admin(token, "/admin/users").await, 200);
    let narrowed: Value =
        cron.token(&[("grant_type", "client_credentials"), ("scope", "jobs")]).await.json().await.unwrap();
    assert_eq!(narrowed["scope"], "jobs");
    assert_eq!(cron.admin(text(&narrowed, "access_token"), "/admin/users").await, 403);
    assert_eq!(reader.admin(text(&reader.service().await, "access_token"), "/admin/users").await, 403);

    // The token does not stand for a person: it is refused in a cookie, and on every route that does not admit machines.
    assert_eq!(cron.admin(token, "/auth/session").await, 401);
    let browser = server.browser();
    browser.jar.set(ACCESS, token);
    assert_eq!(browser.status().await, 401);
    assert_eq!(browser.get("/admin/users").await.status(), 401);
    let by: Value = cron
        .http
        .post(format!("{}/admin/users", server.origin))
        .bearer_auth(token)
        .json(&json!({"name": "made-by-cron"}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        server.sqlite3(&format!(
            "SELECT actor FROM audit WHERE event = 'user.added' AND subject = '{}'",
            text(&by, "id")
        )),
        format!("client:{}", cron.id)
    );
}

#[tokio::test]
async fn every_reduction_of_a_clients_rights_revokes_its_tokens() {
    let server = Server::started(&[]);
    for (name, by) in [
        ("scopes", "UPDATE clients SET scopes = '[\"admin\", \"x\"]' WHERE name = 'scopes'"),
        ("audiences", "UPDATE clients SET audiences = '[\"billing\"]' WHERE name = 'audiences'"),
        ("secret", "UPDATE clients SET secret_hash = randomblob(32) WHERE name = 'secret'"),
        ("disabled", "UPDATE clients SET disabled = 1 WHERE name = 'disabled'"),
        ("deleted", "DELETE FROM clients WHERE name = 'deleted'"),
        (
            "replaced",
            "INSERT OR REPLACE INTO clients (id, name, scopes, created_at) SELECT id, name, scopes, created_at FROM clients WHERE name = 'replaced'",
        ),
        (
            "renamed over",
            "UPDATE OR REPLACE clients SET id = (SELECT id FROM clients WHERE name = 'renamed over') WHERE name = 'secret'",
        ),
    ] {
        let app = server.client(name, &["--scope", "admin"]);
        let token = text(&app.service().await, "access_token").to_owned();
        assert_eq!(app.admin(&token, "/admin/keys").await, 200, "{name}");
        server.sqlite3(by);
        let took = eventually(name, || async { app.admin(&token, "/admin/keys").await == 401 }).await;
        println!("{name}: in force after {took:?}");
    }
    let app = server.client("addresses", &["--scope", "admin"]);
    let token = text(&app.service().await, "access_token").to_owned();
    let changed =
        server.cli(&["client", "change", "addresses", "--redirect-uri", "https://app.example/back"]);
    assert!(changed.status.success());
    assert_eq!(app.admin(&token, "/admin/keys").await, 200, "an address takes nothing away");
    assert_eq!(server.cli(&["client", "change", "addresses"]).status.code(), Some(2), "to what?");
}
