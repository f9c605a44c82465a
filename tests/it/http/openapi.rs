//! Tests that `/openapi.json` is complete: it names every route, and schemathesis finds no difference between it and the server.

use std::{collections::BTreeSet, process::Command};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    oauth::other_clients,
    support::{oauth_client::text, server::Server},
};

/// Which routes each kind of caller requests.
const ADMINISTRATION: &str = r"^/(admin|health|metrics|openapi|\.well-known)|^/$";
const SIGNED_IN: &str = "^/auth/";
const CLIENTS: &str = "^/oauth/";
const STRANGERS: &str = "^/auth/log|^/auth/refresh|^/oauth/";

#[tokio::test]
async fn every_route_is_described_with_all_its_methods() {
    let server = Server::started(&[]);
    let client = reqwest::Client::new();
    let document: Value =
        client.get(format!("{}/openapi.json", server.origin)).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().unwrap();
    let cron = server.client("cron", &["--scope", "admin"]);
    let machine = text(&cron.service().await, "access_token").to_owned();
    let login = json!({"username": "ada", "password": crate::support::server::PASSWORD, "transport": "body"});
    let login = client.post(format!("{}/auth/login", server.origin)).json(&login).send().await.unwrap();
    let person = text(&login.json().await.unwrap(), "access_token").to_owned();
    for (path, methods) in paths {
        // The tests below request the paths of each of these groups.
        let groups =
            ["/admin/", "/health/", "/metrics", "/openapi.json", "/.well-known/", "/auth/", "/oauth/"];
        assert!(path == "/" || groups.iter().any(|group| path.starts_with(group)), "{path}");
        // A request with a method that no route has is answered with the methods of this route.
        let token = if path.starts_with("/admin") { &machine } else { &person };
        let request = client.request(Method::TRACE, format!("{}{path}", server.origin)).bearer_auth(token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        let allowed = answer.headers()["allow"].to_str().unwrap().to_lowercase();
        let allowed: BTreeSet<&str> = allowed.split(", ").filter(|method| *method != "head").collect();
        let described: BTreeSet<&str> = methods.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(described, allowed, "{path}");
    }
    // Every route in the table is described.
    let table = concat!(
        include_str!("../../../src/http/routes/table.rs"),
        include_str!("../../../src/http/server/app.rs")
    );
    let lines = table.split("methods(").skip(1).filter(|line| line.trim_start().starts_with('"'));
    let routes: Vec<&str> = lines.filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(routes.len(), paths.len(), "{routes:?}");
    for route in routes {
        assert!(paths.keys().any(|path| path.ends_with(route)), "{route}");
    }
}

/// Runs schemathesis with all its checks and phases over some of the routes; it must find nothing. A test with an authenticated
/// caller checks afterwards that the caller is still authenticated, because otherwise schemathesis would have seen refusals only.
/// Returns how many kinds of requests it built from earlier answers.
fn find_nothing(server: &Server, own: &[&str], session: &str, arguments: &[&str]) -> Option<u32> {
    let folder = other_clients::folder("venv")?;
    let ours = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    let name = if session.is_empty() { "app" } else { "app of a session" };
    let to = ["--public", "--scope", "read", "--redirect-uri", "https://app.example/back"];
    let app = server.client(name, &to);
    let mut command = Command::new(folder.join("venv/bin/st"));
    command.arg("--config-file").arg(ours.join("schemathesis.toml"));
    command.arg("run").arg(format!("{}/openapi.json", server.origin));
    command.args([
        "--checks",
        "all",
        "--phases",
        "examples,coverage,fuzzing,stateful",
        "--max-examples",
        "40",
    ]);
    command.args(["--workers", "1", "--no-color", "--warnings", "off"]).args(arguments);
    command.env("SCHEMATHESIS_HOOKS", ours.join("hooks.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("BULLA_TEST_OWN", own.join(" ")).env("BULLA_TEST_SESSION", session);
    command.env("BULLA_TEST_APP", app.id);
    let found = command.current_dir(server.dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&found.stdout);
    println!("{said}{}", String::from_utf8_lossy(&found.stderr));
    assert!(found.status.success() && said.contains("No issues found"));
    let covered = said.split("API Links:").nth(1).and_then(|links| links.split_whitespace().next());
    // Without the stateful phase there are no such requests.
    Some(covered.map_or(0, |covered| covered.parse().unwrap()))
}

fn long_lived() -> Server {
    Server::started(&[("BULLA_ACCESS_MAX_AGE", "15m")])
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[tokio::test]
async fn schemathesis_finds_no_difference_in_administration() {
    let server = long_lived();
    let root = server.client("root", &["--scope", "admin"]);
    let header = bearer(text(&root.service().await, "access_token"));
    let arguments = ["--include-path-regex", ADMINISTRATION, "-H", &header];
    let Some(links) = find_nothing(&server, &[&root.id], "", &arguments) else { return };
    assert!(links > 0, "nothing that was made has been looked at");
    root.service().await;
}

#[tokio::test]
async fn schemathesis_finds_no_difference_with_a_session() {
    let server = long_lived();
    let mut logins = Vec::new();
    // Nine sessions: the middle one sends the requests, the others are devices that can be signed out.
    for _ in 0..9 {
        let login =
            json!({"username": "ada", "password": crate::support::server::PASSWORD, "transport": "body"});
        logins.push(server.browser().post("/auth/login", login).await.json::<Value>().await.unwrap());
    }
    let sid = text(&logins[4], "sid");
    let (access, refresh) = (text(&logins[4], "access_token"), text(&logins[4], "refresh_token"));
    let routes = ["--include-path-regex", SIGNED_IN, "--exclude-path-regex", STRANGERS];
    let header = bearer(access);
    let reads = [
        &routes[..],
        &[
            "--exclude-method",
            "POST",
            "--exclude-method",
            "DELETE",
            "-H",
            &header,
            "--phases",
            "examples,coverage,fuzzing",
        ],
    ]
    .concat();
    if find_nothing(&server, &[sid], "", &reads).is_none() {
        return;
    }
    // Routes that require the session get it in cookies. The check `ignored_auth` is excluded, because its requests without
    // authorization would get these cookies, too.
    let session = format!("{access} {refresh}");
    let changes = [&routes[..], &["--exclude-checks", "ignored_auth"]].concat();
    let Some(links) = find_nothing(&server, &[sid], &session, &changes) else { return };
    assert!(links > 0, "no device has been signed out");
    assert_eq!(server.sqlite3(&format!("SELECT count(*) FROM sessions WHERE sid = '{sid}'")), "1");
}

#[tokio::test]
async fn schemathesis_finds_no_difference_in_the_routes_of_clients() {
    let server = long_lived();
    let web = server.client("web", &["--scope", "read"]);
    let who = format!("{}:{}", web.id, web.secret);
    let Some(links) = find_nothing(&server, &[], "", &["--include-path-regex", CLIENTS, "--auth", &who])
    else {
        return;
    };
    assert!(links > 0, "no token has been asked about");
    web.service().await;
}

#[tokio::test]
async fn schemathesis_finds_no_difference_without_a_session() {
    find_nothing(&long_lived(), &[], "", &["--include-path-regex", STRANGERS]);
}
