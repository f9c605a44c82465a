//! Tests the routes that a program mounts one by one, and the schemes of `Authorization` that it chooses.

use actix_web::{HttpRequest, HttpResponse, web};
use bulla::{Bulla, ForeignScheme, Principal};

use super::program::{Program, me};
use crate::support::server::{PASSWORD, set_cookies};

/// All of Bulla's routes; `/me` is guarded, and `/mine` has its own authentication scheme.
fn routes(bulla: &Bulla, app: &mut web::ServiceConfig) {
    app.configure(bulla.oauth_routes())
        .configure(bulla.admin_routes())
        .configure(bulla.health_routes())
        .configure(bulla.metrics_routes())
        .service(web::resource("/me").wrap(bulla.guard()).route(web::to(me)))
        .service(web::resource("/mine").wrap(bulla.guard().optional()).route(web::to(own_scheme)));
}

async fn own_scheme(who: Option<Principal>, request: HttpRequest) -> HttpResponse {
    let token = request.headers().get("authorization").is_some_and(|value| value == "Token mine, 1");
    match (who, token) {
        (Some(who), _) => HttpResponse::Ok().body(who.id().to_owned()),
        (None, true) => HttpResponse::Ok().body("token"),
        (None, false) => HttpResponse::Unauthorized().finish(),
    }
}

#[tokio::test]
async fn each_group_of_routes_is_mounted_by_itself() {
    let program = Program::start(|builder| builder, routes).await;
    let ada = program.logged_in("ada").await;
    for (path, status) in [
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/metrics", 200),
        ("/.well-known/oauth-authorization-server", 200),
        ("/admin/sessions", 200),
        ("/admin/sessions?limit=x", 400),
        ("/admin/nothing", 404),
        ("/oauth/token", 405),
        ("/me", 200),
    ] {
        assert_eq!(ada.get(path).await.status(), status, "{path}");
    }
    assert_eq!(ada.post("/admin/users", serde_json::json!({"nane": 1})).await.status(), 400);
    assert_eq!(program.logged_in("bob").await.get("/admin/sessions").await.status(), 403);
    let bare = Program::start(|builder| builder, |_, _| ()).await;
    for path in ["/health/live", "/metrics", "/admin/sessions", "/oauth/token"] {
        assert_eq!(bare.browser().get(path).await.status(), 404, "{path}");
    }
}

/// The status of a request with these credentials, with the cookies of a login or without.
async fn status(program: &Program, path: &str, credentials: &str, cookies: bool) -> u16 {
    let browser = if cookies { program.logged_in("ada").await } else { program.browser() };
    let request = browser.request(reqwest::Method::GET, path).header("authorization", credentials);
    request.send().await.unwrap().status().as_u16()
}

/// `ada` and the password, without the headers of a browser.
async fn basic(program: &Program) -> u16 {
    let request = program.browser().client.get(format!("{}/me", program.origin));
    request.basic_auth("ada", Some(PASSWORD)).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_foreign_scheme_is_refused_unless_the_program_ignores_it() {
    let program = Program::start(|builder| builder, routes).await;
    assert_eq!(status(&program, "/me", "Token mine, 1", true).await, 400);
    assert_eq!(status(&program, "/mine", "Token mine, 1", false).await, 400);

    let program = Program::start(|builder| builder.foreign_scheme(ForeignScheme::Ignore), routes).await;
    assert_eq!(status(&program, "/me", "Token mine, 1", true).await, 200, "the cookies decide");
    assert_eq!(status(&program, "/me", "Token mine, 1", false).await, 401);
    assert_eq!(status(&program, "/mine", "Token mine, 1", false).await, 200, "the program decides");
    assert_eq!(status(&program, "/mine", "Negotiate", false).await, 401);
    assert_eq!(status(&program, "/me", "Bearer x", true).await, 401, "a known scheme still counts alone");
    assert_eq!(status(&program, "/me", "Bearer", true).await, 400);
    let ada = program.logged_in("ada").await;
    let forged = ada.client.post(format!("{}/me", program.origin)).header("authorization", "Token mine, 1");
    let forged = forged.header("sec-fetch-site", "cross-site").header("cookie", ada.jar.header());
    assert_eq!(forged.send().await.unwrap().status(), 403, "an ignored header does not lift the check");
    let out = ada.request(reqwest::Method::POST, "/auth/logout").header("authorization", "Token mine, 1");
    let out = out.json(&serde_json::json!({})).send().await.unwrap();
    assert_eq!((out.status().as_u16(), set_cookies(&out).len()), (204, 2));
}

#[tokio::test]
async fn http_basic_can_be_switched_off() {
    let program = Program::start(|builder| builder, routes).await;
    assert_eq!(basic(&program).await, 200);
    let program = Program::start(|builder| builder.basic(false), routes).await;
    assert_eq!(basic(&program).await, 401);
    assert_eq!(program.sessions().await, 0);
    let program =
        Program::start(|builder| builder.basic(false).foreign_scheme(ForeignScheme::Ignore), routes).await;
    assert_eq!(status(&program, "/me", "Basic YWRhOng=", true).await, 200, "a proxy's Basic is ignored");
    assert_eq!(basic(&program).await, 401);
}
