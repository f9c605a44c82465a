//! Tests which tokens of apps and machines a guard admits, and for which audience a token is sealed.

use actix_web::{App, http::StatusCode, test, web};
use bulla::internals::{
    http::{Bulla, Guard},
    session::{Machine, Principal},
};
use serde_json::{Value, json};

use crate::support::{
    code_flow::{BACK, code, location, parameter, query, redeem, refresh, through},
    oauth_client::{App as Client, text},
    server::{Browser, Server},
};

/// A handler that answers whether the caller is a person or a machine.
async fn who(person: Option<Principal>, machine: Option<Machine>) -> String {
    match (person, machine) {
        (Some(person), None) => format!("person {:?} {}", person.roles(), person.has_role("admin")),
        (None, Some(machine)) => format!("machine {}", machine.scope()),
        _ => "nobody".into(),
    }
}

/// Adds an app that people sign in to and that may ask for the scopes `read` and `write`; `more` holds further arguments.
fn app(server: &Server, name: &str, more: &[&str]) -> Client {
    let arguments =
        [&["--public", "--scope", "read", "--scope", "write", "--redirect-uri", BACK], more].concat();
    server.client(name, &arguments)
}

/// The tokens of `app` for the person at `browser`. `asked` are parameters of the authorization request, `more` of the token
/// request.
async fn tokens(
    server: &Server,
    app: &Client,
    browser: &Browser,
    asked: &[(&str, &str)],
    more: &[(&str, &str)],
) -> Value {
    let code = code_for(server, app, browser, asked).await;
    redeem(app, &code, more).await.json().await.unwrap()
}

async fn code_for(server: &Server, app: &Client, browser: &Browser, asked: &[(&str, &str)]) -> String {
    match asked {
        [] => code(server, app, browser).await,
        _ => {
            let to = through(browser, &query(app, asked)).await;
            parameter(&to, "code").unwrap_or_else(|| panic!("{to}"))
        }
    }
}

#[tokio::test]
async fn a_guard_admits_users_and_only_those_apps_and_machines_whose_scope_it_names() {
    let server = Server::started(&[]);
    let (ada, phone, cron) =
        (server.ada().await, app(&server, "phone", &[]), server.client("cron", &["--scope", "jobs"]));
    let got = tokens(&server, &phone, &ada, &[("scope", "read")], &[]).await;
    let form = [("grant_type", "client_credentials")];
    let machine: Value = cron
        .post("/oauth/token")
        .basic_auth(&cron.id, Some(&cron.secret))
        .form(&form)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let login = json!({"username": "ada", "password": crate::support::server::PASSWORD, "transport": "body"});
    let person: Value = server.browser().post("/auth/login", login).await.json().await.unwrap();
    let [person, app_token, machine] =
        [&person, &got, &machine].map(|answer| text(answer, "access_token").to_owned());

    let (keys, database) = (server.path("keys"), server.path("bulla.db"));
    let bulla =
        Bulla::builder(keys, database).site(bulla::Site::loopback(8080, false)).start().await.unwrap();
    let told = async |guard: Guard, token: &str| {
        let app = test::init_service(App::new().service(
            web::scope("").wrap(guard).route("/who", web::get().to(who)).route("/who", web::post().to(who)),
        ))
        .await;
        let mut told = Vec::new();
        for request in [test::TestRequest::get(), test::TestRequest::post()] {
            let request = request.uri("/who").insert_header(("authorization", format!("Bearer {token}")));
            let answer = test::call_service(&app, request.to_request()).await;
            let (status, challenge) = (answer.status(), answer.headers().get("www-authenticate").cloned());
            let body = String::from_utf8(test::read_body(answer).await.to_vec()).unwrap();
            if status == StatusCode::FORBIDDEN {
                assert_eq!(challenge.unwrap(), "Bearer error=\"insufficient_scope\"");
                assert!(body.contains("program_not_admitted"), "{body}");
            }
            told.push(if status == StatusCode::OK { body } else { status.as_u16().to_string() });
        }
        assert_eq!(told[0], told[1], "whatever the method");
        told.remove(0)
    };
    let admin = r#"person ["admin"] true"#;
    let by_app = "person [] false";
    for (guard, of_person, of_app, of_machine) in [
        (bulla.guard(), admin, "403", "401"),
        (bulla.guard().and_apps("write"), admin, "403", "401"),
        (bulla.guard().and_apps("read"), admin, by_app, "401"),
        (bulla.guard().and_apps("write").and_apps("read"), admin, by_app, "401"),
        (bulla.guard().and_machines("read"), admin, "403", "403"),
        (bulla.guard().and_machines("read").and_machines("jobs"), admin, "403", "machine jobs"),
        (bulla.guard().and_apps("read").and_machines("jobs"), admin, by_app, "machine jobs"),
        (bulla.guard().and_apps("jobs").and_machines("read"), admin, "403", "403"),
        (bulla.guard().and_apps("").and_apps("rea"), admin, "403", "401"),
    ] {
        assert_eq!(told(guard.clone(), &person).await, of_person, "{guard:?}");
        assert_eq!(told(guard.clone(), &app_token).await, of_app, "{guard:?}");
        assert_eq!(told(guard.clone(), &machine).await, of_machine, "{guard:?}");
    }
}

#[tokio::test]
async fn auth_session_describes_the_token_of_an_app() {
    let server = Server::started(&[]);
    let (ada, phone) = (server.ada().await, app(&server, "phone", &[]));
    let got = tokens(&server, &phone, &ada, &[("scope", "read")], &[]).await;
    let token = text(&got, "access_token");
    let request = ada.client.get(format!("{}/auth/session", server.origin)).bearer_auth(token);
    let said: Value = request.send().await.unwrap().json().await.unwrap();
    let expected = (&json!("1"), &json!([]), &json!(phone.id), &json!("read"));
    assert_eq!((&said["id"], &said["roles"], &said["client_id"], &said["scope"]), expected);
    let own: Value = ada.get("/auth/session").await.json().await.unwrap();
    assert_eq!((&own["roles"], own.get("client_id"), own.get("scope")), (&json!(["admin"]), None, None));
    let payload = server.cli(&["token", "open", token]);
    let payload: Value = serde_json::from_slice(&payload.stdout).unwrap();
    assert!(payload.get("roles").is_none(), "no other opener takes it for its person: {payload}");
}

/// The purpose and audience under which a token opens, or `nothing`.
fn sealed_for(server: &Server, token: &str) -> String {
    for (purpose, audience) in [
        ("access", ""),
        ("access", "billing"),
        ("access", "shop.example"),
        ("service", ""),
        ("service", "billing"),
    ] {
        let opened = server.cli(&["token", "open", token, "--purpose", purpose, "--audience", audience]);
        if opened.status.success() {
            return format!("{purpose} {audience}");
        }
    }
    "nothing".into()
}

#[tokio::test]
async fn a_machine_gets_a_token_for_the_requested_audience_or_none() {
    let server = Server::started(&[]);
    let cron =
        server.client("cron", &["--scope", "admin", "--audience", "billing", "--audience", "shop.example"]);
    let ask = async |more: &[(&str, &str)]| -> Value {
        let form = [&[("grant_type", "client_credentials")], more].concat();
        let request = cron.post("/oauth/token").basic_auth(&cron.id, Some(&cron.secret)).form(&form);
        request.send().await.unwrap().json().await.unwrap()
    };
    let own = server.origin.clone();
    for (asked, sealed) in [
        (&[][..], "service "),
        (&[("audience", "billing")], "service billing"),
        (&[("resource", "https://billing/v1?x")], "service billing"),
        (&[("resource", "http://BILLING:8443/")], "service billing"),
        (&[("audience", "billing"), ("resource", "https://billing")], "service billing"),
        (&[("resource", "https://billing/a"), ("resource", "https://billing/b")], "service billing"),
        (&[("resource", &own)], "service "),
        (&[("audience", &own)], "service "),
    ] {
        let granted = ask(asked).await;
        assert_eq!(sealed_for(&server, text(&granted, "access_token")), sealed, "{asked:?}");
    }
    for refused in [
        &[("audience", "reports")][..],
        &[("resource", "https://reports/")],
        &[("resource", "billing")],
        &[("resource", "https://billing/#here")],
        &[("resource", "https://billing@reports/")],
        &[("resource", "https://reports/billing")],
        &[("audience", "billing"), ("audience", "shop.example")],
        &[("audience", "billing"), ("resource", "https://shop.example")],
        &[("resource", "https://billing"), ("resource", &own)],
    ] {
        assert_eq!(ask(refused).await["error"], "invalid_target", "{refused:?}");
    }
    let token = ask(&[("audience", "billing")]).await;
    let token = text(&token, "access_token");
    let admin = server
        .browser()
        .client
        .get(format!("{}/admin/users", server.origin))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(admin.status(), 401, "a token for another is none here");
    // The client introspects the token and revokes it.
    let about = async || -> Value {
        let request =
            cron.post("/oauth/introspect").basic_auth(&cron.id, Some(&cron.secret)).form(&[("token", token)]);
        request.send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(about().await["aud"], "billing");
    let back = cron.post("/oauth/revoke").basic_auth(&cron.id, Some(&cron.secret)).form(&[("token", token)]);
    assert_eq!(back.send().await.unwrap().status(), 200);
    assert_eq!(about().await, json!({"active": false}));
    let noted = server.sqlite3("SELECT count(*) FROM audit WHERE event = 'service.issued' AND json_extract(detail, '$.audience') = 'billing'");
    assert_eq!(noted, "6");
}

#[tokio::test]
async fn an_apps_tokens_stay_bound_to_the_audience_of_the_authorization_request() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let phone = app(&server, "phone", &["--audience", "billing", "--audience", "shop.example"]);
    let billing = ("resource", "https://billing/");
    // The authorization request names the audience, so the session is bound to it.
    let got = tokens(&server, &phone, &ada, &[billing], &[]).await;
    assert_eq!(sealed_for(&server, text(&got, "access_token")), "access billing");
    let code = code_for(&server, &phone, &ada, &[billing]).await;
    let other = redeem(&phone, &code, &[("audience", "shop.example")]).await;
    assert_eq!(other.json::<Value>().await.unwrap()["error"], "invalid_target");
    let after: Value = redeem(&phone, &code, &[("audience", "billing")]).await.json().await.unwrap();
    assert_eq!(
        sealed_for(&server, text(&after, "access_token")),
        "access billing",
        "a refusal spends no code"
    );
    let mut token = text(&after, "refresh_token").to_owned();
    for round in 0..2 {
        if round == 1 {
            // Sets the last rotation back by more than half the life of an access token, so that the refresh token rotates.
            server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000 WHERE client_id IS NOT NULL");
        }
        let refused: Value =
            refresh(&phone, &token, &[("audience", "shop.example")]).await.json().await.unwrap();
        assert_eq!(refused["error"], "invalid_target");
        let renewed: Value = refresh(&phone, &token, &[]).await.json().await.unwrap();
        assert_eq!(sealed_for(&server, text(&renewed, "access_token")), "access billing", "round {round}");
        token = renewed["refresh_token"].as_str().unwrap_or(&token).to_owned();
    }
    // The authorization request names no audience, so each token request may name one.
    let got = tokens(&server, &phone, &ada, &[], &[billing]).await;
    assert_eq!(sealed_for(&server, text(&got, "access_token")), "access billing");
    let token = text(&got, "refresh_token");
    for (asked, sealed) in [
        (&[][..], "access "),
        (&[("audience", "shop.example")], "access shop.example"),
        (&[billing], "access billing"),
    ] {
        let renewed: Value = refresh(&phone, token, asked).await.json().await.unwrap();
        assert_eq!(sealed_for(&server, text(&renewed, "access_token")), sealed);
    }
    // An authorization request for an audience that the client may not use is refused.
    let refused =
        ada.get(&format!("/oauth/authorize?{}", query(&phone, &[("resource", "https://reports/")]))).await;
    assert!(location(&refused).contains("error=invalid_target"));
    // Revoking the access token ends the session.
    let renewed: Value = refresh(&phone, token, &[billing]).await.json().await.unwrap();
    let form = [("client_id", phone.id.as_str()), ("token", text(&renewed, "access_token"))];
    assert_eq!(phone.post("/oauth/revoke").form(&form).send().await.unwrap().status(), 200);
    assert_eq!(refresh(&phone, token, &[]).await.json::<Value>().await.unwrap()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_token_exchange_accepts_resource_as_well_as_audience() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let back = server.client("back", &["--scope", "read", "--audience", "billing"]);
    let access = ada.jar.get(crate::support::server::ACCESS).unwrap();
    let exchange = async |more: &[(&str, &str)]| -> Value {
        let form = [
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("subject_token", &*access),
            ],
            more,
        ]
        .concat();
        let request = back.post("/oauth/token").basic_auth(&back.id, Some(&back.secret)).form(&form);
        request.send().await.unwrap().json().await.unwrap()
    };
    let got = exchange(&[("resource", "https://billing/invoices")]).await;
    assert_eq!(sealed_for(&server, text(&got, "access_token")), "access billing");
    assert_eq!(exchange(&[]).await["error"], "invalid_request");
    for refused in [("resource", "https://shop/"), ("audience", &server.origin), ("audience", "shop")] {
        assert_eq!(exchange(&[refused]).await["error"], "invalid_target", "{refused:?}");
    }
    // The client that exchanged the token can't end the person's session with it.
    let form = [("token", text(&got, "access_token"))];
    let revoked =
        back.post("/oauth/revoke").basic_auth(&back.id, Some(&back.secret)).form(&form).send().await.unwrap();
    assert_eq!((revoked.status().as_u16(), ada.status().await), (200, 200));
}
