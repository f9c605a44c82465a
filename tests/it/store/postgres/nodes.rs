//! Tests the nodes table and the ring generation that each node has in force.

use std::sync::Arc;

use bulla::internals::{
    http::{Bulla, StartError},
    store::Database,
};

use super::database;
use crate::support::{installation::millis, server::Server};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_create_a_ring_at_the_same_time_one_starts() {
    for _ in 0..5 {
        let (Some(database), home) = (database(), tempfile::tempdir().unwrap()) else { return };
        let start = |keys: &str| {
            let (keys, database) = (home.path().join(keys), Database::from(database.url.as_str()));
            tokio::spawn(async move {
                Bulla::builder(keys, database)
                    .site(bulla::Site::loopback(8080, false))
                    .init()
                    .start()
                    .await
                    .map(drop)
            })
        };
        let both = [start("one"), start("other")];
        let mut started = 0;
        for node in both {
            match node.await.unwrap() {
                Ok(()) => started += 1,
                Err(error) => assert!(matches!(error, StartError::Ring(_)), "{error}"),
            }
        }
        assert_eq!(started, 1, "two rings in force over one database");
    }
}

#[tokio::test]
async fn a_rollover_waits_for_servers_and_is_refused_while_one_lacks_the_staged_key() {
    let server = Server::new(&[]);
    let generation = || {
        let listed = server.cli(&["keys", "list", "--json"]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        listed["generation"].as_u64().unwrap()
    };
    let database = Database::from(server.path("bulla.db").as_path());
    let store = database.open(Arc::new(bulla::internals::clock::SystemClock)).await.unwrap();
    let before = generation();
    let rotate = |arguments: &[&str]| server.cli(&[&["keys", "rotate"], arguments].concat());
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();

    store.report_node("web2", before - 1, "0.1.0").await.unwrap();
    let refused = rotate(&["--wait", "300ms", "--min-staged", "0s"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("not yet loaded on web2"), "{}", said(&refused));
    assert_eq!(generation(), before);

    // The node reports the old ring while the command waits for it. It does not take the new ring, so the command prints a
    // warning.
    let report = async {
        tokio::time::sleep(millis(300)).await;
        store.report_node("web2", before, "0.1.0").await.unwrap();
    };
    let command = server.command(&["keys", "rotate", "--wait", "2s", "--min-staged", "0s"]);
    let mut command = tokio::process::Command::from(command);
    let (rotated, ()) = tokio::join!(command.output(), report);
    let rotated = rotated.unwrap();
    assert!(rotated.status.success(), "{}", said(&rotated));
    assert!(said(&rotated).contains("warning: generation"), "{}", said(&rotated));
    assert_eq!(generation(), before + 1);
    let listed = server.cli(&["keys", "list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("web2") && listed.contains("(behind)"), "{listed}");
    assert!(rotate(&["--now", "--wait", "0s"]).status.success(), "whoever must, may");
}
