//! Tests guards for pages that everyone may see and for people with a role.

use actix_web::{HttpResponse, web};
use bulla::{
    Bulla, Principal,
    internals::{
        ids::{ClientId, Sid},
        store::{Actor, AuditEvent, Event, Grant, NewClient, Transport},
    },
};
use reqwest::{Response, header};

use super::program::Program;
use crate::support::{
    installation::device,
    server::{ACCESS, Browser, REFRESH, set_cookies},
};

/// `/` is for everyone, `/admin` for administrators, `/staff` for two roles, `/mixed` has both options.
fn routes(bulla: &Bulla, app: &mut web::ServiceConfig) {
    let page = || web::to(|who: Principal| async move { who.id().to_owned() });
    app.service(web::resource("/").wrap(bulla.guard().optional()).route(web::to(front)))
        .service(web::resource("/admin").wrap(bulla.guard().role("admin")).route(page()))
        .service(web::resource("/staff").wrap(bulla.guard().role("editor").role("admin")).route(page()))
        .service(web::resource("/mixed").wrap(bulla.guard().role("admin").optional()).route(page()))
        .service(web::resource("/apps").wrap(bulla.guard().and_apps("admin").role("admin")).route(page()));
}

async fn front(who: Option<Principal>) -> HttpResponse {
    let body = who.map_or_else(|| "anonymous".to_owned(), |who| who.id().to_owned());
    HttpResponse::Ok().insert_header(("cache-control", "public")).body(body)
}

async fn start() -> Program {
    Program::start(|builder| builder, routes).await
}

async fn text(answer: Response) -> (u16, String) {
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

#[tokio::test]
async fn anybody_sees_an_optional_page_and_a_person_is_recognised_and_renewed() {
    let program = start().await;
    let stranger = program.browser().get("/").await;
    assert_eq!(stranger.headers()[header::VARY], "cookie");
    assert_eq!(stranger.headers()[header::CACHE_CONTROL], "public");
    assert_eq!(text(stranger).await, ok("anonymous"));

    let ada = program.logged_in("ada").await;
    let known = ada.get("/").await;
    assert_eq!(known.headers()[header::VARY], "cookie");
    assert_eq!(text(known).await, ok("member-ada"));
    ada.jar.remove(ACCESS);
    let renewed = ada.get("/").await;
    assert_eq!(set_cookies(&renewed).len(), 1, "the session is renewed");
    assert_eq!(renewed.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(text(renewed).await, ok("member-ada"));

    program.bulla.end_sessions_of(&program.members.named("ada").id).await.unwrap();
    assert_eq!(text(ada.get("/").await).await, ok("anonymous"), "the cookies of an ended session");
    for (access, refresh) in [("x", "y"), ("a; __Host-Http-bulla-access=b", "y")] {
        ada.jar.set(ACCESS, access);
        ada.jar.set(REFRESH, refresh);
        assert_eq!(text(ada.get("/").await).await, ok("anonymous"), "{access}");
    }
}

#[tokio::test]
async fn an_optional_page_refuses_bad_credentials_and_forgeries_and_is_503_if_it_cannot_tell() {
    let program = start().await;
    let browser = program.browser();
    for (credentials, status) in [("Bearer x", 401), ("Basic YWRhOng=", 401), ("Token x", 400)] {
        let answer = browser.client.get(format!("{}/", program.origin)).header("authorization", credentials);
        assert_eq!(answer.send().await.unwrap().status(), status, "{credentials}");
    }
    let ada = program.logged_in("ada").await;
    let from_elsewhere = |method: reqwest::Method, browser: &Browser| {
        let request = browser.client.request(method, format!("{}/", program.origin));
        request.header("sec-fetch-site", "cross-site").header("cookie", browser.jar.header())
    };
    let forged = from_elsewhere(reqwest::Method::POST, &ada).send().await.unwrap();
    assert_eq!(forged.status(), 403);
    ada.jar.remove(ACCESS);
    let link = from_elsewhere(reqwest::Method::GET, &ada).header("sec-fetch-mode", "navigate");
    let (status, page) = text(link.send().await.unwrap()).await;
    assert!(status == 200 && page.contains(r#"http-equiv="refresh""#), "{page}");
    let image = from_elsewhere(reqwest::Method::GET, &ada).header("sec-fetch-mode", "no-cors");
    assert_eq!(text(image.send().await.unwrap()).await, ok("anonymous"), "it can't load again");

    program.shell().run("ALTER TABLE sessions RENAME TO hidden");
    assert_eq!(ada.get("/").await.status(), 503, "it is not known whether the person is signed in");
    assert_eq!(text(browser.get("/").await).await, ok("anonymous"), "no cookies, no question");
}

#[tokio::test]
async fn a_guard_requires_a_role_and_a_removed_role_is_refused_after_the_next_renewal() {
    let program = start().await;
    let (ada, bob) = (program.logged_in("ada").await, program.logged_in("bob").await);
    for path in ["/admin", "/staff", "/mixed"] {
        assert_eq!(text(ada.get(path).await).await, ok("member-ada"), "{path}");
        assert_eq!(bob.get(path).await.status(), 403, "{path}");
        assert_eq!(program.browser().get(path).await.status(), 401, "{path}");
    }
    program.members.add("ada", &[]);
    assert_eq!(ada.get("/admin").await.status(), 200, "the access token still has the role");
    ada.jar.remove(ACCESS);
    let refused = ada.get("/admin").await;
    assert_eq!((refused.status().as_u16(), set_cookies(&refused).len()), (403, 1));
    assert_eq!(ada.get("/").await.status(), 200, "the refusal carried the cookies of the renewal");
    program.members.add("ada", &["editor"]);
    ada.jar.remove(ACCESS);
    assert_eq!(ada.get("/staff").await.status(), 200);
    assert_eq!(ada.get("/admin").await.status(), 403);
}

#[tokio::test]
async fn a_token_of_an_app_has_no_role() {
    let program = start().await;
    let store = &program.bulla.sessions().parts().store;
    let id = ClientId::new("app").unwrap();
    let client = NewClient {
        id: id.clone(),
        name: "app".into(),
        secret_hash: None,
        jwks: None,
        public: true,
        scopes: "admin".parse().unwrap(),
        audiences: vec![],
        redirect_uris: vec!["https://app.example/back".into()],
    };
    store.add_client(client, AuditEvent::new(Event::ClientAdded, Actor::read("tests"), "")).await.unwrap();
    let ada = program.members.named("ada");
    let sessions = program.bulla.sessions();
    let login = sessions.begin(&ada, Transport::Cookie, device(), None).await.unwrap();
    let grant = Grant { client: id, scope: "admin".parse().unwrap() };
    let sid = Sid::generate().unwrap();
    let held = sessions.begin_for(&ada, grant, sid, login.row.sid, device(), None).await.unwrap();
    let get = |token: &str| {
        let request = program.browser().client.get(format!("{}/apps", program.origin));
        request.bearer_auth(token).send()
    };
    assert_eq!(get(held.access.as_str()).await.unwrap().status(), 403);
    assert_eq!(get(login.access.as_str()).await.unwrap().status(), 200);
}
