//! Tests a running server whose clock, or whose database's clock, jumps ahead or back.

use crate::support::{
    cluster::{self, psql},
    server::{ACCESS, Browser, REFRESH, Server, eventually},
};

#[tokio::test]
async fn a_clock_a_day_ahead_or_behind_refuses_tokens_for_a_while_and_ends_no_session() {
    const DAY: i64 = 86_400;
    let mut server = Server::with_faults(&[]);
    server.start();
    let today = server.ada().await;
    let status = |browser: &Browser| {
        // Uses a copy of the cookies, so that the answer doesn't change those of `browser`.
        let asking = server.browser();
        [ACCESS, REFRESH].iter().for_each(|name| asking.jar.set(name, &browser.jar.get(name).unwrap()));
        async move { asking.status().await }
    };
    server.inject("clock", DAY, 0);
    assert_eq!(status(&today).await, 401, "long expired, by this clock");
    let tomorrow = server.ada().await;
    assert_eq!(status(&tomorrow).await, 200);
    assert!(server.cli(&["keys", "rotate", "--now"]).status.success());
    server.clear_fault();
    assert_eq!(status(&today).await, 200, "and alive again");
    assert_eq!(status(&tomorrow).await, 401, "sealed in the future");

    server.inject("clock", -DAY, 0);
    assert_eq!(status(&today).await, 401, "sealed in the future");
    let yesterday = server.ada().await;
    assert_eq!(status(&yesterday).await, 200);
    server.clear_fault();
    assert_eq!(status(&today).await, 200);
    assert_eq!(status(&yesterday).await, 401, "its session was not renewed for a day");
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "3", "none was ended by it");
    eventually("ready", || async { server.browser().get("/health/ready").await.status() == 200 }).await;
    assert!(!server.stderr().contains("panic"), "{}", server.stderr());
}

const DECADE: i64 = 10 * 365 * 86_400;

async fn warned(server: &Server) -> bool {
    server.readiness().await.1["warnings"][0].is_string()
}

fn counts(server: &Server) -> String {
    server.sqlite3(
        "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM audit), (SELECT count(*) FROM used),
           (SELECT count(*) FROM revocations)",
    )
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_deletes_nothing() {
    let mut server = Server::with_faults(&[]);
    server.start();
    let mut ada = server.ada().await;
    let gone = server.ada().await;
    assert_eq!(gone.post("/auth/logout", serde_json::json!({})).await.status(), 204);
    server.sqlite3("INSERT INTO used VALUES (x'01', unixepoch('now', '+1 hour') * 1000)");
    eventually("a first look at the clock", || async { server.sqlite3("SELECT count(*) FROM clock") == "1" })
        .await;
    let before = counts(&server);

    server.inject("clock", DECADE, 0);
    eventually("a warning", || warned(&server)).await;
    let (status, body) = server.readiness().await;
    assert_eq!((status, &body["status"]), (200, &"ready".into()));
    let warning = body["warnings"][0].as_str().unwrap();
    assert!(warning.contains("expired rows are not deleted before 203"), "{warning}");
    let doctor = server.cli(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("the clock jumped from"), "{doctor:?}");
    server.kill();
    server.start();
    eventually("a restart knows it", || warned(&server)).await;
    assert_eq!(server.readiness().await.0, 200);
    assert_eq!(counts(&server), before, "nothing is deleted");
    let rotated = server.cli(&["keys", "rotate", "--now", "--wait", "0s"]);
    assert!(String::from_utf8_lossy(&rotated.stderr).contains("no retired key is deleted"), "{rotated:?}");

    server.clear_fault();
    eventually("no warning", || async { server.readiness().await.1.get("warnings").is_none() }).await;
    ada.origin.clone_from(&server.origin);
    assert_eq!(ada.status().await, 200, "alive again");
    server.says("expired rows are not deleted before").await;
    // The rotation has recorded an event with the wrong time, which is another fault.
    let doctor = String::from_utf8(server.cli(&["doctor"]).stdout).unwrap();
    assert!(!doctor.contains("the clock jumped from"), "{doctor}");
}

#[tokio::test]
async fn a_jump_of_the_databases_clock_deletes_nothing() {
    let Some(database) = cluster::shared().map(cluster::Cluster::create) else { return };
    let server = Server::started(&[("BULLA_DATABASE", &database.url)]);
    let _ada = server.ada().await;
    let rows = || psql(&database.url, "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM audit)");
    eventually("a first look", || async { psql(&database.url, "SELECT count(*) FROM clock") == "1" }).await;
    let before = rows();
    let kept = psql(&database.url, "SELECT pg_get_functiondef('bulla_now'::regproc)");
    psql(
        &database.url,
        &format!(
            "CREATE OR REPLACE FUNCTION bulla_now() RETURNS bigint LANGUAGE sql VOLATILE
             AS $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + {DECADE}000 $$"
        ),
    );
    eventually("a warning", || async { server.readiness().await.1["warnings"][0].is_string() }).await;
    assert_eq!(rows(), before);
    psql(&database.url, &kept);
    eventually("no warning", || async { server.readiness().await.1.get("warnings").is_none() }).await;
}
