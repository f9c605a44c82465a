//! Tests the audit log with transactions that commit in another order than their numbers.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use bulla::internals::store::{Actor, AuditEvent, Event};

use super::database;
use crate::support::{
    cluster::{Shell, psql},
    installation::{Installation, secs},
    server::Server,
    stores::{Kind, over},
};

#[tokio::test(flavor = "multi_thread")]
async fn reading_on_from_the_last_event_misses_no_late_commit() {
    over(Kind::Postgres, async {
        let installation = Installation::new();
        let store = installation.store().await;
        let record = async |name| {
            store.record(AuditEvent::new(Event::read(name), Actor::read("tests"), "")).await.unwrap()
        };
        let after = async |seq| {
            let rows = store.audit(Some(seq), 100).await.unwrap();
            rows.into_iter().map(|row| (row.seq, row.event)).collect::<Vec<_>>()
        };
        record("first").await;
        let [(first, _)] = &after(0).await[..] else { panic!("one event") };
        let (late, never) = (installation.shell(), installation.shell());
        let write = |event: &str| {
            format!(
                "BEGIN; INSERT INTO audit (at, event, actor, subject) VALUES (bulla_now(), '{event}', '', '')"
            )
        };
        late.run(&write("late"));
        never.run(&write("never"));
        record("after").await;
        let events = |rows: Vec<(i64, Event)>| rows.into_iter().map(|(_, event)| event).collect::<Vec<_>>();
        assert_eq!(after(*first).await, [], "what comes later waits");
        late.run("COMMIT");
        assert_eq!(events(after(*first).await), ["late"], "and goes on waiting for the other one");
        never.run("ROLLBACK");
        installation.clock.advance(secs(61));
        assert_eq!(events(after(*first).await), ["late", "after"], "a number that can't come any more");
        record("last").await;
        assert_eq!(events(after(*first).await), ["late", "after", "last"]);
        assert_eq!(store.audit(None, 2).await.unwrap().len(), 2, "the newest are shown at once");
    })
    .await;
}

#[test]
fn following_the_audit_shows_each_event_once_and_in_order() {
    let Some(database) = database() else { return };
    let server = Server::new(&[("BULLA_DATABASE", &database.url)]);
    let write = |event: &str| {
        format!("INSERT INTO audit (at, event, actor, subject) VALUES (bulla_now(), '{event}', '', '')")
    };
    psql(&database.url, &write("first"));
    let late = Shell::connect(&database.url).unwrap();
    late.run(&format!("BEGIN; {}", write("late"))).unwrap();
    psql(&database.url, &write("early"));
    // The output begins with an event whose predecessor is not committed yet.
    let mut command = server.command(&["audit", "--follow", "--limit", "1"]);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut shown = || lines.next().unwrap().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(shown(), "early");
    late.run("COMMIT").unwrap();
    psql(&database.url, &write("last"));
    assert_eq!(shown(), "last", "what came before the newest ones is not shown");
    late.run(&format!("BEGIN; {}", write("late again"))).unwrap();
    psql(&database.url, &write("after"));
    late.run("COMMIT").unwrap();
    assert_eq!([shown(), shown()], ["late", "after"]);
    following.kill().unwrap();
    following.wait().unwrap();
}
