//! Tests a running server whose triggers are missing, or whose rows were written by hand.

use serde_json::Value;

use crate::support::server::{ACCESS, Server, eventually, sqlite3};

#[tokio::test]
async fn a_server_without_its_triggers_is_not_ready_until_init_creates_them() {
    let server = Server::started(&[]);
    assert_eq!(server.readiness().await.1["checks"]["triggers"], true);
    for change in [
        "DROP TRIGGER session_deleted",
        "DROP TRIGGER session_changed; CREATE TRIGGER session_changed AFTER DELETE ON sessions BEGIN SELECT 1; END",
    ] {
        server.sqlite3(change);
        eventually("not ready", || async { server.readiness().await.0 == 503 }).await;
        assert_eq!(server.readiness().await.1["checks"]["triggers"], false);
        let doctor = server.cli(&["doctor"]);
        assert!(
            String::from_utf8_lossy(&doctor.stdout).contains("`bulla init` restores the triggers"),
            "{doctor:?}"
        );
        let init = server.cli(&["init"]);
        assert!(init.status.success(), "{init:?}");
        assert!(String::from_utf8_lossy(&init.stderr).contains("restored the triggers session_"), "{init:?}");
        eventually("ready again", || async { server.readiness().await.0 == 200 }).await;
    }
    let said = server.stderr();
    assert!(
        said.contains("session_deleted") && said.contains("`bulla init` restores the triggers"),
        "{said}"
    );
}

#[tokio::test]
async fn an_unreadable_row_blocks_no_other_user_and_its_owner_can_end_it() {
    let server = Server::started(&[]);
    let (admin, bad, other) = (server.ada().await, server.ada().await, server.ada().await);
    let sid = bad.sid().await;
    let refused = std::process::Command::new("sqlite3")
        .arg(server.path("bulla.db"))
        .arg("UPDATE sessions SET expires_at = datetime('now')")
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Unix time in milliseconds"), "{refused:?}");

    server.sqlite3(&format!(
        "DROP TRIGGER session_made_unreadable; UPDATE sessions SET transport = 'xyz' WHERE sid = '{sid}'"
    ));
    assert!(server.cli(&["init"]).status.success());
    let list = server.cli(&["session", "list"]);
    assert!(list.status.success() && !String::from_utf8_lossy(&list.stdout).contains(&sid));
    assert!(String::from_utf8_lossy(&list.stderr).contains("1 row can't be read"), "{list:?}");
    let doctor = String::from_utf8(server.cli(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains(&format!("DELETE FROM sessions WHERE sid = '{sid}';")), "{doctor}");
    for path in ["/auth/sessions", "/admin/sessions"] {
        assert_eq!(admin.get(path).await.status(), 200, "{path}");
    }
    assert_eq!(server.ada().await.status().await, 200, "a login");
    let thief = server.browser();
    thief.jar.set(ACCESS, &bad.jar.get(ACCESS).unwrap());
    bad.jar.remove(ACCESS);
    assert_eq!(bad.status().await, 401, "a row that can't be read lets nobody in");
    assert_eq!(bad.post("/auth/logout", serde_json::json!({})).await.status(), 204);
    assert_eq!(thief.status().await, 401, "and a logout ends it, its access token too");
    assert_eq!(server.sqlite3(&format!("SELECT count(*) FROM sessions WHERE sid = '{sid}'")), "0");

    server.sqlite3("DROP TRIGGER session_made_unreadable; UPDATE sessions SET transport = 'xyz'");
    assert!(server.cli(&["session", "revoke", "--all"]).status.success());
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
    eventually("all ended", || async { other.status().await == 401 }).await;
}

#[tokio::test]
async fn a_client_inserted_by_hand_without_a_secret_gets_no_token() {
    let server = Server::started(&[]);
    sqlite3(
        &server.path("bulla.db"),
        "INSERT INTO clients (id, name, scopes, created_at) VALUES ('typed', 'Typed', '[\"read\"]', 1)",
    );
    let ask = async |form: &[(&str, &str)]| {
        let client = reqwest::Client::new();
        client
            .post(format!("{}/oauth/token", server.origin))
            .form(form)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let code =
        [("grant_type", "authorization_code"), ("code", "x"), ("client_id", "typed"), ("code_verifier", "x")];
    assert_eq!(ask(&code).await, 401, "it can't prove who it is");
    let secret = server.cli(&["client", "rotate-secret", "Typed", "--json"]);
    let secret: Value = serde_json::from_slice(&secret.stdout).unwrap();
    let secret = secret["client_secret"].as_str().unwrap();
    let own = [("grant_type", "client_credentials"), ("client_id", "typed"), ("client_secret", secret)];
    assert_eq!(ask(&own).await, 200);
    assert!(server.cli(&["user", "list"]).status.success());
}
