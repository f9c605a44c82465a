//! Tests the contents and the format of the server's log, and which system user the audit names for a command.

use std::{
    collections::BTreeSet,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::server::{PASSWORD, Server, eventually};

const JSON: (&str, &str) = ("BULLA_LOG", "json");

/// Parses a log in JSON; fails at a line that is not a JSON object.
fn lines(log: &str) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    let lines: Vec<Value> = log.lines().map(line).collect();
    assert!(lines.iter().all(Value::is_object), "{log}");
    lines
}

/// The fields of the log lines for requests to a path, in order.
fn requests(log: &str, path: &str) -> Vec<Value> {
    let fields = lines(log).into_iter().map(|line| line["fields"].clone());
    fields.filter(|fields| fields["message"] == "request" && fields["path"] == path).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn every_line_of_a_json_log_is_json() {
    let mut server = Server::new(&[JSON, ("BULLA_LOG_LEVEL", "debug"), ("BULLA_NONSENSE", "x")]);
    server.start();
    let browser = server.ada().await;
    assert_eq!(browser.status().await, 200);
    let wrong = json!({"username": "ad\"a\n", "password": "wrong"});
    assert_eq!(browser.post("/auth/login", wrong).await.status(), 401);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let log = server.stderr();
    let lines = lines(&log);
    assert!(lines[0]["fields"]["message"].as_str().unwrap().contains("BULLA_NONSENSE"), "{log}");
    for said in ["Bulla serves on http://", "login.failed", "stopping after the requests in progress"] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[test]
fn an_error_at_start_is_json_if_the_log_is_json() {
    let server = Server::new(&[]);
    let file = |text: &str| std::fs::write(server.path("bulla.toml"), text).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases: [(&str, &[&str], i32, &str); 7] = [
        ("", &["serve", "--listen", &taken], 1, "--listen"),
        ("", &["--keys", "nowhere", "serve"], 3, "bulla init"),
        ("", &["--database", "nowhere.db", "serve"], 5, "nowhere.db"),
        ("", &["serve", "--nonsense"], 2, "--nonsense"),
        ("", &["serve", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"], 1, "nowhere.pem"),
        ("acess_max_age = '1m'\n", &["serve"], 2, "access_max_age"),
        ("listen = \n", &["serve"], 2, "bulla.toml"),
    ];
    for (wrong, arguments, code, said) in cases {
        file(&format!("log = 'json'\n{wrong}"));
        let failed = server.cli(arguments);
        let log = stderr(&failed);
        assert_eq!(failed.status.code(), Some(code), "{arguments:?}: {log}");
        let lines = lines(&log);
        let last = lines.last().unwrap_or_else(|| panic!("{arguments:?} says nothing"));
        assert_eq!(last["level"], "ERROR", "{log}");
        assert!(last["fields"]["message"].as_str().unwrap().contains(said), "{arguments:?}: {log}");
    }
    // The environment alone sets the format; it takes precedence over the file.
    file("log = 'text'\nlisten = 1\n");
    let failed = server.command(&["serve"]).env("BULLA_LOG", "json").output().unwrap();
    assert_eq!(lines(&stderr(&failed)).len(), 1);
    file("log = 'json'\nlisten = 1\n");
    let failed = server.command(&["serve"]).env("BULLA_LOG", "text").output().unwrap();
    assert!(stderr(&failed).starts_with("bulla: "), "{}", stderr(&failed));
}

#[test]
fn only_the_server_writes_a_log() {
    let server = Server::new(&[JSON]);
    let failed = server.cli(&["user", "show", "nobody"]);
    assert!(stderr(&failed).starts_with("bulla: there is no user"), "{}", stderr(&failed));
    let failed = server.cli(&["user", "--nonsense"]);
    assert!(stderr(&failed).starts_with("error: "), "{}", stderr(&failed));
}

#[tokio::test]
async fn the_log_line_of_a_request_has_address_user_and_id_without_nested_quotes() {
    let server =
        Server::started(&[JSON, ("BULLA_LOG_LEVEL", "debug"), ("BULLA_TRUSTED_PROXIES", "127.0.0.1")]);
    let browser = server.ada().await;
    assert_eq!(browser.status().await, 200);
    let ask = |path: &str| browser.client.get(format!("{}{path}", server.origin));
    ask("/a%22b").header("x-forwarded-for", "203.0.113.7:51812").send().await.unwrap();
    ask("/unknown").header("x-forwarded-for", "_hidden").send().await.unwrap();
    let basic = ask("/auth/sessions").basic_auth("ada", Some(PASSWORD)).send().await.unwrap();
    assert_eq!(basic.status(), 200);
    let body = json!({"username": "ada", "password": PASSWORD, "transport": "body"});
    let tokens = server.browser().post("/auth/login", body).await.json::<Value>().await.unwrap();
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    assert_eq!(server.browser().post("/auth/refresh", refresh).await.status(), 200);
    assert_eq!(browser.post("/auth/logout", json!({})).await.status(), 204);
    let log = || server.stderr();
    eventually("the last line", || async { !requests(&log(), "/auth/logout").is_empty() }).await;

    let log = log();
    let of = |path: &str| requests(&log, path);
    let ada = json!("1");
    for (path, user) in [
        ("/auth/login", Some(&ada)),
        ("/auth/session", Some(&ada)),
        ("/auth/sessions", Some(&ada)),
        ("/auth/refresh", Some(&ada)),
        ("/auth/logout", Some(&ada)),
        ("/a%22b", None),
        ("/unknown", None),
    ] {
        let lines = of(path);
        assert!(!lines.is_empty(), "{path}: {log}");
        assert!(lines.iter().all(|line| line.get("user") == user), "{path}: {lines:?}");
    }
    assert_eq!(of("/a%22b")[0]["address"], "203.0.113.7");
    assert_eq!(of("/unknown")[0]["address"], "unknown");
    assert_eq!(of("/auth/session")[0]["address"], "127.0.0.1");
    assert_eq!(
        (&of("/auth/logout")[0]["method"], &of("/auth/logout")[0]["status"]),
        (&json!("POST"), &json!(204))
    );
    let all =
        lines(&log).into_iter().filter_map(|line| line["fields"]["request_id"].as_str().map(str::to_owned));
    let (all, ids) = all.fold((0, BTreeSet::new()), |(count, mut ids), id| {
        ids.insert(id);
        (count + 1, ids)
    });
    assert!(all >= 7 && ids.len() == all, "an id for each: {log}");
    assert!(ids.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())), "{ids:?}");
    assert!(!log.contains(PASSWORD) && !log.contains("bulX"), "{log}");
}

#[tokio::test]
async fn other_lines_of_a_request_carry_its_id() {
    let server = Server::started(&[JSON, ("BULLA_LOG_LEVEL", "debug")]);
    let wrong = json!({"username": "ada", "password": "wrong"});
    assert_eq!(server.browser().post("/auth/login", wrong).await.status(), 401);
    let log = || server.stderr();
    eventually("the line", || async { !requests(&log(), "/auth/login").is_empty() }).await;
    let log = log();
    let failed = lines(&log).into_iter().find(|line| line["fields"]["message"] == "login.failed").unwrap();
    assert_eq!(failed["span"]["id"], requests(&log, "/auth/login")[0]["request_id"], "{log}");
    assert_eq!(failed["fields"]["address"], "127.0.0.1");
}

#[tokio::test]
async fn the_log_line_of_a_machine_names_its_client() {
    let server = Server::started(&[("BULLA_LOG_LEVEL", "debug")]);
    let added = server.cli(&["--json", "client", "add", "ops", "--scope", "admin"]);
    let client: Value = serde_json::from_slice(&added.stdout).unwrap();
    let (id, secret) = (client["id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    let http = reqwest::Client::new();
    let asked = http.post(format!("{}/oauth/token", server.origin)).basic_auth(id, Some(secret));
    let token = asked.form(&[("grant_type", "client_credentials")]).send().await.unwrap();
    let token: Value = token.json().await.unwrap();
    let asked = http.get(format!("{}/admin/users", server.origin));
    let users = asked.bearer_auth(token["access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(users.status(), 200);
    let log = || server.stderr();
    eventually("the line", || async { log().contains("path=/admin/users ") }).await;
    for path in ["/oauth/token", "/admin/users"] {
        let line = log().lines().find(|line| line.contains(&format!("path={path} "))).map(str::to_owned);
        let line = line.unwrap_or_else(|| panic!("{path}: {}", log()));
        assert!(line.contains(&format!("user=client:{id} ")), "{line}");
        assert!(line.contains("address=127.0.0.1 ") && !line.contains('"'), "{line}");
    }
}

#[test]
fn the_audit_says_which_system_user_ran_a_command_and_what_it_changed() {
    let server = Server::new(&[]);
    let name = |arguments: &[&str]| {
        let said = Command::new("id").args(arguments).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    };
    let me = match name(&["-un"]) {
        known if !known.is_empty() => known,
        _ => format!("uid={}", name(&["-u"])),
    };
    let run = |arguments: &[&str], sudo: Option<&str>| {
        let mut command = server.command(arguments);
        command.env_remove("SUDO_USER").env_remove("DOAS_USER");
        if let Some(sudo) = sudo {
            command.env("SUDO_USER", sudo);
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", stderr(&done));
    };
    server.add_user("bob", &["reader"]);
    run(&["user", "role", "bob", "--add", "ops"], None);
    run(&["user", "disable", "bob"], Some("grace"));
    run(&["user", "delete", "bob"], None);
    let row = |event: &str| {
        let row = server.sqlite3(&format!("SELECT actor, detail FROM audit WHERE event = '{event}'"));
        let (actor, detail) = row.split_once('|').unwrap();
        (actor.to_owned(), serde_json::from_str::<Value>(detail).unwrap())
    };
    let changed = json!({"changed": {"roles": {"from": ["reader"], "to": ["reader", "ops"]}}});
    assert_eq!(row("user.changed"), (format!("cli:{me}"), changed));
    let changed = json!({"changed": {"disabled": {"from": false, "to": true}}});
    assert_eq!(row("user.disabled"), (format!("cli:{me}(sudo:grace)"), changed));
    assert_eq!(row("user.deleted"), (format!("cli:{me}"), json!({"name": "bob"})));
}
