//! Tests what the store keeps and for how long: the audit log, the sweep, the ring generation, the nodes.

use std::time::Duration;

use bulla::internals::{
    session::KEEP,
    store::{AuditRow, SessionEnd},
};

use super::*;
use crate::support::{installation::millis, stores::every_store};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

every_store![
    serializable;
    an_event_reads_back_as_it_was_recorded,
    the_audit_is_read_in_order_from_the_newest_or_from_a_position,
    the_known_addresses_of_a_user_come_from_the_audit,
    a_sweep_deletes_what_has_expired_and_nothing_else,
    a_sweep_revokes_nothing,
    a_sweep_keeps_a_session_for_seventeen_minutes_after_its_end,
    the_recorded_ring_generation_never_decreases,
    a_node_is_listed_only_while_it_reports,
    a_store_that_can_read_and_write_is_healthy,
    acknowledged_changes_are_present_after_reopening,
];

async fn an_event_reads_back_as_it_was_recorded() {
    let house = House::new().await;
    let detail = serde_json::json!({"name": "a\u{0}b \u{1b}[31m", "n": 1.5, "list": [null, true]});
    let recorded = AuditEvent::new("login.failed", "", "who's \"that\"? \u{1f600}").with(detail.clone());
    house.store.record(recorded).await.unwrap();
    let row = house.store.audit(None, 1).await.unwrap().remove(0);
    assert_eq!((&*row.event, &*row.actor, &*row.subject), ("login.failed", "", "who's \"that\"? \u{1f600}"));
    assert_eq!((row.detail, row.at), (detail, house.now().await));
    // A request can supply any text as a name. The name is recorded, if necessary with a replacement character.
    house.store.record(AuditEvent::new("login.failed", "", "nul\u{0}")).await.unwrap();
    assert!(house.store.audit(None, 1).await.unwrap()[0].subject.starts_with("nul"));
}

async fn the_audit_is_read_in_order_from_the_newest_or_from_a_position() {
    let house = House::new().await;
    for n in 0..10 {
        house.store.record(AuditEvent::new("x", "", n.to_string())).await.unwrap();
    }
    let subjects =
        |rows: &[AuditRow]| rows.iter().map(|row| row.subject.clone()).collect::<Vec<_>>().join("");
    let newest = house.store.audit(None, 4).await.unwrap();
    assert_eq!(subjects(&newest), "6789");
    assert!(newest.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let after = house.store.audit(Some(newest[1].seq), 100).await.unwrap();
    assert_eq!(subjects(&after), "89");
    assert_eq!(subjects(&house.store.audit(Some(0), 3).await.unwrap()), "012");
    assert_eq!(house.store.audit(Some(after[1].seq), 3).await.unwrap(), []);
}

async fn the_known_addresses_of_a_user_come_from_the_audit() {
    let house = House::new().await;
    let long_ago = house.now().await;
    let event = |actor: &str, detail| AuditEvent::new("login", actor, "s").with(detail);
    for (actor, detail) in [
        ("1", serde_json::json!({"ip": "192.0.2.1"})),
        ("1", serde_json::json!({"ip": "2001:db8::1"})),
        ("1", serde_json::json!({"ip": "203.0.113.9", "client": "app"})),
        ("1", serde_json::json!({"ip": 7})),
        ("2", serde_json::json!({"ip": "198.51.100.1"})),
    ] {
        house.store.record(event(actor, detail)).await.unwrap();
    }
    house
        .store
        .record(AuditEvent::new("login.failed", "1", "").with(serde_json::json!({"ip": "6.6.6.6"})))
        .await
        .unwrap();
    let of = async |user: &str, since, limit| {
        let mut all = house.store.login_addresses(&UserId::new(user).unwrap(), since, limit).await.unwrap();
        all.sort();
        all.join(" ")
    };
    assert_eq!(of("1", long_ago, 10).await, "192.0.2.1 2001:db8::1");
    assert_eq!(of("2", long_ago, 10).await, "198.51.100.1");
    assert_eq!(of("3", long_ago, 10).await, "");
    assert_eq!(of("1", long_ago, 1).await.split(' ').count(), 1);
    assert_eq!(of("1", house.now().await.plus(secs(1)), 10).await, "", "too long ago");
}

/// Ends sessions at a time that is past for every clock, including the system's clock, which SQLite's triggers use.
async fn expire(house: &House, sids: &[Sid]) {
    let past = house.now().await.minus(KEEP + secs(60)).millis();
    for sid in sids {
        house.idle_since(*sid, past);
    }
}

async fn a_sweep_deletes_what_has_expired_and_nothing_else() {
    let house = House::new().await;
    let ada = house.user("ada").await;
    let sids = [house.begin(&ada.id).await.sid, house.begin(&ada.id).await.sid];
    let kept = house.begin_as(NewSession { idle: secs(80_000), ..new_session(&ada.id) }, 20).await;
    let old = house.begin(&ada.id).await;
    house.store.end_sessions(SessionEnd::One(old.sid), event("logout")).await.unwrap();
    let now = house.now().await.millis();
    let shell = house.town.shell();
    shell.run(&format!("INSERT INTO used VALUES ('old', {}), ('new', {})", now + 1000, now + 4_000_000));
    house.store.report_node("gone", 1, "1").await.unwrap();

    house.town.clock.advance(secs(1));
    assert_eq!(house.store.sweep(KEEP, YEAR).await.unwrap(), 1, "a nonce: all else is kept a while");
    expire(&house, &sids).await;
    house.town.clock.advance(secs(3600));
    house.store.report_node("here", 1, "1").await.unwrap();
    house.store.record(event("fresh")).await.unwrap();
    assert_eq!(house.store.sweep(KEEP, YEAR).await.unwrap(), 4, "two sessions, a revocation, a node");
    assert_eq!(shell.run("SELECT sid FROM sessions"), [[kept.sid.to_string()]]);
    assert_eq!(shell.number("SELECT count(*) FROM used"), 1);
    assert_eq!(shell.value("SELECT name FROM nodes"), "here");
    let before = shell.number("SELECT count(*) FROM audit");
    assert_eq!(house.store.sweep(KEEP, secs(3600)).await.unwrap() as i64, before - 1);
    assert_eq!(house.store.audit(None, 10).await.unwrap()[0].event, "fresh");
    assert_eq!(house.store.sweep(KEEP, secs(3600)).await.unwrap(), 0);
}

async fn a_sweep_revokes_nothing() {
    let house = House::new().await;
    let ada = house.user("ada").await;
    let row = house.begin(&ada.id).await;
    expire(&house, &[row.sid]).await;
    assert_eq!(house.store.sweep(KEEP, YEAR).await.unwrap(), 1);
    assert!(house.revoked().is_empty());
}

async fn a_sweep_keeps_a_session_for_seventeen_minutes_after_its_end() {
    let house = House::new().await;
    let ada = house.user("ada").await;
    let row = house.begin_as(NewSession { idle: secs(10), ..new_session(&ada.id) }, 20).await;
    house.town.clock.advance(secs(10) + KEEP - millis(1));
    house.store.sweep(KEEP, YEAR).await.unwrap();
    assert!(house.row(row.sid).await.is_some());
    house.town.clock.advance(millis(1));
    house.store.sweep(KEEP, YEAR).await.unwrap();
    assert!(house.row(row.sid).await.is_none());
}

async fn the_recorded_ring_generation_never_decreases() {
    let house = House::new().await;
    let other = house.another().await;
    assert_eq!(house.store.ring_mark().await.unwrap(), None);
    house.store.note_ring(7, [7; 32]).await.unwrap();
    other.store.note_ring(6, [6; 32]).await.unwrap();
    other.store.note_ring(7, [8; 32]).await.unwrap();
    assert_eq!(other.store.ring_mark().await.unwrap(), Some((7, [7; 32])));
    let notes = (8..24).map(|n| house.store.note_ring(n, [n as u8; 32]));
    futures_util::future::join_all(notes).await.into_iter().for_each(Result::unwrap);
    assert_eq!(other.store.ring_mark().await.unwrap(), Some((23, [23; 32])));
}

async fn a_node_is_listed_only_while_it_reports() {
    let house = House::new().await;
    let other = house.another().await;
    assert_eq!(house.store.nodes().await.unwrap(), []);
    house.store.report_node("two", 17, "0.1.0").await.unwrap();
    other.store.report_node("one", 16, "0.2.0").await.unwrap();
    let seen = |store: Arc<dyn Store>| async move {
        let nodes = store.nodes().await.unwrap();
        nodes.into_iter().map(|node| (node.name, node.ring_generation, node.version)).collect::<Vec<_>>()
    };
    let both = [("one".into(), 16, "0.2.0".into()), ("two".into(), 17, "0.1.0".into())];
    assert_eq!(seen(house.store.clone()).await, both);
    house.town.clock.advance(secs(6));
    other.store.report_node("one", 17, "0.2.0").await.unwrap();
    assert_eq!(house.store.nodes().await.unwrap()[0].seen_at, house.now().await);
    house.town.clock.advance(secs(6));
    assert_eq!(seen(house.store.clone()).await, [("one".into(), 17, "0.2.0".into())]);
}

async fn a_store_that_can_read_and_write_is_healthy() {
    House::new().await.store.healthy().await.unwrap();
}

async fn acknowledged_changes_are_present_after_reopening() {
    let house = House::new().await;
    let ada = house.user_with("ada", &["admin"]).await;
    let (kept, ended) = (house.begin(&ada.id).await, house.begin(&ada.id).await);
    house.town.clock.advance(secs(60));
    assert_eq!(house.rotate(&kept).await.unwrap(), Written::Applied);
    house.store.end_sessions(SessionEnd::One(ended.sid), event("logout")).await.unwrap();
    let House { town, store, .. } = house;
    drop(store);
    let store = town.store().await;
    assert_eq!(store.user_by_name("ada").await.unwrap(), Some(ada));
    assert_eq!(store.session(kept.sid).await.unwrap().0.unwrap().generation, 1);
    assert_eq!(store.session(ended.sid).await.unwrap().0, None);
    assert_eq!(store.revocations().await.unwrap().len(), 1);
}
