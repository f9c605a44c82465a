//! Tests transactions in a database shell whose snapshot is older than the data, and transactions that end many sessions.

use std::sync::Arc;

use bulla::internals::{
    session::Denylist,
    store::{Actor, AuditEvent, Event, NewSession},
};

use super::{database, hears, new_session, open};
use crate::support::cluster::{Shell, psql};

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_disables_or_deletes_a_user_but_cannot_see_a_login_is_refused() {
    let Some(database) = database() else { return };
    let store = open(&database.url).await.unwrap();
    let list = Arc::new(Denylist::default());
    let _following = store.follow(list.clone()).await.unwrap();
    let shell = Shell::connect(&database.url).unwrap();
    for (level, change) in [
        ("REPEATABLE READ", "UPDATE users SET disabled = 1 WHERE name = 'ada'"),
        ("SERIALIZABLE", "DELETE FROM users WHERE name = 'ada'"),
        ("REPEATABLE READ", "TRUNCATE users"),
    ] {
        psql(&database.url, "DELETE FROM users");
        psql(&database.url, "INSERT INTO users (name, created_at) VALUES ('ada', 1)");
        let ada = store.user_by_name("ada").await.unwrap().unwrap();
        shell.run(&format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM users")).unwrap();
        let new = NewSession { user_id: ada.id, ..new_session() };
        store
            .begin_session(new.clone(), 20, AuditEvent::new(Event::Login, Actor::Unknown, ""))
            .await
            .unwrap()
            .unwrap();
        let refused = shell.run(change);
        assert!(refused.is_err(), "{change}: it can't see the session that it would leave alive");
        shell.run("ROLLBACK").unwrap();
        assert!(store.session(new.sid).await.unwrap().0.is_some());
        // A second attempt with a new snapshot succeeds.
        shell.run(change).unwrap();
        hears(&list, new.sid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_of_a_long_transaction_get_the_time_of_its_commit() {
    let Some(database) = database() else { return };
    drop(open(&database.url).await.unwrap());
    let shell = Shell::connect(&database.url).unwrap();
    let begin = "INSERT INTO sessions (sid, user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at,
          expires_at, transport)
        SELECT lpad(i || 'A', 22, '0'), 'crew', decode(repeat('07', 32), 'hex'), 0, 1, 1, bulla_now() + 9000000, bulla_now() + 9000000, 'cookie'
        FROM generate_series(1, 2000) AS i";
    shell.run(begin).unwrap();
    let times = "SELECT count(*), count(DISTINCT revoked_at), count(DISTINCT expires_at - revoked_at),
        min(revoked_at) - min(committing.at) FROM revocations, committing";
    shell.run("CREATE TABLE committing (at bigint); BEGIN; DELETE FROM sessions WHERE sid < lpad('1500A', 22, '0')").unwrap();
    shell
        .run(
            "SELECT pg_sleep(1.2); DELETE FROM sessions; INSERT INTO committing VALUES (bulla_now()); COMMIT",
        )
        .unwrap();
    let row = shell.run(times).unwrap().remove(0);
    let moved: i64 = row[3].parse().unwrap();
    assert_eq!(row[..3], ["2000", "1", "1"].map(String::from));
    assert!(moved >= 0, "{moved} ms before the commit was asked for");
    // The next transaction on the same connection has its own end time.
    shell.run(begin).unwrap();
    shell.run("DELETE FROM revocations; DELETE FROM committing; BEGIN; DELETE FROM sessions").unwrap();
    shell.run("SELECT pg_sleep(1.2); INSERT INTO committing VALUES (bulla_now()); COMMIT").unwrap();
    let row = shell.run(times).unwrap().remove(0);
    assert_eq!(row[..3], ["2000", "1", "1"].map(String::from));
    assert!(row[3].parse::<i64>().unwrap() >= 0, "{row:?}");
}
