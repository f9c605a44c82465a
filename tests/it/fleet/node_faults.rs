//! Kills nodes and stops the database under load, then checks the history of every client.

use std::time::{Duration, Instant};

use super::{
    Fleet,
    history::{History, What},
    http_client::Door,
    load::{Load, SETTINGS},
};
use crate::support::server::eventually;

/// The longest time from the acknowledgement of a revocation until every node refuses the token.
const BOUND: Duration = Duration::from_secs(1);
/// The number of operations in the long history, unless `BULLA_TEST_FLEET_OPERATIONS` says otherwise.
const OPERATIONS: usize = 300_000;
/// How often the database is stopped during the long history.
const RESTARTS: usize = 20;

/// Checks that no rule is broken, that no session was moved forward, and that no honest client was taken for a thief.
fn is_honest(fleet: &Fleet, history: &History) {
    let broken = history.broken(BOUND);
    let ends = history.events.iter().filter(|event| event.what == What::Ended { acknowledged: true }).count();
    assert!(ends > 20, "only {ends} sessions were ended: nothing was tried");
    assert!(broken.is_empty(), "{} broken: {:?}", broken.len(), &broken[..broken.len().min(10)]);
    let alarms = "SELECT count(*) FROM audit WHERE event IN ('refresh.forward', 'refresh.reuse')";
    assert_eq!(fleet.value(alarms), "0", "a rotation got lost, or an honest client was taken for a thief");
}

/// Kills a node with SIGKILL; returns when the new process is ready.
async fn kill(fleet: &Fleet, node: usize, door: &Door) {
    fleet.kill(&format!("node{}", node + 1), "KILL");
    eventually("the node is back", || async {
        door.ready().await.is_some_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_behind_the_balancer_ends_no_session_and_loses_no_change() {
    let Some(fleet) = Fleet::start(&SETTINGS) else { return };
    let (nodes, mut kills) = (fleet.nodes(), 0);
    let load = Load::start(&fleet, &[fleet.balancer()], 100, 8).await;
    while load.now() < Duration::from_secs(12) {
        let (node, before) = (kills % 3, load.operations());
        kill(&fleet, node, &nodes[node]).await;
        kills += 1;
        load.until(before + 500).await;
    }
    let history = load.stop().await;
    println!("{kills} nodes were killed");
    assert!(kills >= 3 && history.events.len() > 2000);
    is_honest(&fleet, &history);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_of_three_nodes_under_faults_have_no_violations() {
    let Some(fleet) = Fleet::with_postgres(&SETTINGS) else { return };
    let wanted =
        std::env::var("BULLA_TEST_FLEET_OPERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(OPERATIONS);
    let (nodes, mut kills, mut outages) = (fleet.nodes(), 0, Vec::new());
    let load = Load::start(&fleet, &nodes, 300, 12).await;
    let mut longest = Duration::ZERO;
    while outages.len() < RESTARTS || load.operations() < wanted {
        let before = load.operations();
        let (start, stopped) = (load.now(), Instant::now());
        // `pg_ctl stop -m immediate` sends this signal.
        fleet.kill("postgres", "QUIT");
        fleet.postgres_is_back();
        outages.push(start..load.now());
        longest = longest.max(stopped.elapsed());
        load.until(before + wanted / (3 * RESTARTS)).await;
        kill(&fleet, kills % 3, &nodes[kills % 3]).await;
        kills += 1;
        load.until(before + wanted / RESTARTS).await;
    }
    let mut history = load.stop().await;
    println!(
        "{} times the database was stopped at once (away for {longest:.1?} at the most), {kills} nodes were killed",
        outages.len()
    );
    history.outages = outages;
    assert!(history.events.len() >= wanted);
    is_honest(&fleet, &history);
}
