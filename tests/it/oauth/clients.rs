//! Tests OAuth over real HTTP: what clients get, what they are refused, and hostile requests.

use bulla::clock::{Clock as _, SystemClock};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::providers::signer::{P256, P256_STRANGER, RSA, SHORT, Signer, sign_with_secret};
use crate::support::server::{ACCESS, Browser, Server, eventually, set_cookies};

/// A client of the installation, as `bulla client add` printed it.
pub struct App {
    pub id: String,
    pub secret: String,
    pub origin: String,
    http: Client,
}

impl Server {
    /// Adds a client with the command line.
    pub fn client(&self, name: &str, arguments: &[&str]) -> App {
        let mut line = vec!["--json", "client", "add", name];
        line.extend(arguments);
        let added = self.cli(&line);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let shown: Value = serde_json::from_slice(&added.stdout).unwrap();
        App {
            id: shown["id"].as_str().unwrap().into(),
            secret: shown["client_secret"].as_str().unwrap_or_default().into(),
            origin: self.origin.clone(),
            http: Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
        }
    }
}

impl App {
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.origin))
    }

    /// Sends a form with the client's secret in the `Authorization` header.
    pub async fn form(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.post(path).basic_auth(&self.id, Some(&self.secret)).form(form).send().await.unwrap()
    }

    pub async fn token(&self, form: &[(&str, &str)]) -> Response {
        self.form("/oauth/token", form).await
    }

    /// Requests a service token.
    pub async fn service(&self) -> Value {
        let answer = self.token(&[("grant_type", "client_credentials")]).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    pub async fn exchange(&self, token: &str, audience: &str, more: &[(&str, &str)]) -> Response {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", token),
            ("audience", audience),
        ];
        form.extend(more);
        self.token(&form).await
    }

    pub async fn introspect(&self, token: &str) -> Value {
        let answer = self.form("/oauth/introspect", &[("token", token)]).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    pub async fn is_active(&self, token: &str) -> bool {
        self.introspect(token).await["active"].as_bool().unwrap()
    }

    /// The status of a request to an administrative route with a bearer token.
    async fn admin(&self, token: &str, path: &str) -> u16 {
        let request = self.http.get(format!("{}{path}", self.origin)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    }
}

pub fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}"))
}

/// The status and the OAuth error code of a refusal.
async fn refused(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(set_cookies(&answer).is_empty());
    let said: Value = answer.json().await.unwrap();
    (status, text(&said, "error").into())
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.into())
}

#[tokio::test]
async fn a_machine_gets_a_token_of_its_own_and_may_do_what_its_scope_says() {
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
async fn a_client_says_who_it_is_in_one_way_and_strangers_get_one_answer() {
    let server = Server::started(&[]);
    let cron = server.client("cron", &["--scope", "jobs"]);
    let phone = server.client("phone", &["--public", "--scope", "jobs"]);
    let grant = ("grant_type", "client_credentials");
    let ask = |basic: Option<(&str, &str)>, form: &[(&str, &str)]| {
        let request = cron.post("/oauth/token").form(form);
        let request = match basic {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        };
        async move { request.send().await.unwrap() }
    };
    let (id, secret) = (cron.id.as_str(), cron.secret.as_str());
    assert_eq!(ask(Some((id, secret)), &[grant]).await.status(), 200);
    assert_eq!(ask(Some((id, secret)), &[grant, ("client_id", id)]).await.status(), 200);
    assert_eq!(ask(None, &[grant, ("client_id", id), ("client_secret", secret)]).await.status(), 200);
    assert_eq!(
        ask(Some((id, secret)), &[grant, ("unknown", "x"), ("scope", "")]).await.status(),
        200,
        "unknown and empty ones are ignored"
    );

    // The secret in both header and body, and two different client ids.
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, ("client_secret", secret)]).await).await,
        is(400, "invalid_request")
    );
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, ("client_id", "other")]).await).await,
        is(400, "invalid_request")
    );
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, grant]).await).await,
        is(400, "invalid_request"),
        "repeated"
    );
    assert_eq!(refused(ask(Some((id, secret)), &[]).await).await, is(400, "invalid_request"));
    assert_eq!(
        refused(ask(Some((id, secret)), &[("grant_type", "password")]).await).await,
        is(400, "unsupported_grant_type")
    );
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, ("scope", "jobs admin")]).await).await,
        is(400, "invalid_scope"),
        "never granted"
    );
    assert_eq!(
        refused(ask(Some((id, secret)), &[grant, ("scope", "a\"b")]).await).await,
        is(400, "invalid_scope")
    );
    assert_eq!(
        refused(ask(None, &[grant, ("client_id", &phone.id)]).await).await,
        is(400, "unauthorized_client")
    );

    let mut bodies = Vec::new();
    let other = "A".repeat(43);
    for (id, secret) in [
        (id, other.as_str()),
        (id, "short"),
        (id, ""),
        ("nobody", secret),
        ("no/body", secret),
        (phone.id.as_str(), secret),
    ] {
        let answer = ask(Some((id, secret)), &[grant]).await;
        assert_eq!(answer.status(), 401, "{id} {secret}");
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
        bodies.push(answer.text().await.unwrap());
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    assert!(bodies[0].contains("client_id") && !bodies[0].contains("nobody"), "{}", bodies[0]);
    let in_body = ask(None, &[grant, ("client_id", id), ("client_secret", &other)]).await;
    assert!(in_body.headers().get("www-authenticate").is_none());
    assert_eq!(in_body.text().await.unwrap(), bodies[0]);
    assert_eq!(refused(ask(None, &[grant]).await).await, is(401, "invalid_client"));
    assert_eq!(
        refused(ask(None, &[grant, ("client_id", id)]).await).await,
        is(401, "invalid_client"),
        "without its secret"
    );

    let get = cron
        .http
        .get(format!("{}/oauth/token?grant_type=client_credentials", server.origin))
        .send()
        .await
        .unwrap();
    assert_eq!((get.status().as_u16(), get.headers()["allow"].to_str().unwrap()), (405, "POST"));
    let json = cron
        .post("/oauth/token")
        .basic_auth(id, Some(secret))
        .json(&json!({"grant_type": "client_credentials"}));
    assert_eq!(refused(json.send().await.unwrap()).await, is(400, "invalid_request"));
    assert!(!server.stderr().contains(secret));
}

#[tokio::test]
async fn guessing_a_clients_secret_is_throttled() {
    let server = Server::started(&[("BULLA_TRUSTED_PROXIES", "127.0.0.1")]);
    let cron = server.client("cron", &[]);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = cron
            .post("/oauth/token")
            .basic_auth("somebody", Some("x"))
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await
            .unwrap();
        let wait = answer.headers().get("retry-after").is_some();
        assert_eq!(answer.status() == 429, wait);
        statuses.push(answer.status().as_u16());
    }
    assert!(
        statuses[..10].iter().all(|status| *status == 401) && statuses[11..].contains(&429),
        "{statuses:?}"
    );
    assert_eq!(
        server.sqlite3("SELECT DISTINCT subject FROM audit WHERE event = 'client.failed'"),
        "client:somebody"
    );
    let from = |address: &str, secret: &str| {
        let request = cron.post("/oauth/token").header("x-forwarded-for", address);
        let request =
            request.basic_auth(&cron.id, Some(secret)).form(&[("grant_type", "client_credentials")]);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    for n in 0..30 {
        assert_eq!(from(&format!("203.0.113.{n}"), "x").await, 401);
    }
    assert_eq!(from("192.0.2.1", &cron.secret).await, 200, "strangers elsewhere keep nobody out");
}

#[tokio::test]
async fn two_secrets_overlap_for_a_change_and_a_stolen_one_ends_at_once() {
    let server = Server::started(&[]);
    let mut cron = server.client("cron", &["--scope", "admin"]);
    let first = cron.secret.clone();
    let before = text(&cron.service().await, "access_token").to_owned();
    let rotate = |arguments: &[&str]| {
        let mut line = vec!["--json", "client", "rotate-secret", "cron"];
        line.extend(arguments);
        let shown: Value = serde_json::from_slice(&server.cli(&line).stdout).unwrap();
        text(&shown, "client_secret").to_owned()
    };
    cron.secret = rotate(&[]);
    assert_ne!(cron.secret, first);
    cron.service().await;
    let second = std::mem::replace(&mut cron.secret, first.clone());
    cron.service().await;
    assert_eq!(cron.admin(&before, "/admin/keys").await, 200, "an overlap takes no token along");
    assert_eq!(server.sqlite3("SELECT count(*) FROM revocations"), "0");

    // The former secret has expired.
    server.sqlite3("UPDATE clients SET former_until = created_at");
    assert_eq!(
        refused(cron.token(&[("grant_type", "client_credentials")]).await).await,
        is(401, "invalid_client")
    );
    eventually("ending it early revokes", || async { cron.admin(&before, "/admin/keys").await == 401 }).await;

    cron.secret = second;
    let token = text(&cron.service().await, "access_token").to_owned();
    let third = rotate(&["--now"]);
    assert_eq!(
        refused(cron.token(&[("grant_type", "client_credentials")]).await).await,
        is(401, "invalid_client")
    );
    eventually("a stolen secret's tokens go with it", || async {
        cron.admin(&token, "/admin/keys").await == 401
    })
    .await;
    cron.secret = third;
    let token = text(&cron.service().await, "access_token").to_owned();
    assert_eq!(cron.admin(&token, "/admin/keys").await, 200);
    let stored = server.sqlite3("SELECT length(secret_hash) FROM clients");
    assert_eq!(stored, "32", "of the secret only a digest is kept");
}

#[tokio::test]
async fn whatever_takes_a_client_something_away_revokes_its_tokens() {
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

#[tokio::test]
async fn a_token_for_another_audience_is_narrower_and_no_younger_and_goes_no_further() {
    let server = Server::started(&[]);
    let gateway = server.client(
        "gateway",
        &["--scope", "read", "--scope", "write", "--audience", "billing", "--audience", "shop"],
    );
    let ada = server.ada().await;
    let access = ada.jar.get(ACCESS).unwrap();
    let kind = "urn:ietf:params:oauth:token-type:access_token";

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
async fn the_holder_of_one_audiences_key_opens_that_audience_and_nothing_else() {
    use bulla::token::{KeyExport, OpenBuffer};
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

#[tokio::test]
async fn a_client_gives_back_what_is_its_own_and_twice_is_as_good_as_once() {
    let server = Server::started(&[]);
    let (cron, other) =
        (server.client("cron", &["--scope", "admin"]), server.client("other", &["--scope", "admin"]));
    let token = text(&cron.service().await, "access_token").to_owned();
    let kept = text(&cron.service().await, "access_token").to_owned();
    let ada = server.ada().await;
    for foreign in [
        token.as_str(),
        &ada.jar.get(ACCESS).unwrap(),
        &ada.jar.get(crate::support::server::REFRESH).unwrap(),
        "nonsense",
    ] {
        let answer = other.form("/oauth/revoke", &[("token", foreign)]).await;
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, "{}".to_owned()));
    }
    assert_eq!(
        (cron.admin(&token, "/admin/keys").await, ada.status().await),
        (200, 200),
        "another's: no effect"
    );
    for _ in 0..2 {
        let answer =
            cron.form("/oauth/revoke", &[("token", &token), ("token_type_hint", "refresh_token")]).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(cron.admin(&token, "/admin/keys").await, 401, "in the same process: the next request");
    }
    assert_eq!(cron.admin(&kept, "/admin/keys").await, 200, "the client's other tokens go on");
    assert_eq!(server.sqlite3("SELECT count(*) FROM audit WHERE event = 'service.revoked'"), "1");
    assert_eq!(refused(cron.form("/oauth/revoke", &[]).await).await, is(400, "invalid_request"));
    let nobody = cron.post("/oauth/revoke").form(&[("token", &kept)]).send().await.unwrap();
    assert_eq!(refused(nobody).await, is(401, "invalid_client"));
}

#[tokio::test]
async fn introspection_tells_those_whom_a_token_is_for() {
    let server = Server::started(&[]);
    let cron = server.client("cron", &["--scope", "jobs"]);
    let billing = server.client("billing", &["--audience", "billing", "--scope", "read"]);
    let shop = server.client("shop", &["--audience", "shop"]);
    let gate = server.client("gate", &["--scope", "introspect"]);
    let ada = server.ada().await;
    let access = ada.jar.get(ACCESS).unwrap();

    let service = text(&cron.service().await, "access_token").to_owned();
    let said = cron.introspect(&service).await;
    assert_eq!(
        (&said["active"], &said["client_id"], &said["scope"]),
        (&json!(true), &json!(cron.id), &json!("jobs"))
    );
    assert_eq!(
        (&said["iss"], text(&said, "sub")),
        (&json!(server.origin), format!("client:{}", cron.id).as_str())
    );
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
    assert!(!billing.is_active(&service).await);

    assert!(!billing.is_active(&access).await, "a cookie's token is nobody's business");
    let said = gate.introspect(&access).await;
    assert_eq!(
        (text(&said, "username"), text(&said, "sub"), &said["roles"]),
        ("ada", "1", &json!(["admin"]))
    );
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 120);

    let exchanged =
        text(&billing.exchange(&access, "billing", &[]).await.json().await.unwrap(), "access_token")
            .to_owned();
    let said = billing.introspect(&exchanged).await;
    assert_eq!(
        (text(&said, "aud"), text(&said, "username"), text(&said, "scope")),
        ("billing", "ada", "read")
    );
    assert!(!shop.is_active(&exchanged).await && !gate.is_active(&exchanged).await);
    server.sqlite3("UPDATE users SET roles = '[\"owner\"]' WHERE id = 1");
    for said in [gate.introspect(&access).await, billing.introspect(&exchanged).await] {
        assert_eq!((&said["active"], &said["roles"]), (&json!(true), &json!([])), "a role that has gone");
    }

    let phone = server.client("phone", &["--public"]);
    let by_public = phone
        .post("/oauth/introspect")
        .form(&[("token", access.as_str()), ("client_id", &phone.id)])
        .send()
        .await
        .unwrap();
    assert_eq!(refused(by_public).await, is(401, "invalid_client"));
    let by_nobody = phone.post("/oauth/introspect").form(&[("token", &access)]).send().await.unwrap();
    assert_eq!(refused(by_nobody).await, is(401, "invalid_client"));
    let by_bearer = phone
        .post("/oauth/introspect")
        .bearer_auth(&access)
        .form(&[("token", &access)])
        .send()
        .await
        .unwrap();
    assert_eq!(refused(by_bearer).await, is(401, "invalid_client"));
}

#[tokio::test]
async fn metadata_says_where_things_are_by_the_settings_and_not_by_the_request() {
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

#[tokio::test]
async fn clients_are_administered_by_people_and_machines() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let phone = server.client("phone", &["--public"]);
    let path = format!("/admin/clients/{}", phone.id);
    assert_eq!(ada.post(&format!("{path}/secret"), json!({})).await.status(), 409, "a public one stays so");
    let keys = ada.request(reqwest::Method::PATCH, &path).json(&json!({"jwks": P256.jwk()}));
    assert_eq!(ada.send(keys).await.status(), 409);
    assert_eq!(ada.delete(&path).await.status(), 204);
    server.sqlite3("DELETE FROM audit WHERE event LIKE 'client.%'");
    let added = ada
        .post("/admin/clients", json!({"name": "cron", "scopes": ["admin"], "audiences": ["billing"]}))
        .await;
    assert_eq!(added.status(), 201);
    let added: Value = added.json().await.unwrap();
    let (id, secret) = (text(&added, "id").to_owned(), text(&added, "client_secret").to_owned());
    let path = format!("/admin/clients/{id}");
    let shown: Value = ada.get(&path).await.json().await.unwrap();
    assert!(shown["client_secret"].is_null() && !shown.to_string().contains(&secret), "shown once");
    let listed: Value = ada.get("/admin/clients").await.json().await.unwrap();
    assert_eq!(listed["clients"][0], shown);
    assert_eq!(ada.post("/admin/clients", json!({"name": "cron"})).await.status(), 409);
    for bad in [
        json!({"name": ""}),
        json!({"name": "a\nb"}),
        json!({"name": "x", "scopes": ["a b"]}),
        json!({"name": "x", "audiences": ["Billing"]}),
        json!({"name": "x", "audiences": [""]}),
        json!({"name": "x", "redirect_uris": ["http://app.example/"]}),
        json!({"name": "x", "redirect_uris": ["javascript:alert(1)"]}),
    ] {
        assert_eq!(ada.post("/admin/clients", bad.clone()).await.status(), 422, "{bad}");
    }
    let cron = App { id: id.clone(), secret, origin: server.origin.clone(), http: Client::new() };
    let token = text(&cron.service().await, "access_token").to_owned();
    assert_eq!(cron.admin(&token, &path).await, 200);
    let rotated: Value =
        ada.post(&format!("{path}/secret"), json!({"overlap": 60})).await.json().await.unwrap();
    assert!(rotated["former_secret_until"].is_i64() && text(&rotated, "client_secret") != cron.secret);
    assert_eq!(cron.admin(&token, &path).await, 200);
    let patched = ada.send(ada.request(reqwest::Method::PATCH, &path).json(&json!({"disabled": true}))).await;
    assert_eq!(patched.status(), 200);
    assert_eq!(cron.admin(&token, &path).await, 401, "in the same process: the next request");
    assert_eq!(
        refused(cron.token(&[("grant_type", "client_credentials")]).await).await,
        is(401, "invalid_client")
    );
    assert_eq!(ada.delete(&path).await.status(), 204);
    assert_eq!(
        (
            ada.delete(&path).await.status().as_u16(),
            ada.get("/admin/clients/no%2Fbody").await.status().as_u16()
        ),
        (404, 404)
    );
    server.add_user("bob", &[]);
    let bob = server.browser();
    bob.log_in("bob").await;
    assert_eq!(bob.get("/admin/clients").await.status(), 403);
    let events = server.sqlite3(
        "SELECT group_concat(event, ' ') FROM audit WHERE event LIKE 'client.%' AND event <> 'client.failed'",
    );
    assert_eq!(events, "client.added client.secret client.disabled client.deleted");
}

#[tokio::test]
async fn an_administrator_changes_a_clients_keys_and_is_told_what_is_wrong_with_bad_ones() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let app = server.client("signer", &["--scope", "read"]);
    let patch = |jwks: Value| {
        let path = format!("/admin/clients/{}", app.id);
        ada.send(ada.request(reqwest::Method::PATCH, &path).json(&json!({"jwks": jwks})))
    };
    let now = SystemClock.now().millis() / 1000;
    let asserts = |key: &'static Signer, jti: &str| {
        let claims = json!({"iss": app.id, "sub": app.id, "aud": server.origin, "exp": now + 60, "jti": jti});
        let assertion = key.sign(&json!({"alg": key.algorithm(), "kid": key.kid}), &claims);
        let request = app.post("/oauth/token").form(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ]);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(app.token(&[("grant_type", "client_credentials")]).await.status(), 200);
    assert_eq!(asserts(&P256, "1").await, 401, "no keys yet");
    assert_eq!(patch(P256.jwk()).await.status(), 200);
    assert_eq!(asserts(&P256, "2").await, 200);
    assert_eq!(
        app.token(&[("grant_type", "client_credentials")]).await.status(),
        401,
        "keys replace the secret"
    );
    let padded = |mut key: Value| {
        key["n"] = json!(format!("{}==", key["n"].as_str().unwrap()));
        key
    };
    for (bad, why) in [
        (P256.private_jwk(), "private"),
        (json!({"keys": [P256.jwk(), P256_STRANGER.jwk()]}), "same `kid`"),
        (json!({"keys": []}), "0 keys"),
        (json!([P256.jwk()]), "not a JSON object"),
        (json!("https://app.example/jwks"), "not a JSON object"),
        (changed(RSA.jwk(), "e", "AQ"), "exponent"),
        (changed(RSA.jwk(), "use", "enc"), "`use`"),
        (changed(P256.jwk(), "y", P256.jwk()["x"].as_str().unwrap()), "off its curve"),
        (changed(P256.jwk(), "x", "no base64!"), "base64url"),
        (changed(P256.jwk(), "alg", "ES512"), "`alg`"),
    ] {
        let refused = patch(bad.clone()).await;
        assert_eq!(refused.status(), 422, "{bad}");
        let said: Value = refused.json().await.unwrap();
        assert!(text(&said, "detail").contains(why), "{why}: {said}");
    }
    assert_eq!(asserts(&P256, "3").await, 200, "a key that is refused changes nothing");
    for (body, why) in [
        (r#"{"jwks":1,"jwks":2}"#, "The parameter jwks is given more than once."),
        (r#"{"keys":1}"#, "Expected is one of scopes, audiences, redirect_uris, jwks, disabled."),
        (r#"{"jwks""#, "The body is malformed, or a field is missing."),
    ] {
        let path = format!("/admin/clients/{}", app.id);
        let request = ada.request(reqwest::Method::PATCH, &path).header("content-type", "application/json");
        let refused = ada.send(request.body(body)).await;
        assert_eq!(refused.status(), 400, "{body}");
        let said: Value = refused.json().await.unwrap();
        assert!(text(&said, "detail").contains(why), "{said}");
    }
    assert_eq!(patch(json!({"keys": [padded(RSA.jwk()), P256_STRANGER.jwk()]})).await.status(), 200);
    assert_eq!(asserts(&P256, "4").await, 401, "the old key is gone");
    assert_eq!((asserts(&RSA, "5").await, asserts(&P256_STRANGER, "6").await), (200, 200));
    let event =
        server.sqlite3("SELECT detail FROM audit WHERE event = 'client.changed' ORDER BY seq DESC LIMIT 1");
    assert!(event.contains("jwks") && !event.contains("AQAB"), "{event}");
}

fn changed(mut key: Value, member: &str, to: &str) -> Value {
    key[member] = json!(to);
    key
}

#[tokio::test]
async fn a_signed_assertion_is_taken_once_and_only_as_it_was_meant() {
    let server = Server::started(&[("BULLA_TRUSTED_PROXIES", "127.0.0.1")]);
    let (key, other) = (&*P256, &*P256_STRANGER);
    for (name, jwk, good) in [
        ("public", key.jwk(), true),
        ("both", json!({"keys": [key.jwk(), RSA.jwk()]}), true),
        ("private", key.private_jwk(), false),
        ("one of two is private", json!({"keys": [RSA.jwk(), key.private_jwk()]}), false),
        ("symmetric", json!({"kty": "oct", "k": "AAAA"}), false),
        ("short", SHORT.jwk(), false),
        ("set", json!({"keys": []}), false),
        ("exponent of 1", changed(RSA.jwk(), "e", "AQ"), false),
        ("exponent of 0", changed(RSA.jwk(), "e", "AA"), false),
        ("even exponent", changed(RSA.jwk(), "e", "Ag"), false),
        ("for encryption", changed(RSA.jwk(), "use", "enc"), false),
        ("off the curve", changed(key.jwk(), "y", key.jwk()["x"].as_str().unwrap()), false),
        ("ES512", changed(key.jwk(), "alg", "ES512"), false),
        ("one kid twice", json!({"keys": [key.jwk(), other.jwk()]}), false),
    ] {
        std::fs::write(server.path(name), jwk.to_string()).unwrap();
        let added = server.cli(&["client", "add", name, "--scope", "read", "--jwks", name]);
        assert_eq!(added.status.success(), good, "{name}");
    }
    let app = server.client("signer", &["--scope", "read", "--jwks", "public"]);
    let now = SystemClock.now().millis() / 1000;
    let mut number = 0;
    let mut claims = |changed: Value| {
        number += 1;
        let mut claims = json!({"iss": app.id, "sub": app.id, "aud": server.origin, "exp": now + 60, "jti": format!("n{number}")});
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let header = json!({"alg": "ES256", "kid": "p256"});
    let ask = |address: &str, assertion: String, more: Vec<(&'static str, String)>| {
        let mut form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into()),
            ("client_assertion", assertion),
        ];
        form.extend(more);
        let request = app.post("/oauth/token").header("x-forwarded-for", address).form(&form);
        async move { request.send().await.unwrap() }
    };
    let home = "192.0.2.1";
    let good = key.sign(&header, &claims(json!({})));
    assert_eq!(ask(home, good.clone(), vec![]).await.status(), 200);
    assert_eq!(refused(ask(home, good, vec![]).await).await, is(401, "invalid_client"), "a second time");
    for fine in [json!({"aud": format!("{}/oauth/token", server.origin)}), json!({"aud": [server.origin]})] {
        assert_eq!(
            ask(home, key.sign(&header, &claims(fine)), vec![("client_id", app.id.clone())]).await.status(),
            200
        );
    }
    let unsigned = key.sign(&json!({"alg": "none"}), &claims(json!({})));
    let bad = [
        unsigned.rsplit_once('.').unwrap().0.to_owned() + ".",
        unsigned,
        other.sign(&header, &claims(json!({}))),
        sign_with_secret(&key.public_bytes(), &json!({"alg": "HS256", "kid": "p256"}), &claims(json!({}))),
        key.sign(&json!({"alg": "RS256", "kid": "p256"}), &claims(json!({}))),
        key.sign(&json!({"alg": "ES256", "kid": "p257"}), &claims(json!({}))),
        key.sign(&json!({"alg": "ES256", "jwk": other.jwk()}), &claims(json!({}))),
        key.sign(&json!({"alg": "ES256", "crit": ["x"], "x": 1}), &claims(json!({}))),
        key.sign(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims(json!({}))),
        key.sign(&header, &claims(json!({"iss": "other"}))),
        key.sign(&header, &claims(json!({"sub": "other", "iss": "other"}))),
        key.sign(&header, &claims(json!({"aud": "https://other.example"}))),
        key.sign(&header, &claims(json!({"aud": [server.origin, "https://other.example"]}))),
        key.sign(&header, &claims(json!({"aud": null}))),
        key.sign(&header, &claims(json!({"exp": now - 61}))),
        key.sign(&header, &claims(json!({"exp": now + 4000}))),
        key.sign(&header, &claims(json!({"exp": null}))),
        key.sign(&header, &claims(json!({"nbf": now + 300}))),
        key.sign(&header, &claims(json!({"jti": ""}))),
        key.sign(&header, &claims(json!({"jti": null}))),
    ];
    for (n, bad) in bad.chunks(8).enumerate() {
        // From an address at which the client is known and that isn't throttled yet.
        let address = format!("203.0.113.{n}");
        assert_eq!(ask(&address, key.sign(&header, &claims(json!({}))), vec![]).await.status(), 200);
        for assertion in bad {
            assert_eq!(
                refused(ask(&address, assertion.clone(), vec![]).await).await,
                is(401, "invalid_client")
            );
        }
    }
    let both = key.sign(&header, &claims(json!({})));
    let both = ask("203.0.113.0", both, vec![("client_secret", "x".into())]).await;
    assert_eq!(refused(both).await, is(400, "invalid_request"));
}
