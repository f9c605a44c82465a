//! Tests that a database that does not answer gives "cannot tell" in less than a second, and that the program recovers by
//! itself.

use std::{sync::Arc, time::Instant};

use bulla::internals::{
    session::Denylist,
    store::{
        Actor, AuditEvent, Event, Store, Written,
        postgres::{Options, PostgresStore, PostgresUrl},
    },
};
use futures_util::future::join_all;

use super::{begin, database, end, new_session, open, rotate, unavailable, user};
use crate::support::faulty_proxy::{CUT, MUTE, OPEN, Proxy, SILENT};
use crate::support::{
    cluster::{self, Cluster, Shell, psql},
    installation::{millis, secs},
    server::{ACCESS, Server, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_is_unavailable_within_one_second() {
    let Some(database) = database() else { return };
    let options = Options { connections: 2, ..Options::default() };
    let store: Arc<dyn Store> =
        Arc::new(PostgresStore::open_with(&PostgresUrl::new(&database.url), options).await.unwrap());
    let row = begin(&store).await;
    let shell = Shell::connect(&database.url).unwrap();
    shell.run("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").unwrap();
    let started = Instant::now();
    let reads = join_all((0..8).map(|_| store.session(row.sid))).await;
    let (writes, took) = (join_all((0..8).map(|_| rotate(&store, &row))).await, started.elapsed());
    assert!(reads.iter().all(unavailable) && writes.iter().all(unavailable), "{reads:?} {writes:?}");
    assert!(took < secs(2), "{took:?} for both");
    shell.run("ROLLBACK").unwrap();
    let rotated = rotate(&store, &store.session(row.sid).await.unwrap().0.unwrap()).await;
    assert_eq!(rotated.unwrap(), Written::Applied, "and then it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_queries_of_one_request_share_one_time_limit() {
    let Some(database) = database() else { return };
    let mut server = Server::new(&[("BULLA_DATABASE", &database.url)]);
    server.start();
    let ada = server.ada().await;
    ada.jar.remove(ACCESS);
    let (row, user) = (Shell::connect(&database.url).unwrap(), Shell::connect(&database.url).unwrap());
    row.run("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").unwrap();
    user.run("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();
    let release = async {
        tokio::time::sleep(millis(550)).await;
        row.run("ROLLBACK").unwrap();
    };
    let asked = Instant::now();
    let (answer, ()) = tokio::join!(ada.post("/auth/refresh", serde_json::json!({})), release);
    // The store's time limit, plus the time of the HTTP request.
    assert!(answer.status() == 503 && asked.elapsed() < millis(1150), "{:?}", asked.elapsed());
    user.run("ROLLBACK").unwrap();
    assert_eq!(ada.post("/auth/refresh", serde_json::json!({})).await.status(), 200, "and then it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_network_is_unavailable_within_one_second_and_recovers() {
    let Some(database) = database() else { return };
    let proxy = Proxy::before(&database.url).await;
    let store = open(&proxy.url).await.unwrap();
    let row = begin(&store).await;
    for state in [SILENT, CUT] {
        proxy.be(state);
        tokio::time::sleep(millis(50)).await;
        let started = Instant::now();
        let (read, written, ended) =
            tokio::join!(store.session(row.sid), rotate(&store, &row), end(&store, row.sid));
        assert!(
            unavailable(&read) && unavailable(&written) && unavailable(&ended),
            "{read:?} {written:?} {ended:?}"
        );
        assert!(started.elapsed() < secs(1), "{:?}", started.elapsed());
        proxy.be(OPEN);
        assert_eq!(store.session(row.sid).await.unwrap().0, Some(row.clone()), "nothing was done");
    }
    assert_eq!(rotate(&store, &row).await.unwrap(), Written::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_reported_as_unavailable() {
    let Some(database) = database() else { return };
    let proxy = Proxy::before(&database.url).await;
    let store = open(&proxy.url).await.unwrap();
    let row = begin(&store).await;
    // The statement is already prepared, so the next message to the database is the statement itself.
    assert_eq!(rotate(&store, &row).await.unwrap(), Written::Applied);
    let row = store.session(row.sid).await.unwrap().0.unwrap();
    proxy.be(MUTE);
    let answer = rotate(&store, &row).await;
    assert!(unavailable(&answer), "{answer:?}");
    proxy.be(OPEN);
    eventually("it was committed all the same", || async {
        store.session(row.sid).await.is_ok_and(|(now, _)| now.unwrap().generation == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_delays_no_other_session() {
    let Some(database) = database() else { return };
    let store = open(&database.url).await.unwrap();
    let (held, mut rows) = (begin(&store).await, Vec::new());
    for _ in 0..50 {
        rows.push(begin(&store).await);
    }
    let shell = Shell::connect(&database.url).unwrap();
    shell.run(&format!("BEGIN; SELECT 1 FROM sessions WHERE sid = '{}' FOR UPDATE", held.sid)).unwrap();
    let others = join_all(rows.iter().map(|row| rotate(&store, row)));
    let (stuck, others) = tokio::join!(rotate(&store, &held), others);
    assert!(unavailable(&stuck), "{stuck:?}");
    assert!(others.iter().all(|written| matches!(written, Ok(Written::Applied))), "{others:?}");
    shell.run("ROLLBACK").unwrap();
    assert_eq!(rotate(&store, &held).await.unwrap(), Written::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_cap_holds_at_every_default_isolation_level() {
    for level in ["repeatable read", "serializable"] {
        let Some(database) = database() else { return };
        let default =
            format!("ALTER DATABASE {} SET default_transaction_isolation = '{level}'", database.name);
        psql(&database.url, &default);
        let stores = [open(&database.url).await.unwrap(), open(&database.url).await.unwrap()];
        let login = |n: usize| {
            let store = Arc::clone(&stores[n % 2]);
            async move {
                store.begin_session(new_session(), 4, AuditEvent::new(Event::Login, Actor::Unknown, "")).await
            }
        };
        let begun = join_all((0..8).map(login)).await;
        assert!(begun.iter().all(|begun| matches!(begun, Ok(Some(_)))), "{begun:?}");
        assert_eq!(stores[0].sessions(Some(&user()), 100).await.unwrap().0.len(), 4, "{level}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_immediate_shutdown_of_the_database_nothing_is_lost() {
    if cluster::shared().is_none() {
        return;
    }
    let Some(mut own) = Cluster::start() else { return };
    let store = {
        let created = own.create();
        let store = open(&created.url).await.unwrap();
        // The database must live as long as the server does.
        std::mem::forget(created);
        store
    };
    let list = Arc::new(Denylist::default());
    let _following = store.follow(list.clone()).await.unwrap();
    let (kept, ended) = (begin(&store).await, begin(&store).await);
    for round in 0..3 {
        let row = store.session(kept.sid).await.unwrap().0.unwrap();
        assert_eq!(rotate(&store, &row).await.unwrap(), Written::Applied);
        own.stop("QUIT");
        let started = Instant::now();
        let away = (store.session(kept.sid).await, end(&store, ended.sid).await);
        assert!(unavailable(&away.0) && unavailable(&away.1), "{away:?}");
        assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());
        own.start_again();
        eventually("it answers again", || async { store.check_health().await.is_ok() }).await;
        let row = store.session(kept.sid).await.unwrap().0.unwrap();
        assert_eq!(row.generation, round + 1, "what was acknowledged is there");
        eventually("the feed is fresh again", || async { list.age() < millis(500) }).await;
    }
    end(&store, ended.sid).await.unwrap();
    assert!(list.denies(ended.sid));
}
