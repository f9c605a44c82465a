//! Tests the feed: complete from the start, immediate in the process that revokes, and within a second in other processes.

use std::time::{Duration, Instant};

use bulla::internals::{
    session::KEEP,
    store::{RevocationTarget, SessionEnd},
};

use super::*;
use crate::support::{
    installation::millis,
    server::eventually,
    stores::{Kind, every_store, kind},
};

every_store![
    serializable;
    revocations_of_this_process_are_in_its_feed_before_the_call_returns,
    revocations_of_another_process_arrive_within_one_second,
    a_feed_is_complete_from_its_first_moment,
    revocations_are_listed_in_order_and_the_expired_ones_are_not,
    a_follower_knows_that_it_is_up_to_date_while_nothing_happens,
    a_dropped_handle_stops_the_feed,
    the_feed_reloads_everything_when_row_numbers_go_back,
    a_revocation_is_fed_with_the_time_it_took,
    a_flood_of_revocations_reaches_another_process_completely,
];

async fn revocations_of_this_process_are_in_its_feed_before_the_call_returns() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let begin = async || fixture.begin(&ada.id).await;
    let store = &fixture.store;

    let row = begin().await;
    store.end_sessions(SessionEnd::One(row.sid), event("logout")).await.unwrap();
    assert!(fixture.list.denies(row.sid), "an end");
    let row = begin().await;
    assert_eq!(
        store.delete_session_if_unchanged(&row, event("refresh.reuse")).await.unwrap(),
        Written::Applied
    );
    assert!(fixture.list.denies(row.sid), "reuse");
    let row = begin().await;
    fixture.begin_as(NewSession { replaces: Some(row.sid), ..new_session(&ada.id) }, 20).await;
    assert!(fixture.list.denies(row.sid), "a login in its place");
    let row = begin().await;
    store.change_password(&ada.id, "$new".into(), None, event("password.changed")).await.unwrap();
    assert!(fixture.list.denies(row.sid), "a new password");
    let row = begin().await;
    fixture.installation.clock.advance(secs(1));
    fixture.begin_as(new_session(&ada.id), 1).await;
    assert!(fixture.list.denies(row.sid), "too many");
    let row = begin().await;
    fixture.change(&ada.id, disabled(true)).await.unwrap();
    assert!(fixture.list.denies(row.sid), "a disabled user");
    fixture.change(&ada.id, disabled(false)).await.unwrap();
    let row = begin().await;
    store.end_sessions(SessionEnd::All, event("session.revoked")).await.unwrap();
    assert!(fixture.list.denies(row.sid), "everybody");
    let row = begin().await;
    store.delete_user(&ada.id, event("user.deleted")).await.unwrap();
    assert!(fixture.list.denies(row.sid), "a deleted user");
}

async fn revocations_of_another_process_arrive_within_one_second() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    let ada = fixture.user("ada").await;
    for _ in 0..20 {
        let row = fixture.begin(&ada.id).await;
        fixture.store.end_sessions(SessionEnd::One(row.sid), event("logout")).await.unwrap();
        let ended = Instant::now();
        assert!(other.hears(row.sid).await, "not within {:?}", ended.elapsed());
    }
}

async fn a_feed_is_complete_from_its_first_moment() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let row = fixture.begin(&ada.id).await;
    fixture.installation.shell().run("DELETE FROM sessions");
    let other = fixture.another().await;
    assert!(other.list.denies(row.sid) && other.list.len() == 1);
}

async fn revocations_are_listed_in_order_and_the_expired_ones_are_not() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let mut sids = Vec::new();
    for _ in 0..3 {
        let row = fixture.begin(&ada.id).await;
        fixture.store.end_sessions(SessionEnd::One(row.sid), event("logout")).await.unwrap();
        sids.push(row.sid);
    }
    let past = fixture.now().await.minus(millis(1)).millis();
    let shell = fixture.installation.shell();
    shell.run(&format!("UPDATE revocations SET expires_at = {past} WHERE target = '{}'", sids[1]));
    shell.run("INSERT INTO revocations (target, revoked_at, expires_at) VALUES ('no sid at all', 1, 99999999999999)");
    let all = fixture.store.revocations().await.unwrap();
    let targets: Vec<RevocationTarget> = all.iter().map(|revocation| revocation.target.clone()).collect();
    assert_eq!(targets, [RevocationTarget::Session(sids[0]), RevocationTarget::Session(sids[2])]);
    assert!(all[0].seq < all[1].seq && all[0].expires_at == all[0].revoked_at.plus(KEEP));
    let other = fixture.another().await;
    assert!(other.list.denies(sids[0]) && other.list.denies(sids[2]));
}

async fn a_follower_knows_that_it_is_up_to_date_while_nothing_happens() {
    let fixture = Fixture::new().await;
    let mut most = Duration::ZERO;
    let started = Instant::now();
    while started.elapsed() < millis(1500) {
        tokio::time::sleep(millis(20)).await;
        most = most.max(fixture.list.age());
    }
    assert!(most < secs(1), "{most:?}");
}

async fn a_dropped_handle_stops_the_feed() {
    let fixture = Fixture::new().await;
    let list = Arc::new(Denylist::default());
    let handle = fixture.store.follow(list.clone()).await.unwrap();
    drop(handle);
    let row = fixture.begin(&fixture.user("ada").await.id).await;
    fixture.installation.shell().run("DELETE FROM sessions");
    assert!(fixture.hears(row.sid).await);
    tokio::time::sleep(millis(100)).await;
    assert!(!list.denies(row.sid) && list.age() > millis(100));
}

async fn the_feed_reloads_everything_when_row_numbers_go_back() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let row = fixture.begin(&ada.id).await;
    let kept = fixture.begin(&ada.id).await;
    let shell = fixture.installation.shell();
    shell.run(&format!("DELETE FROM sessions WHERE sid = '{}'", row.sid));
    assert!(fixture.hears(row.sid).await);
    shell.run(
        "INSERT INTO revocations (target, revoked_at, expires_at) VALUES ('client:x', 1, 99999999999999)",
    );
    eventually("the second number is known", || async { fixture.list.len() == 2 }).await;
    // Simulates a restored backup, where other rows have the same numbers.
    let back = match kind() {
        Kind::Sqlite => "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'revocations'".to_owned(),
        _ => "ALTER SEQUENCE revocations_seq_seq RESTART".to_owned(),
    };
    shell.run(&format!("BEGIN; DELETE FROM revocations; {back}; DELETE FROM sessions; COMMIT"));
    assert!(fixture.hears(kept.sid).await);
    let took = eventually("what is no longer there is forgotten", || async { fixture.list.len() == 1 }).await;
    assert!(took < secs(1) && !fixture.list.denies(row.sid), "{took:?}");
}

async fn a_revocation_is_fed_with_the_time_it_took() {
    use prometheus_client::encoding::EncodeMetric as _;
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    let ada = fixture.user("ada").await;
    for _ in 0..3 {
        let row = fixture.begin(&ada.id).await;
        fixture.store.end_sessions(SessionEnd::One(row.sid), event("logout")).await.unwrap();
        assert!(other.hears(row.sid).await);
    }
    let mut registry = prometheus_client::registry::Registry::default();
    assert_eq!(other.list.lag().metric_type().as_str(), "histogram");
    registry.register("lag", "", other.list.lag().clone());
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("lag_count 3\n"), "{text}");
}

async fn a_flood_of_revocations_reaches_another_process_completely() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    let end = fixture.now().await.plus(secs(900)).millis();
    let all = (0..2000).map(|n| {
        let sid = Sid(std::array::from_fn(|at| if at < 8 { 7 } else { (n >> (8 * (at % 4))) as u8 }));
        format!("('{sid}', {end}, {end})")
    });
    let all: Vec<String> = all.collect();
    let shell = fixture.installation.shell();
    shell.run(&format!("INSERT INTO revocations (target, revoked_at, expires_at) VALUES {}", all.join(", ")));
    let took =
        eventually("all have come", || async { fixture.list.len() == 2000 && other.list.len() == 2000 })
            .await;
    assert!(took < secs(1), "{took:?}");
}
