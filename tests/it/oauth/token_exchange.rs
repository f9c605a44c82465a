//! Tests token exchange: a token for another audience, and who can open it.

use bulla::internals::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::support::{
    oauth_client::{is, refused, text},
    server::{ACCESS, Server},
};

#[tokio::test]
async fn an_exchanged_token_has_no_wider_scope_no_later_end_and_cannot_be_exchanged() {
    let server = Server::started(&[]);
    let gateway = server.client(
        "gateway",
        &["--scope", "read", "--scope", "write", "--audience", "billing", "--audience", "shop"],
    );
    let ada = server.ada().await;
    let access = ada.jar.get(ACCESS).unwrap();
    let kind = "urn:ietf:params:oauth:token-type:access_token";

    // The times of tokens are compared in whole seconds below: a token that is sealed now has another time than the first one.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let got: Value = gateway.exchange(&access, "billing", &[("scope", "read")]).await.json().await.unwrap();
    assert_eq!(
        (text(&got, "issued_token_type"), text(&got, "scope"), text(&got, "token_type")),
        (kind, "read", "Bearer")
    );
    assert!((100..=120).contains(&got["expires_in"].as_u64().unwrap()));
    let narrow = text(&got, "access_token").to_owned();
    let open = |token: &str, audience: &str| {
        let opened = server.cli(&["token", "open", token, "--audience", audience]);
        serde_json::from_slice::<Value>(&opened.stdout).ok()
    };
    let payload = open(&narrow, "billing").unwrap();
    assert_eq!(
        (&payload["id"], &payload["scope"], &payload["client_id"]),
        (&json!("1"), &json!("read"), &json!(gateway.id))
    );
    assert_eq!(payload["sid"].as_str().unwrap(), ada.sid().await);
    assert!(open(&narrow, "shop").is_none() && open(&narrow, "").is_none());
    assert_eq!(gateway.admin(&narrow, "/auth/session").await, 401, "it is not for this server");
    let age = |token: &str, audience: &str| {
        let shown = server.cli(&["--json", "token", "inspect", token, "--audience", audience]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        shown["issued_at"].clone()
    };
    assert!(!age(&narrow, "billing").is_null());
    assert_eq!(age(&narrow, "billing"), age(&access, ""), "as old as what it was made from");

    let wide = gateway.exchange(&access, "billing", &[("scope", "read admin")]).await;
    assert_eq!(refused(wide).await, is(400, "invalid_scope"));
    assert_eq!(refused(gateway.exchange(&access, "warehouse", &[]).await).await, is(400, "invalid_target"));
    assert_eq!(refused(gateway.exchange(&access, "", &[]).await).await, is(400, "invalid_request"));
    assert_eq!(
        refused(gateway.exchange(&access, "billing", &[("resource", "https://x.example")]).await).await,
        is(400, "invalid_target")
    );
    assert_eq!(
        refused(gateway.exchange(&access, "billing", &[("actor_token", "x")]).await).await,
        is(400, "invalid_request")
    );
    assert_eq!(
        refused(
            gateway
                .exchange(
                    &access,
                    "billing",
                    &[("requested_token_type", "urn:ietf:params:oauth:token-type:jwt")]
                )
                .await
        )
        .await,
        is(400, "invalid_request")
    );
    assert_eq!(
        refused(gateway.exchange(&narrow, "shop", &[]).await).await,
        is(400, "invalid_grant"),
        "not twice"
    );
    assert_eq!(refused(gateway.exchange("nonsense", "shop", &[]).await).await, is(400, "invalid_grant"));

    // The new token contains neither a role that was added after `access` was issued, nor one that was removed.
    server.sqlite3("UPDATE users SET roles = '[\"owner\"]' WHERE id = 1");
    let got: Value = gateway.exchange(&access, "billing", &[]).await.json().await.unwrap();
    assert_eq!(open(text(&got, "access_token"), "billing").unwrap().get("roles"), None);
    // The same holds for claims, and for a claim whose value has changed.
    server.sqlite3(r#"UPDATE users SET claims = '{"plan": "team", "site": "a"}' WHERE id = 1"#);
    ada.jar.remove(ACCESS);
    assert_eq!(ada.status().await, 200);
    let access = ada.jar.get(ACCESS).unwrap();
    server.sqlite3(r#"UPDATE users SET claims = '{"plan": "all", "site": "a", "new": 1}' WHERE id = 1"#);
    let got: Value = gateway.exchange(&access, "billing", &[]).await.json().await.unwrap();
    let payload = open(text(&got, "access_token"), "billing").unwrap();
    assert_eq!((&payload["site"], payload.get("plan"), payload.get("new")), (&json!("a"), None, None));

    // A machine's token is still a machine's token after the exchange.
    let cron = server.client("cron", &["--scope", "read", "--scope", "admin"]);
    let service = text(&cron.service().await, "access_token").to_owned();
    let got: Value = gateway.exchange(&service, "billing", &[]).await.json().await.unwrap();
    assert_eq!(text(&got, "scope"), "read", "what both may");
    let opened = server.cli(&[
        "token",
        "open",
        text(&got, "access_token"),
        "--audience",
        "billing",
        "--purpose",
        "service",
    ]);
    let opened: Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert_eq!(text(&opened, "id"), format!("client:{}", cron.id));

    // A token of a revoked session can't be exchanged.
    assert!(server.cli(&["session", "revoke", "--all"]).status.success());
    assert_eq!(refused(gateway.exchange(&access, "billing", &[]).await).await, is(400, "invalid_grant"));
}

#[tokio::test]
async fn a_key_of_one_audience_opens_tokens_of_no_other() {
    use bulla::internals::token::{KeyExport, OpenBuffer};
    let server = Server::started(&[]);
    let gateway = server.client("gateway", &["--audience", "billing", "--audience", "shop"]);
    let ada = server.ada().await;
    let access = ada.jar.get(ACCESS).unwrap();
    let refresh = ada.jar.get(crate::support::server::REFRESH).unwrap();
    let exported = server.cli(&["keys", "export", "--purpose", "access", "--audience", "billing"]);
    let export = KeyExport::from_json(std::str::from_utf8(&exported.stdout).unwrap().trim()).unwrap();
    let (keys, now) = (export.keys(), SystemClock.now());
    let for_audience = |audience: &'static str| {
        let (gateway, access) = (&gateway, &access);
        async move {
            text(&gateway.exchange(access, audience, &[]).await.json().await.unwrap(), "access_token")
                .to_owned()
        }
    };
    let (billing, shop) = (for_audience("billing").await, for_audience("shop").await);
    let open = |token: &str| {
        keys.open_at(token, SystemClock.now(), export.max_age(), &mut OpenBuffer::new()).is_ok()
    };
    assert!(open(&billing));
    assert!(!open(&shop) && !open(&access) && !open(&refresh));
    let forged = keys.seal_at(r#"{"id":"1","sid":"AAAAAAAAAAAAAAAAAAAAAA","roles":["admin"]}"#, now).unwrap();
    assert!(open(forged.as_str()), "its own it can forge");
    for (purpose, audience) in
        [("access", "shop"), ("access", ""), ("refresh", ""), ("service", "billing"), ("code", "")]
    {
        let opened =
            server.cli(&["token", "open", forged.as_str(), "--purpose", purpose, "--audience", audience]);
        assert_eq!(opened.status.code(), Some(4), "{purpose} {audience}");
    }
    let browser = server.browser();
    browser.jar.set(ACCESS, forged.as_str());
    browser.jar.set(crate::support::server::REFRESH, forged.as_str());
    assert_eq!(browser.status().await, 401);
    let renewed = browser.post("/auth/refresh", json!({"refresh_token": forged.as_str()})).await;
    assert_eq!(renewed.status(), 401);
}
