//! Tests sessions that the program itself begins and ends: after a registration, a passkey or a magic link.

use actix_web::{HttpRequest, HttpResponse, web};
use bulla::{
    Bulla, Policy, Problem, User,
    internals::store::{Actor, AuditEvent, Event, NewUser},
};
use reqwest::Method;
use serde_json::json;

use super::program::{Members, Program, me};
use crate::support::{
    server::{ACCESS, Browser, REFRESH, set_cookies},
    stores::every_store,
};

/// `/enter/{name}` signs in without a password, `/leave` signs out, `/me` is guarded.
fn routes(bulla: &Bulla, app: &mut web::ServiceConfig) {
    app.app_data(web::Data::new(bulla.clone()))
        .route("/enter/{name}", web::to(enter))
        .route("/leave", web::to(leave))
        .service(web::resource("/me").wrap(bulla.guard()).route(web::get().to(me)));
}

async fn enter(
    bulla: web::Data<Bulla>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let user = Members::new().named(&name);
    let entered = bulla.sign_in(&user, &request, "passkey").await?;
    let id = entered.principal.id().to_owned();
    Ok(entered.cookies.on(HttpResponse::Ok().insert_header(("cache-control", "public")).body(id)))
}

async fn leave(bulla: web::Data<Bulla>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Ok(bulla.sign_out(&request).await?.on(HttpResponse::NoContent().finish()))
}

async fn start() -> Program {
    Program::start(|builder| builder, routes).await
}

every_store!(a_program_signs_a_user_in_and_out, all_sessions_of_a_user_end);

async fn a_program_signs_a_user_in_and_out() {
    let program = start().await;
    let browser = program.browser();
    let entered = browser.post("/enter/ada", json!({})).await;
    assert_eq!(entered.status(), 200);
    assert_eq!(entered.headers()["cache-control"], "no-store");
    for line in set_cookies(&entered) {
        assert!(line.ends_with("Path=/; Secure; HttpOnly; SameSite=Lax"), "{line}");
    }
    assert_eq!(entered.text().await.unwrap(), "member-ada");
    assert_eq!(browser.get("/me").await.text().await.unwrap(), "member-ada");
    let details = program.newest("login").await;
    assert_eq!((&details["by"], &details["name"]), (&json!("passkey"), &json!("ada")));

    let before = browser.jar.get(ACCESS).unwrap();
    let left = browser.post("/leave", json!({})).await;
    assert_eq!((left.status().as_u16(), set_cookies(&left).len()), (204, 2));
    assert!(browser.jar.get(ACCESS).is_none() && browser.jar.get(REFRESH).is_none());
    browser.jar.set(ACCESS, &before);
    assert_eq!(browser.get("/me").await.status(), 401, "the access token is revoked at once");
    assert_eq!(program.sessions().await, 0);
}

async fn all_sessions_of_a_user_end() {
    let program = start().await;
    let browsers = [program.logged_in("ada").await, program.logged_in("ada").await];
    let other = program.logged_in("bob").await;
    let ada = program.members.named("ada");
    assert_eq!(program.bulla.end_sessions_of(&ada.id).await.unwrap(), 2);
    for browser in &browsers {
        assert_eq!(browser.get("/me").await.status(), 401);
    }
    assert_eq!(other.get("/me").await.status(), 200);
    let details = program.newest("session.revoked").await;
    assert_eq!(details["reason"], "ended by the embedding program");
    assert_eq!(program.bulla.end_sessions_of(&ada.id).await.unwrap(), 0);
}

#[tokio::test]
async fn the_session_of_the_same_browser_is_replaced_and_the_oldest_beyond_the_cap_ends() {
    let policy = Policy { session_cap: 2, ..Default::default() };
    let program = Program::start(|builder| builder.policy(policy), routes).await;
    let browser = program.logged_in("bob").await;
    let old = browser.jar.get(ACCESS).unwrap();
    browser.post("/enter/ada", json!({})).await;
    assert_eq!(program.sessions().await, 1, "the session of bob in this browser has ended");
    browser.jar.set(ACCESS, &old);
    browser.jar.remove(REFRESH);
    assert_eq!(browser.get("/me").await.status(), 401);

    for _ in 0..2 {
        program.browser().post("/enter/ada", json!({})).await;
    }
    assert_eq!(program.sessions().await, 2);
}

#[tokio::test]
async fn a_removed_user_is_not_signed_in() {
    let program = start().await;
    program.members.remove("ada");
    let browser = program.browser();
    let refused = browser.post("/enter/ada", json!({})).await;
    assert_eq!((refused.status().as_u16(), set_cookies(&refused).len()), (401, 0));
    assert_eq!(program.sessions().await, 0);
}

#[tokio::test]
async fn a_disabled_user_of_bullas_own_table_is_not_signed_in() {
    let home = tempfile::tempdir().unwrap();
    let database = home.path().join("bulla.db");
    let bulla = Bulla::builder(home.path().join("keys"), database.clone())
        .site(bulla::Site::loopback(8080, false))
        .init()
        .start()
        .await
        .unwrap();
    let new = NewUser { name: "eve".into(), ..Default::default() };
    let event = AuditEvent::new(Event::UserAdded, Actor::read("tests"), "");
    let row = bulla.sessions().parts().store.add_user(new, event).await.unwrap();
    let user = User { id: row.id, name: row.name, roles: row.roles, claims: row.claims };
    let request = || actix_web::test::TestRequest::post().to_http_request();
    assert!(bulla.sign_in(&user, &request(), "magic link").await.is_ok());
    crate::support::server::sqlite3(&database, "UPDATE users SET disabled = 1");
    assert_eq!(bulla.sign_in(&user, &request(), "magic link").await.unwrap_err().status(), 401);
}

/// A request as a page of another site causes it, with the browser's cookies.
async fn from_another_site(browser: &Browser, method: Method, path: &str) -> reqwest::Response {
    let request = browser.client.request(method, format!("{}{path}", browser.origin));
    request
        .header("sec-fetch-site", "cross-site")
        .header("cookie", browser.jar.header())
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn another_site_can_neither_sign_a_person_in_by_a_form_nor_out() {
    let program = start().await;
    let browser = program.logged_in("bob").await;
    let entered = from_another_site(&browser, Method::POST, "/enter/ada").await;
    assert_eq!((entered.status().as_u16(), set_cookies(&entered).len()), (403, 0));
    for method in [Method::POST, Method::GET] {
        let left = from_another_site(&browser, method.clone(), "/leave").await;
        assert_eq!((left.status().as_u16(), set_cookies(&left).len()), (403, 0), "{method}");
    }
    assert_eq!(browser.get("/me").await.status(), 200);
    let link = from_another_site(&browser, Method::GET, "/enter/ada").await;
    assert_eq!(link.status(), 200, "a magic link is a navigation that another site causes");
}
