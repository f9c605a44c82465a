//! Tests a running server whose clock jumps.

use crate::support::server::{ACCESS, Browser, REFRESH, Server, eventually};

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
    server.order("clock", DAY, 0);
    assert_eq!(status(&today).await, 401, "long expired, by this clock");
    let tomorrow = server.ada().await;
    assert_eq!(status(&tomorrow).await, 200);
    assert!(server.cli(&["keys", "rotate", "--now"]).status.success());
    server.clear_fault();
    assert_eq!(status(&today).await, 200, "and alive again");
    assert_eq!(status(&tomorrow).await, 401, "sealed in the future");

    server.order("clock", -DAY, 0);
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
