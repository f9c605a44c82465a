//! Tests the path of the login routes and the pages of an embedding program.

use actix_web::web;
use bulla::{
    Bulla, Site, StartError,
    pages::{AccountPage, ErrorPage, LoginPage, Pages},
};
use reqwest::Method;

use super::program::{Program, me};
use crate::support::server::{ACCESS, PASSWORD};

fn routes(bulla: &Bulla, app: &mut web::ServiceConfig) {
    app.configure(bulla.oauth_routes())
        .service(web::resource("/me").wrap(bulla.guard()).route(web::to(me)))
        .service(web::resource("/boss").wrap(bulla.guard().role("boss")).route(web::to(me)));
}

/// The values of an attribute in a page.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    page.split(start.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn all_routes_links_and_redirects_of_a_login_follow_the_prefix() {
    let program = Program::start(|builder| builder.prefix("/my/session"), routes).await;
    let browser = program.browser();
    let navigation = |path: &str| browser.request(Method::GET, path).header("sec-fetch-mode", "navigate");
    let page = browser.send(navigation("/me")).await.text().await.unwrap();
    assert_eq!(values(&page, "action"), ["/my/session/login"]);
    for address in values(&page, "href").into_iter().chain(values(&page, "src")) {
        assert_eq!(browser.get(address).await.status(), 200, "{address}");
    }
    let location = async |request: reqwest::RequestBuilder| {
        let answer = browser.send(request).await;
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap().to_owned())
    };
    let form = browser.request(Method::POST, "/my/session/login");
    let form = form.form(&[("username", "ada"), ("password", PASSWORD)]);
    let checked = "/my/session/login?signed-in&rd=%2Fmy%2Fsession%2Faccount".to_owned();
    assert_eq!(location(form).await, (303, checked.clone()));
    assert_eq!(location(navigation(&checked)).await, (303, "/my/session/account".to_owned()));
    let account = browser.send(navigation("/my/session/account")).await;
    assert_eq!(account.status(), 200);
    let account = account.text().await.unwrap();
    let actions = values(&account, "action");
    assert!(
        actions.len() >= 3 && actions.iter().all(|action| action.starts_with("/my/session/")),
        "{actions:?}"
    );
    // The refresh token renews the session, and `continue` leads back.
    browser.jar.remove(ACCESS);
    let answer = browser.post("/my/session/refresh", serde_json::json!({})).await;
    assert!(answer.status() == 200 && browser.jar.get(ACCESS).is_some());
    assert_eq!(location(navigation("/my/session/continue?rd=/me")).await, (303, "/me".to_owned()));
    assert_eq!(browser.get("/my/session/session").await.status(), 200);
    for path in
        ["/auth/login", "/auth/session", "/my/session/nothing", "/my/%73ession/session", "/my/session"]
    {
        assert_eq!(browser.get(path).await.status(), 404, "{path}");
    }
    let out = browser.request(Method::POST, "/my/session/logout").form(&[("everywhere", "false")]);
    assert_eq!(location(out).await, (303, "/my/session/login?signed-out".to_owned()));
    assert_eq!(
        location(navigation("/my/session/continue?rd=/me")).await,
        (303, "/my/session/login?rd=/me".to_owned())
    );
    assert_eq!(browser.get("/me").await.status(), 401);
}

struct Own;

impl Pages for Own {
    fn login(&self, page: &LoginPage<'_>) -> Option<String> {
        Some(format!("<p>own login, back to {}, {:?}, {}</p>", page.rd, page.error, page.signed_out))
    }

    fn account(&self, page: &AccountPage<'_>) -> Option<String> {
        let current = page.devices.iter().filter(|device| device.current).count();
        Some(format!("<p>own account of {}, {current} of {}</p>", page.name, page.devices.len()))
    }

    fn error(&self, page: &ErrorPage<'_>) -> Option<String> {
        (page.status == 403).then(|| format!("<p>own error {}, {}</p>", page.code, page.prefix))
    }
}

#[tokio::test]
async fn pages_of_the_program_replace_those_of_bulla() {
    let program = Program::start(|builder| builder.pages(Own), routes).await;
    let browser = program.browser();
    let page = async |request: reqwest::RequestBuilder| {
        let answer = browser.send(request.header("sec-fetch-mode", "navigate")).await;
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let get = |path: &str| browser.request(Method::GET, path);
    let own = |status, text: &str| (status, format!("<p>own {text}</p>"));
    assert_eq!(page(get("/me?a=b")).await, own(401, "login, back to /me?a=b, None, false"));
    assert_eq!(page(get("/auth/login?signed-out")).await, own(200, "login, back to , None, true"));
    let form =
        browser.request(Method::POST, "/auth/login").form(&[("username", "ada"), ("password", "wrong")]);
    let (status, refused) = page(form).await;
    assert!(status == 401 && refused.starts_with("<p>own login, back to /auth/account, Some("), "{refused}");
    browser.log_in("ada").await;
    assert_eq!(page(get("/auth/account")).await, own(200, "account of ada, 1 of 1"));
    assert_eq!(page(get("/boss")).await, own(403, "error forbidden, /auth"));
    // The program renders no page for this error.
    let (status, other) = page(get("/auth/nothing")).await;
    assert!(status == 404 && other.contains("<title>Not found · Bulla</title>"), "{other}");
    // A program gets problem documents as before.
    let script = browser.request(Method::GET, "/boss").header("sec-fetch-mode", "cors");
    assert!(browser.send(script).await.text().await.unwrap().contains(r#""code":"forbidden""#));
}

#[tokio::test]
async fn a_prefix_that_is_no_plain_path_is_an_error_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let start = |prefix: &str| {
        let builder = Bulla::builder(home.path().join("keys"), home.path().join("bulla.db"));
        builder.site(Site::loopback(8080, false)).prefix(prefix).init().start()
    };
    for prefix in ["", "auth", "/auth/", "/a/../b", "/oauth"] {
        let error = start(prefix).await.err().unwrap();
        assert!(matches!(error, StartError::Prefix(_)), "{prefix}: {error}");
        assert!(error.to_string().contains("the prefix"), "{error}");
    }
    start("/account").await.unwrap();
}
