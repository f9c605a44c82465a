//! Tests that the feed delivers every revocation, from any source and in any order of commits.

use std::sync::Arc;

use bulla::internals::{
    ids::Sid,
    session::{Denied, Denylist, OnStale, Policy},
    store::{
        Actor, AuditEvent, Database, Event, NewSession, Store, Written,
        postgres::{PostgresStore, PostgresUrl},
    },
};

use super::{begin, database, end, hears, new_session, open, rotate};
use crate::support::faulty_proxy::{OPEN, Proxy, SILENT};
use crate::support::{
    cluster::{self, Shell, psql},
    installation::{Installation, millis, secs},
    server::eventually,
    stores::{Kind, over},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_commits_late_is_not_missed() {
    let Some(database) = database() else { return };
    let store = open(&database.url).await.unwrap();
    let list = Arc::new(Denylist::default());
    let _following = store.follow(list.clone()).await.unwrap();
    let (late, mut early) = (begin(&store).await, Vec::new());
    let shell = Shell::connect(&database.url).unwrap();
    shell.run(&format!("BEGIN; DELETE FROM sessions WHERE sid = '{}'", late.sid)).unwrap();
    // Meanwhile other revocations with higher numbers are committed and delivered, over many polls of the feed.
    for _ in 0..12 {
        let row = begin(&store).await;
        end(&open(&database.url).await.unwrap(), row.sid).await.unwrap();
        assert!(hears(&list, row.sid).await < secs(1));
        early.push(row.sid);
    }
    // Another transaction takes a number and is rolled back.
    let other = Shell::connect(&database.url).unwrap();
    let kept = begin(&store).await;
    other.run(&format!("BEGIN; DELETE FROM sessions WHERE sid = '{}'", kept.sid)).unwrap();
    tokio::time::sleep(millis(1200)).await;
    other.run("ROLLBACK").unwrap();
    assert!(!list.denies(late.sid) && list.age() < secs(1));
    shell.run("COMMIT").unwrap();
    let took = hears(&list, late.sid).await;
    assert!(took < secs(1), "{took:?}");
    assert!(early.iter().all(|sid| list.denies(*sid)) && !list.denies(kept.sid));
    // The revocation has the time of the commit, because no node could see it earlier.
    let row = |sid: Sid| {
        let row =
            shell.run(&format!("SELECT revoked_at, expires_at FROM revocations WHERE target = '{sid}'"));
        row.unwrap()[0].iter().map(|n| n.parse::<i64>().unwrap()).collect::<Vec<_>>()
    };
    let (late, last) = (row(late.sid), row(early[11]));
    assert!(late[0] >= last[0] + 1200 && late[1] - late[0] == 1_020_000, "{late:?} {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_whose_connection_is_cut_catches_up_within_a_second() {
    let Some(database) = database() else { return };
    let store = open(&database.url).await.unwrap();
    let list = Arc::new(Denylist::default());
    let _following = store.follow(list.clone()).await.unwrap();
    let shell = Shell::connect(&database.url).unwrap();
    let cut =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%revocations_seq_seq%'
        AND datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..5 {
        let row = begin(&store).await;
        eventually("a follower to cut", || async { !shell.run(cut).unwrap().is_empty() }).await;
        shell.run(&format!("DELETE FROM sessions WHERE sid = '{}'", row.sid)).unwrap();
        let took = hears(&list, row.sid).await;
        assert!(took < secs(1), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_without_a_database_becomes_stale_and_refuses_by_policy() {
    let Some(cluster) = cluster::shared() else { return };
    let created = cluster.create();
    let policy = Policy { on_stale: OnStale::Refuse, max_staleness: millis(600), ..Policy::default() };
    let proxy = Proxy::before(&created.url).await;
    over(Kind::Postgres, async move {
        let installation = Installation::with(policy);
        let node = installation.node_over(&Database::from(proxy.url.as_str())).await;
        let user = node.user("ada").await;
        let issued = node.begin(&user).await;
        assert!(node.sessions.authenticate(issued.access.as_str()).is_ok());
        proxy.be(SILENT);
        eventually("the feed is too old", || async {
            let denied = node.sessions.authenticate(issued.access.as_str());
            matches!(denied, Err(Denied::CannotTell(_)))
        })
        .await;
        proxy.be(OPEN);
        eventually("the feed is fresh again", || async {
            node.sessions.authenticate(issued.access.as_str()).is_ok()
        })
        .await;
        // A revocation that another process made in between is in force.
        proxy.be(SILENT);
        let other: Arc<dyn Store> =
            Arc::new(PostgresStore::open(&PostgresUrl::new(&created.url)).await.unwrap());
        end(&other, issued.row.sid).await.unwrap();
        tokio::time::sleep(millis(300)).await;
        proxy.be(OPEN);
        eventually("it is revoked here too", || async {
            matches!(node.sessions.authenticate(issued.access.as_str()), Err(Denied::Session))
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_revocations_send_notifications() {
    let Some(database) = database() else { return };
    let store = open(&database.url).await.unwrap();
    let (client, mut connection) =
        tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let tokio_postgres::AsyncMessage::Notification(_) = message {
                let _ = heard.send(());
            }
        }
    });
    client.batch_execute("LISTEN bulla_revocations").await.unwrap();
    let row = begin(&store).await;
    assert_eq!(rotate(&store, &row).await.unwrap(), Written::Applied);
    store.record(AuditEvent::new(Event::read("x"), Actor::Unknown, "")).await.unwrap();
    store.report_node("one", 1, "1").await.unwrap();
    store.sweep(secs(1020), secs(3600)).await.unwrap();
    client.batch_execute("SELECT 1").await.unwrap();
    assert!(hears.try_recv().is_err());
    end(&store, row.sid).await.unwrap();
    hears.recv().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn truncating_a_table_revokes_its_sessions() {
    let Some(database) = database() else { return };
    let store = open(&database.url).await.unwrap();
    let list = Arc::new(Denylist::default());
    let _following = store.follow(list.clone()).await.unwrap();
    let row = begin(&store).await;
    // With `psql`, which operators use.
    psql(&database.url, "TRUNCATE sessions");
    assert!(hears(&list, row.sid).await < secs(1));
    psql(&database.url, "INSERT INTO users (name, created_at) VALUES ('ada', 1)");
    let ada = store.user_by_name("ada").await.unwrap().unwrap();
    let new = NewSession { user_id: ada.id, ..new_session() };
    store
        .begin_session(new.clone(), 20, AuditEvent::new(Event::Login, Actor::Unknown, ""))
        .await
        .unwrap()
        .unwrap();
    psql(&database.url, "INSERT INTO clients (id, name, created_at) VALUES ('cron', 'Cron', 1)");
    psql(&database.url, "TRUNCATE users, clients, identities CASCADE");
    assert!(hears(&list, new.sid).await < secs(1));
    eventually("the client is revoked", || async {
        list.denies_client("cron", bulla::internals::clock::Timestamp::EPOCH)
    })
    .await;
    let shell = Shell::connect(&database.url).unwrap();
    let refused = shell.run("BEGIN ISOLATION LEVEL REPEATABLE READ; TRUNCATE sessions");
    assert!(refused.unwrap_err().contains("READ COMMITTED"));
}
