//! `/openapi.json` is the whole truth: it names every route, and schemathesis finds nothing that isn't as it says.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{foreign, oauth::text, server::Server};

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
    let login = json!({"username": "ada", "password": crate::server::PASSWORD, "transport": "body"});
    let login = client.post(format!("{}/auth/login", server.origin)).json(&login).send().await.unwrap();
    let person = text(&login.json().await.unwrap(), "access_token").to_owned();
    for (path, methods) in paths {
        // A method that no route has is answered with those that this one has.
        let token = if path.starts_with("/admin") { &machine } else { &person };
        let request = client.request(Method::TRACE, format!("{}{path}", server.origin)).bearer_auth(token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        let allowed = answer.headers()["allow"].to_str().unwrap().to_lowercase();
        let mut allowed: Vec<&str> = allowed.split(", ").collect();
        let mut described: Vec<&str> = methods.as_object().unwrap().keys().map(String::as_str).collect();
        (allowed.sort_unstable(), described.sort_unstable());
        assert_eq!(described, allowed, "{path}");
    }
    // And every line of the table of routes is there.
    let table = include_str!("../../src/http/app.rs");
    let lines = table
        .split("methods(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1).filter(|path| path.starts_with('/')));
    let routes: Vec<&str> = lines.collect();
    assert_eq!(routes.len(), paths.len(), "{routes:?}");
    for route in routes {
        assert!(paths.keys().any(|path| path.ends_with(route)), "{route}");
    }
}

/// One run of schemathesis with all checks and phases; true if it found nothing.
fn find_nothing(server: &Server, arguments: &[&str]) -> bool {
    let Some(folder) = foreign::folder("venv") else { return true };
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/schemathesis.toml");
    let mut command = Command::new(folder.join("venv/bin/st"));
    command.arg("--config-file").arg(config).arg("run").arg(format!("{}/openapi.json", server.origin));
    command.args([
        "--checks",
        "all",
        "--phases",
        "examples,coverage,fuzzing,stateful",
        "--max-examples",
        "12",
    ]);
    command.args(["--max-time", "20", "--workers", "1", "--no-color", "--warnings", "off"]);
    let found = command.args(arguments).current_dir(server.dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&found.stdout);
    println!("{said}{}", String::from_utf8_lossy(&found.stderr));
    assert!(said.contains("Operations:"), "it has tried nothing");
    found.status.success()
}

fn long_lived() -> Server {
    Server::started(&[("BULLA_ACCESS_MAX_AGE", "15m")])
}

#[tokio::test]
async fn schemathesis_finds_nothing_about_administration() {
    let server = long_lived();
    let root = server.client("root", &["--scope", "admin"]);
    let header = format!("Authorization: Bearer {}", text(&root.service().await, "access_token"));
    let paths = r"^/(admin|health|metrics|openapi|\.well-known)|^/$";
    assert!(find_nothing(&server, &["--include-path-regex", paths, "-H", &header]));
}

#[tokio::test]
async fn schemathesis_finds_nothing_about_who_is_signed_in() {
    let server = long_lived();
    let login = json!({"username": "ada", "password": crate::server::PASSWORD, "transport": "body"});
    let login: Value = server.browser().post("/auth/login", login).await.json().await.unwrap();
    let header = format!("Authorization: Bearer {}", text(&login, "access_token"));
    let not = ["--exclude-path", "/auth/logout", "--exclude-path", "/auth/login"];
    assert!(find_nothing(&server, &[&["--include-path-regex", "^/auth/", "-H", &header], &not[..]].concat()));
}

#[tokio::test]
async fn schemathesis_finds_nothing_about_clients() {
    let server = long_lived();
    let web = server.client("web", &["--scope", "read"]);
    let who = format!("{}:{}", web.id, web.secret);
    assert!(find_nothing(&server, &["--include-path-regex", "^/oauth/", "--auth", &who]));
}

#[tokio::test]
async fn schemathesis_finds_nothing_about_strangers() {
    let server = long_lived();
    assert!(find_nothing(&server, &["--include-path-regex", "^/(auth/log|auth/refresh|oauth/)"]));
}
