//! Tests the lists of `/admin`: filters, pages, and the answer to a malformed filter.

use serde_json::{Value, json};

use crate::support::server::{Browser, PASSWORD, Server};

async fn page(browser: &Browser, path: &str) -> Value {
    let answer = browser.get(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

/// The texts of one field in all pages of a list.
async fn all(browser: &Browser, path: &str, list: &str, field: &str) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(browser, &format!("{path}{after}")).await;
        let rows = page[list].as_array().unwrap();
        found.extend(rows.iter().map(|row| row[field].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
}

async fn log_in(server: &Server, name: &str, agent: &str) -> String {
    let login = json!({"username": name, "password": PASSWORD, "transport": "body"});
    let client = reqwest::Client::new();
    let request =
        client.post(format!("{}/auth/login", server.origin)).header("user-agent", agent).json(&login);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["sid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn sessions_are_listed_by_filters_page_by_page_with_names() {
    let server = Server::started(&[]);
    server.add_user("bob", &[]);
    let ada = server.ada().await;
    let mut bobs = Vec::new();
    for agent in ["Firefox/128.0", "curl/8", "FIREFOX/129"] {
        bobs.push(log_in(&server, "bob", agent).await);
    }
    bobs.reverse();
    assert_eq!(all(&ada, "/admin/sessions?user=2&limit=1", "sessions", "sid").await, bobs);
    assert_eq!(all(&ada, "/admin/sessions?limit=3", "sessions", "sid").await.len(), 4);
    assert_eq!(all(&ada, "/admin/sessions?agent=firefox", "sessions", "sid").await, [&*bobs[0], &*bobs[2]]);
    assert_eq!(all(&ada, "/admin/sessions?ip=127.0.0.1&user=2", "sessions", "sid").await, bobs);
    for none in ["ip=203.0.113.7", "user=99", "agent=opera"] {
        let found = page(&ada, &format!("/admin/sessions?{none}")).await;
        assert_eq!(found, json!({"sessions": [], "next": null}), "{none}");
    }
    let found = page(&ada, "/admin/sessions?user=2&limit=1").await;
    assert_eq!(
        (&found["sessions"][0]["user_name"], found["sessions"][0]["created_at"].is_i64()),
        (&json!("bob"), true)
    );
}

#[tokio::test]
async fn users_are_listed_by_filters_page_by_page() {
    let server = Server::started(&[]);
    server.add_user("bob", &["ops"]);
    server.add_user("carol", &["ops"]);
    let ada = server.ada().await;
    assert!(server.cli(&["user", "disable", "carol"]).status.success());
    assert_eq!(all(&ada, "/admin/users?limit=1", "users", "name").await, ["ada", "bob", "carol"]);
    assert_eq!(all(&ada, "/admin/users?role=ops", "users", "name").await, ["bob", "carol"]);
    assert_eq!(all(&ada, "/admin/users?role=ops&disabled=false", "users", "name").await, ["bob"]);
    assert_eq!(all(&ada, "/admin/users?name=CAR&disabled=true", "users", "name").await, ["carol"]);
    assert_eq!(page(&ada, "/admin/users?after=3").await, json!({"users": [], "next": null}));
}

#[tokio::test]
async fn a_malformed_or_unknown_filter_is_refused_with_its_name() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    for (path, named) in [
        ("/admin/users?role=", "role"),
        ("/admin/users?disabled=yes", "disabled"),
        ("/admin/users?after=ada", "after"),
        ("/admin/users?limit=1001", "limit"),
        ("/admin/users?rolle=ops", "rolle"),
        ("/admin/users?role=a&role=b", "role"),
        ("/admin/sessions?user=%00", "user"),
        ("/admin/sessions?ip=localhost", "ip"),
        ("/admin/sessions?agent=", "agent"),
        ("/admin/sessions?after=7", "after"),
        ("/admin/sessions?limit=0", "limit"),
        ("/admin/sessions?adress=x", "adress"),
    ] {
        let answer = ada.get(path).await;
        assert_eq!(answer.status(), 400, "{path}");
        let problem: Value = answer.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(&format!("parameter {named} "))
                || detail.contains(&format!("parameter {named}.")),
            "{path}: {detail}"
        );
    }
}
