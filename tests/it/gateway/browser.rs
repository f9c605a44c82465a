//! The gateway in a real browser, before the sample app.

use std::time::{Duration, Instant};

use super::before;
use crate::support::{
    app::SampleApp,
    chromium::Chromium,
    server::{ACCESS, REFRESH, Server, eventually},
};

fn a_minute_passes(server: &Server) {
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
}

#[tokio::test]
async fn a_deep_link_leads_through_the_login_to_the_page_and_a_logout_closes_it() {
    let Some(app) = SampleApp::start() else { return };
    let server = before(&app.url);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.goes_to("/reports?year=2026").await;
    assert_eq!((person.status().await, person.title().await.as_str()), (401, "Sign in · Bulla"));
    person.signs_in("ada", crate::support::server::PASSWORD).await;
    assert_eq!((person.place().await.as_str(), person.title().await.as_str()), ("/reports?year=2026", "App"));
    assert_eq!(person.reads("h1").await, "Hello 1");
    // Access cookie gone: a navigation, a form with a body and a script's request are served.
    person.loses_cookie(ACCESS).await;
    a_minute_passes(&server);
    person.goes_to("/next").await;
    assert_eq!((person.status().await, person.reads("h1").await.as_str()), (200, "Hello 1"));
    person.loses_cookie(ACCESS).await;
    a_minute_passes(&server);
    let script = "return await (await fetch('/upload', {method: 'POST', body: 'x'.repeat(100000)})).json()";
    assert_eq!(person.runs(script).await["bytes"], 100_000);
    person.loses_cookie(ACCESS).await;
    a_minute_passes(&server);
    person
        .runs(
            "document.body.innerHTML = `<form method=post action=/upload><textarea name=t></textarea><button>send</button></form>`; \
             document.forms[0].t.value = 'y'.repeat(50000); document.forms[0].submit()",
        )
        .await;
    eventually("the form is sent", async || person.place().await == "/upload").await;
    assert!(person.reads("body").await.contains("50002"));
    // A logout link is a form to Bulla.
    person.runs("document.body.innerHTML = `<form method=post action=/auth/logout><button>out</button></form>`; document.forms[0].submit()").await;
    eventually("the person is logged out", async || person.cookie(REFRESH).await.is_none()).await;
    person.goes_to("/reports").await;
    assert_eq!(person.status().await, 401);
}

#[tokio::test]
async fn an_event_stream_and_a_websocket_in_a_page_outlive_two_access_tokens_and_end_with_the_session() {
    let Some(app) = SampleApp::start() else { return };
    let server = Server::started(&[
        ("BULLA_UPSTREAM", &app.url),
        ("BULLA_ACCESS_MAX_AGE", "5s"),
        ("BULLA_REPLAY_WINDOW", "1s"),
    ]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.goes_to("/").await;
    person.signs_in("ada", crate::support::server::PASSWORD).await;
    person
        .runs(
            "window.heardEvents = 0; window.heardErrors = 0; window.heardMessages = 0; window.heardCloses = 0;
             const source = new EventSource('/events');
             source.onmessage = () => window.heardEvents++; source.onerror = () => { window.heardErrors++; source.close() };
             const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
             socket.onopen = () => setInterval(() => socket.readyState === 1 && socket.send('tick'), 500);
             socket.onmessage = () => window.heardMessages++; socket.onclose = () => window.heardCloses++;",
        )
        .await;
    let number = async |name: &str| person.runs(&format!("return window.{name}")).await.as_u64().unwrap();
    // Two access lifetimes: the tokens that opened the streams have expired.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(number("heardEvents").await >= 9 && number("heardMessages").await >= 15);
    assert_eq!((number("heardErrors").await, number("heardCloses").await), (0, 0));
    server.sqlite3("DELETE FROM sessions");
    let deleted = Instant::now();
    eventually("both streams end", async || {
        (number("heardErrors").await, number("heardCloses").await) == (1, 1)
    })
    .await;
    assert!(deleted.elapsed() < Duration::from_secs(1), "{:?}", deleted.elapsed());
}

#[tokio::test]
async fn eight_tabs_are_served_after_the_access_token_has_expired() {
    let Some(app) = SampleApp::start() else { return };
    let server = before(&app.url);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.goes_to("/").await;
    person.signs_in("ada", crate::support::server::PASSWORD).await;
    person.opens_tabs(8, "/page").await;
    person.loses_cookie(ACCESS).await;
    a_minute_passes(&server);
    person.reloads_every_tab().await;
    let headings = person.reads_in_every_tab("h1").await;
    assert!(headings.len() >= 9 && headings.iter().all(|heading| heading == "Hello 1"), "{headings:?}");
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "1");
}
