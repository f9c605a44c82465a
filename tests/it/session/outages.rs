//! Tests sessions when a clock is set back, the store is unavailable, or the feed of revocations is stale; also the counters.

use std::sync::Arc;

use bulla::internals::{
    session::{Denied, OnStale, Policy, Renewal},
    store::StoreError,
    token::Refused,
};

use super::{generation, one_node_and_user};
use crate::support::installation::{Installation, ManualClock, millis, secs};

#[tokio::test]
async fn setting_the_stores_clock_back_ten_minutes_ends_no_session() {
    let installation = Installation::new();
    let own = ManualClock::new();
    let node = installation.node_with_clock(own.clone()).await;
    let user = node.user("ada").await;
    let issued = node.begin(&user).await;
    let advance = |by| {
        installation.clock.advance(by);
        own.advance(by);
    };
    advance(secs(60));
    let next = node.renew(&issued.refresh).await.unwrap().refresh.unwrap();
    installation.clock.set_back(secs(600));
    let renewed = node.renew(&next).await.unwrap();
    assert_eq!((renewed.outcome, generation(&node, &renewed)), (Renewal::Repeat, None));
    let parent = node.renew(&issued.refresh).await.unwrap();
    assert_eq!((parent.outcome, generation(&node, &parent)), (Renewal::Repeat, Some(1)));
    advance(secs(660));
    let rotated = node.renew(&next).await.unwrap();
    assert_eq!((rotated.outcome, generation(&node, &rotated)), (Renewal::Rotate, Some(2)));
}

#[tokio::test]
async fn a_node_whose_clock_is_set_back_refuses_tokens_for_a_while_and_ends_no_session() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.set_back(secs(600));
    let before = installation.stored(issued.row.sid);
    assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Token(Refused::Future))));
    assert_eq!(installation.stored(issued.row.sid), before);
    installation.clock.advance(secs(540));
    assert!(node.renew(&issued.refresh).await.is_ok());
}

#[tokio::test]
async fn during_an_outage_of_the_store_a_refresh_is_unavailable_and_later_it_succeeds() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(60));
    let locker = installation.shell();
    locker.run("BEGIN IMMEDIATE");
    let denied = node.renew(&issued.refresh).await;
    assert!(matches!(denied, Err(Denied::CannotTell(StoreError::Unavailable(_)))), "{denied:?}");
    assert!(node.sessions.authenticate(issued.access.as_str()).is_ok(), "access needs no store");
    locker.run("ROLLBACK");
    let renewed = node.renew(&issued.refresh).await.unwrap();
    assert_eq!(generation(&node, &renewed), Some(1));
}

#[tokio::test]
async fn with_a_stale_feed_the_policy_decides_whether_tokens_pass() {
    for (on_stale, refuses) in [(OnStale::Refuse, true), (OnStale::Serve, false)] {
        let installation =
            Installation::with(Policy { on_stale, max_staleness: millis(300), ..Policy::default() });
        let node = installation.node().await;
        let user = node.user("ada").await;
        let issued = node.begin(&user).await;
        assert!(node.sessions.authenticate(issued.access.as_str()).is_ok());
        // The database file is replaced while it is open, so the follower can no longer guarantee that it knows all
        // revocations.
        std::fs::rename(installation.file(), installation.file().with_extension("old")).unwrap();
        let mut denied = Ok(issued.principal);
        for _ in 0..100 {
            tokio::time::sleep(millis(20)).await;
            denied = node.sessions.authenticate(issued.access.as_str());
            if denied.is_err() {
                break;
            }
        }
        assert_eq!(matches!(denied, Err(Denied::CannotTell(_))), refuses, "{denied:?}");
        assert!(node.sessions.denylist().age() > millis(300));
    }
}

#[tokio::test]
async fn outcomes_are_counted() {
    let (_town, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    node.sessions.authenticate(issued.access.as_str()).unwrap();
    node.sessions.authenticate("garbage").unwrap_err();
    node.renew(&issued.refresh).await.unwrap();
    let count = |name| node.sessions.counters().all().find(|(n, _)| *n == name).unwrap().1;
    for name in ["session.begun", "access.valid", "token.length", "refresh.repeat"] {
        assert_eq!(count(name), 1, "{name}");
    }
}

#[test]
fn sessions_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<bulla::internals::session::Sessions>>();
}
