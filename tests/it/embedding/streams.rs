//! Tests event streams and WebSockets that end with their session.

use std::{convert::Infallible, task::Poll, time::Duration};

use actix_web::{
    HttpResponse,
    web::{self, Bytes},
};
use bulla::{
    Bulla, OnStale, Policy, Principal,
    internals::{
        clock::Clock as _,
        session::{Machine, SERVICE_MAX_AGE},
    },
};
use futures_util::{StreamExt as _, future, stream};

use super::program::Program;
use crate::support::{
    installation::{Installation, secs},
    server::{Browser, sqlite3},
    stores::{Kind, every_store, kind},
};

/// A time limit that is longer than any event of these tests takes. It is reached only if the event never happens.
const LONG: Duration = Duration::from_secs(60);

/// `/events`: a stream of one event that stays open until the session ends, and then says so.
fn routes(bulla: &Bulla, app: &mut web::ServiceConfig) {
    app.service(web::resource("/events").wrap(bulla.guard()).route(web::get().to(events)));
}

async fn events(who: Principal) -> HttpResponse {
    let first = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"data: open\n\n")) });
    let ended = who.ended();
    let last = stream::once(async move {
        ended.await;
        Ok(Bytes::from_static(b"event: ended\ndata:\n\n"))
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(first.chain(last))
}

/// The open event stream of a browser.
struct Events(reqwest::Response);

impl Events {
    async fn open(browser: &Browser) -> Self {
        let mut answer = browser.get("/events").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: open\n\n");
        Self(answer)
    }

    /// Waits until the stream ends; returns the rest of its text.
    async fn rest(self) -> String {
        tokio::time::timeout(LONG, self.0.text()).await.expect("the stream ends").unwrap()
    }

    async fn is_open(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.0.chunk()).await.is_err()
    }
}

const ENDED: &str = "event: ended\ndata:\n\n";

every_store!(
    a_stream_ends_when_the_row_of_its_session_is_deleted_in_the_database,
    a_stream_ends_when_its_session_expires,
    a_stream_outlives_the_expiry_if_the_session_is_renewed_before,
);

async fn a_stream_ends_when_the_row_of_its_session_is_deleted_in_the_database() {
    let program = Program::start(|builder| builder, routes).await;
    let (ada, bob) = (program.logged_in("ada").await, program.logged_in("bob").await);
    let (first, second, mut other) =
        (Events::open(&ada).await, Events::open(&ada).await, Events::open(&bob).await);
    let delete = "DELETE FROM sessions WHERE user_id = 'member-ada'";
    match kind() {
        Kind::Sqlite => drop(sqlite3(&program.file(), delete)),
        _ => drop(program.shell().run(delete)),
    }
    assert_eq!((first.rest().await.as_str(), second.rest().await.as_str()), (ENDED, ENDED));
    assert!(other.is_open().await, "the stream of another session stays");
    assert_eq!(ada.get("/events").await.status(), 401);
    program.bulla.end_sessions_of(&program.members.named("bob").id).await.unwrap();
    assert_eq!(other.rest().await, ENDED);
}

async fn a_stream_ends_when_its_session_expires() {
    let policy = Policy { refresh_idle: secs(2), ..Policy::default() };
    let program = Program::start(|builder| builder.policy(policy), routes).await;
    let events = Events::open(&program.logged_in("ada").await).await;
    assert_eq!(events.rest().await, ENDED);
}

/// Whether a future is still waiting.
fn waits(future: &mut (impl Future<Output = ()> + Unpin)) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    matches!(std::pin::Pin::new(future).poll(&mut context), Poll::Pending)
}

/// The clock stands still and is moved by the test; only the timers of the future run in real time.
async fn a_stream_outlives_the_expiry_if_the_session_is_renewed_before() {
    let policy = Policy { refresh_idle: secs(1), session_max_age: secs(3600), ..Policy::default() };
    let installation = Installation::with(policy);
    let node = installation.node().await;
    let begun = node.begin(&node.user("ada").await).await;
    let principal = node.accepts(&begun.access);
    let mut ended = Box::pin(principal.ended());
    for _ in 0..25 {
        // By this clock the session has not expired, so the future continues to wait each time the row is read.
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut ended).await.is_err());
    }
    installation.clock.advance(secs(2));
    tokio::time::timeout(LONG, ended).await.expect("the session has expired");
}

#[tokio::test]
async fn a_stream_of_a_session_that_has_ended_ends_at_once() {
    let installation = Installation::new();
    let node = installation.node().await;
    let begun = node.begin(&node.user("ada").await).await;
    let principal = node.accepts(&begun.access);
    assert!(node.log_out(begun.row.sid).await);
    let mut ended = Box::pin(principal.ended());
    assert!(!waits(&mut ended), "a revoked session needs no read of the store");
}

#[tokio::test]
async fn a_thousand_streams_wait_without_reading_the_store_and_all_end_with_the_last_handle() {
    let installation = Installation::new();
    let node = installation.node().await;
    let begun = node.begin(&node.user("ada").await).await;
    let principal = node.accepts(&begun.access);
    let mut streams: Vec<_> = (0..1000).map(|_| Box::pin(principal.ended())).collect();
    let all =
        future::join_all(streams.iter_mut().map(|ended| tokio::time::timeout(Duration::from_secs(5), ended)));
    assert!(all.await.iter().all(Result::is_err), "all have read the row once and wait");
    installation.shell().run("ALTER TABLE users RENAME TO hidden");
    assert!(streams.iter_mut().all(waits), "the store is not asked again");
    drop(node);
    tokio::time::timeout(LONG, future::join_all(streams)).await.expect("all end");
}

#[tokio::test]
async fn streams_end_when_the_revocations_could_not_be_read_for_too_long() {
    for (on_stale, bound) in [(OnStale::Refuse, 2), (OnStale::Serve, 6)] {
        let policy = Policy {
            max_staleness: secs(2),
            access_max_age: secs(4),
            replay_window: secs(1),
            on_stale,
            ..Policy::default()
        };
        let program = Program::start(|builder| builder.policy(policy), routes).await;
        let events = Events::open(&program.logged_in("ada").await).await;
        let since = std::time::Instant::now();
        // The follower reads this table.
        program.shell().run("ALTER TABLE revocations RENAME TO hidden");
        assert_eq!(events.rest().await, ENDED);
        assert!(since.elapsed() >= secs(bound) - Duration::from_millis(500), "{on_stale:?}");
    }
}

#[tokio::test]
async fn a_principal_that_no_guard_has_accepted_never_ends() {
    let installation = Installation::new();
    let node = installation.node().await;
    let begun = node.begin(&node.user("ada").await).await;
    let mut ended = Box::pin(begun.principal.ended());
    node.log_out(begun.row.sid).await;
    assert!(waits(&mut ended));
}

#[tokio::test]
async fn the_streams_of_a_machine_end_when_its_service_token_expires() {
    let installation = Installation::new();
    let node = installation.node().await;
    let payload = r#"{"id":"client:cron","sid":"0t4mBqJkT0WQfqk7mFZQ1g","scope":"api"}"#;
    let machine = Machine::read(payload, installation.clock.now()).unwrap();
    installation.clock.advance(SERVICE_MAX_AGE - secs(1));
    let mut ended = Box::pin(node.sessions.service_ended(&machine));
    // A second later the clock of the installation still says that a second is left.
    assert!(tokio::time::timeout(secs(3), &mut ended).await.is_err());
    installation.clock.advance(secs(1));
    tokio::time::timeout(LONG, ended).await.expect("the token has expired");
}
