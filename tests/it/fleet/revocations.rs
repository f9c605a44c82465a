//! Measures how long after a revocation on one node every other node refuses the token.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{
    Fleet, Issuer,
    http_client::{Door, Tokens},
    load::{Load, SETTINGS, policy},
};

/// The number of revocations that are measured.
const REVOCATIONS: usize = 2000;
/// The longest time until a revocation is in force at every node.
const WORST: Duration = Duration::from_secs(1);

/// Presents the token until it is refused; returns the time of the refusal.
async fn refused(door: &Door, access: &Tokens) -> Instant {
    while door.passes(access).await.unwrap() {
        // Pause, so that the processor is free for the servers.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_begun_on_one_node_is_renewed_on_another_and_revoked_on_the_third() {
    let settings = [("BULLA_ACCESS_MAX_AGE", "4s"), ("BULLA_REPLAY_WINDOW", "1s")];
    let Some(fleet) = Fleet::start(&settings) else { return };
    let issuer = fleet.issuer(policy()).await;
    issuer.user("ada").await;
    let nodes = &fleet.nodes();
    let part = |turn: usize| {
        let [first, second, third] = [0, 1, 2].map(|role| &nodes[(turn + role) % 3]);
        async move {
            let begun = first.log_in("ada").await.unwrap().set;
            tokio::time::sleep(Duration::from_millis(2100)).await;
            let renewed = second.refresh(begun.refresh.as_ref().unwrap()).await.unwrap().set;
            let (access, refresh) = (renewed.access.unwrap(), renewed.refresh.expect("it rotates"));
            let jar = Tokens { access: Some(access.clone()), refresh: Some(refresh.clone()) };
            assert_eq!(third.log_out(&jar).await.unwrap().status, 204);
            let revoked = Instant::now();
            assert_eq!(third.passes(&jar).await, Some(false), "the next request");
            let access = Tokens::access(&access);
            for at in join_all(nodes.iter().map(|node| refused(node, &access))).await {
                assert!(at - revoked < WORST, "{:?}", at - revoked);
            }
            for node in nodes {
                assert_eq!(node.refresh(&refresh).await.unwrap().status, 401);
                assert_eq!(node.refresh(begun.refresh.as_ref().unwrap()).await.unwrap().status, 401);
            }
        }
    };
    join_all((0..3).map(part)).await;
}

/// Ends a session on one node while every node accepts it; returns the time from the acknowledgement until the last node
/// refuses it.
async fn lag(
    issuer: &Issuer,
    user: &bulla::internals::store::User,
    nodes: &[Door; 3],
    on: usize,
) -> Duration {
    let issued = loop {
        if let Some(issued) = issuer.begin(user).await {
            break issued;
        }
    };
    let access = Tokens::access(issued.access.as_str());
    for node in nodes {
        assert_eq!(node.passes(&access).await, Some(true));
    }
    let jar = Tokens { access: access.access.clone(), refresh: Some(issued.refresh.as_str().into()) };
    assert_eq!(nodes[on].log_out(&jar).await.unwrap().status, 204);
    let acknowledged = Instant::now();
    assert_eq!(nodes[on].passes(&access).await, Some(false), "on the same node the next request is refused");
    let others = nodes.iter().enumerate().filter(|(node, _)| *node != on);
    let all = join_all(others.map(|(_, node)| refused(node, &access))).await;
    all.into_iter().map(|at| at - acknowledged).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_in_force_on_every_node_in_time_under_load() {
    let Some(fleet) = Fleet::start(&SETTINGS) else { return };
    let nodes = fleet.nodes();
    // Four clients without a pause, beside the four that revoke: the machine is busy, but no queue grows without limit.
    let load = Load::start(&fleet, &nodes, 60, 4).await;
    let started = Instant::now();
    let measuring = (0..4).map(|lane| {
        let (issuer, nodes, user) = (load.issuer().clone(), nodes.clone(), load.users()[lane].clone());
        tokio::spawn(async move {
            let mut lags = Vec::new();
            for n in 0..REVOCATIONS / 4 {
                lags.push(lag(&issuer, &user, &nodes, (lane + n) % 3).await);
            }
            lags
        })
    });
    let mut lags = Vec::new();
    for lane in measuring.collect::<Vec<_>>() {
        lags.extend(lane.await.unwrap());
    }
    let (elapsed, operations) = (started.elapsed(), load.operations());
    assert_eq!(load.stop().await.broken(WORST), []);
    lags.sort_unstable();
    let (p50, p99, worst) = (lags[lags.len() / 2], lags[lags.len() * 99 / 100], lags[lags.len() - 1]);
    println!(
        "{} revocations in {elapsed:.1?} beside {operations} other operations: from the acknowledgement to the last \
         node's refusal p50 {p50:.1?}, p99 {p99:.1?}, worst {worst:.1?}",
        lags.len()
    );
    assert!(p99 < Duration::from_millis(250) && worst < WORST);
}

/// The connections through which servers follow the revocations.
const FEEDS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND query LIKE '%pg_current_snapshot%'";
const NOTIFIES: &str = "ALTER TABLE revocations HOW TRIGGER revoked";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_whose_connection_was_cut_catches_up_within_one_second() {
    let Some(fleet) = Fleet::start(&SETTINGS) else { return };
    let nodes = fleet.nodes();
    let issuer = fleet.issuer(policy()).await;
    let (user, shell) = (issuer.user("ada").await, fleet.shell());
    let mut worst = Duration::ZERO;
    for round in 0..15 {
        let issued = issuer.begin(&user).await.unwrap();
        let access = Tokens::access(issued.access.as_str());
        let delete = format!("DELETE FROM sessions WHERE sid = '{}'", issued.row.sid);
        let cut = format!("SELECT pg_terminate_backend(pid) {FEEDS}");
        let (silent, loud) = (NOTIFIES.replace("HOW", "DISABLE"), NOTIFIES.replace("HOW", "ENABLE"));
        let steps: &[&str] = match round % 3 {
            0 => &[&cut, &delete],
            // The notification is lost with the connection.
            1 => &[&delete, &cut],
            // No notification is sent.
            _ => &[&silent, &delete, &loud],
        };
        let mut revoked = Instant::now();
        for step in steps {
            let rows = shell.run(step).unwrap();
            assert!(*step != cut || rows.len() >= 3, "only {} feeds were cut", rows.len());
            revoked = if *step == delete { Instant::now() } else { revoked };
        }
        for at in join_all(nodes.iter().map(|node| refused(node, &access))).await {
            worst = worst.max(at - revoked);
        }
        assert!(worst < WORST, "round {round}: {worst:?}");
    }
    println!("with cut and silent feeds the last node refused {worst:.1?} after the revocation at the most");
}
