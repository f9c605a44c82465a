//! Tests `GET /admin/audit`: its filters, its pages, and the problems of malformed filters.

use serde_json::Value;

use crate::support::server::Server;

#[tokio::test]
async fn the_audit_is_read_page_by_page_with_filters() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    server.sqlite3(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 24)
         INSERT INTO audit (at, event, actor, subject)
         SELECT 1793491200000 + i * 1000, iif(i % 2, 'login', 'logout'), '77', i FROM n",
    );
    let read = async |query: &str| {
        let answer = ada.get(&format!("/admin/audit?{query}")).await;
        assert_eq!(answer.status(), 200, "{query}");
        let page: Value = answer.json().await.unwrap();
        let subjects = page["audit"].as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap());
        (subjects.collect::<Vec<_>>().join(" "), page["next"].as_i64())
    };
    let filter = "user=77&event=login&since=2026-11-01T00:00:03Z&until=1793491220000";
    assert_eq!(read(filter).await, ("3 5 7 9 11 13 15 17 19".into(), None));
    assert_eq!(read(&format!("{filter}&limit=2")).await, ("17 19".into(), None), "the newest");
    let mut after = Some(0);
    let mut pages = Vec::new();
    while let Some(number) = after {
        let (page, next) = read(&format!("{filter}&limit=4&after={number}")).await;
        pages.push(page);
        after = next;
    }
    assert_eq!(pages, ["3 5 7 9", "11 13 15 17", "19"]);
    assert_eq!(read("user=nobody").await, (String::new(), None));
}

#[tokio::test]
async fn a_malformed_filter_of_the_audit_is_named_with_an_example() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    for (query, name, example) in [
        ("since=yesterday", "since", "2026-11-20T19:00:00Z"),
        ("until=2026-02-30T00:00:00Z", "until", "2026-11-20T19:00:00Z"),
        ("user=", "user", "for example 7"),
        ("event=Log%20in", "event", "login.failed"),
        ("after=x", "after", "for example"),
        ("after=-1", "after", "for example"),
        ("limit=0", "limit", "1 to 1000"),
        ("limit=1001", "limit", "1 to 1000"),
        ("limit=", "limit", "1 to 1000"),
    ] {
        let answer = ada.get(&format!("/admin/audit?{query}")).await;
        assert_eq!(answer.status(), 400, "{query}");
        let problem: Value = answer.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("parameter {name} ")) && detail.contains(example), "{detail}");
    }
    assert_eq!(ada.get("/admin/audit?sincee=1").await.status(), 400, "an unknown filter");
}
