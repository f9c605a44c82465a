//! Tests the axum program of `examples/axum.rs` as a separate process.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use reqwest::{Method, redirect::Policy};
use serde_json::Value;

use crate::support::{
    code_flow::{code, phone, redeem},
    oauth_client::text,
    server::{ACCESS, Browser, Jar, PASSWORD, REFRESH, Server, set_cookies},
};

/// The running example.
struct Program {
    process: Child,
    origin: String,
}

impl Program {
    /// Runs the example with the keys and the database of a server.
    fn start(server: &Server) -> Self {
        // A run of selected tests doesn't build the examples.
        let build = ["build", "--locked", "--quiet", "--example", "axum"];
        let built = Command::new(env!("CARGO")).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.unwrap().success());
        let example = Path::new(env!("CARGO_BIN_EXE_bulla")).with_file_name("examples/axum");
        let mut command = Command::new(example);
        command.args([server.dir.path().as_os_str(), "0".as_ref()]).env_remove("RUST_LOG");
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let origin = lines.next().unwrap().unwrap();
        Self { process, origin }
    }

    fn browser(&self) -> Browser {
        Browser {
            client: reqwest::Client::builder().redirect(Policy::none()).build().unwrap(),
            origin: self.origin.clone(),
            jar: Jar::default(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends the login form from the page of `site`; returns status and body.
async fn log_in(browser: &Browser, password: &str, site: &str) -> (u16, String) {
    let form = [("name", "ada"), ("password", password)];
    let request = browser.client.post(format!("{}/login", browser.origin)).header("sec-fetch-site", site);
    let answer = browser.send(request.header("cookie", browser.jar.header()).form(&form)).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_axum_example_signs_people_in_renews_their_sessions_and_refuses_forgeries_and_apps() {
    let mut server = Server::new(&[]);
    let program = Program::start(&server);
    let browser = program.browser();

    let home = browser.get("/").await;
    assert_eq!((home.status().as_u16(), home.headers()["vary"].to_str().unwrap()), (200, "cookie"));
    assert!(home.text().await.unwrap().contains("name='password'"));
    assert_eq!(browser.get("/notes").await.status(), 401);

    let (status, page) = log_in(&browser, "wrong", "same-origin").await;
    assert!(status == 401 && page.contains("name='password'"), "{status} {page}");
    assert_eq!(log_in(&browser, PASSWORD, "cross-site").await.0, 403);
    assert_eq!(browser.jar.header(), "");
    assert_eq!(log_in(&browser, PASSWORD, "same-origin").await.0, 303);
    assert!(browser.jar.get(ACCESS).is_some() && browser.jar.get(REFRESH).is_some());
    assert_eq!(server.sqlite3("SELECT ip FROM sessions"), "127.0.0.1");

    let notes = browser.get("/notes").await;
    assert!(notes.status() == 200 && set_cookies(&notes).is_empty());
    assert_eq!(notes.text().await.unwrap(), "The notes of 1\n");
    assert!(browser.get("/").await.text().await.unwrap().contains("Hello 1"));

    // The access token has expired: the request is renewed and answered.
    let spent = browser.jar.get(REFRESH);
    browser.jar.remove(ACCESS);
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
    let renewed = browser.get("/notes").await;
    assert_eq!((renewed.status().as_u16(), set_cookies(&renewed).len()), (200, 2));
    assert_eq!(renewed.headers()["cache-control"], "no-store");
    assert!(browser.jar.get(ACCESS).is_some() && browser.jar.get(REFRESH) != spent);

    // Another site can neither sign the person out nor sign them in as another user.
    let forged =
        browser.client.post(format!("{}/logout", program.origin)).header("sec-fetch-site", "cross-site");
    assert_eq!(forged.header("cookie", browser.jar.header()).send().await.unwrap().status(), 403);
    assert_eq!(browser.get("/notes").await.status(), 200);

    // An app's token has the person's id, but is not admitted.
    server.start();
    let (ada, phone) = (server.ada().await, phone(&server));
    let granted: Value = redeem(&phone, &code(&server, &phone, &ada).await, &[]).await.json().await.unwrap();
    let by_app = browser.client.get(format!("{}/notes", program.origin));
    let refused = by_app.bearer_auth(text(&granted, "access_token")).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "program_not_admitted");

    let kept = browser.jar.header();
    let out = browser.send(browser.request(Method::POST, "/logout")).await;
    assert_eq!((out.status().as_u16(), browser.jar.header()), (303, String::new()));
    for path in ["/notes", "/"] {
        let request = browser.client.get(format!("{}{path}", program.origin)).header("cookie", &kept);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let stranger = status == 401 || answer.text().await.unwrap().contains("name='password'");
        assert!(stranger, "{path}: {status}");
    }
}
