//! Tests what the store keeps and for how long: the audit log, the sweep, the ring generation, the nodes.

use std::time::Duration;

use bulla::internals::{
    session::KEEP,
    store::{Actor, AuditRow, Event, SessionEnd},
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
    let fixture = Fixture::new().await;
    let detail = serde_json::json!({"name": "a\u{0}b \u{1b}[31m", "n": 1.5, "list": [null, true]});
    let recorded =
        AuditEvent::new(Event::LoginFailed, Actor::Unknown, "who's \"that\"? \u{1f600}").with(detail.clone());
    fixture.store.record(recorded).await.unwrap();
    let row = fixture.store.audit(None, 1).await.unwrap().remove(0);
    assert_eq!(
        (row.event.as_str(), &*row.actor.to_string(), &*row.subject),
        ("login.failed", "", "who's \"that\"? \u{1f600}")
    );
    assert_eq!((row.detail, row.at), (detail, fixture.now().await));
    // A request can supply any text as a name. The name is recorded, if necessary with a replacement character.
    fixture.store.record(AuditEvent::new(Event::LoginFailed, Actor::Unknown, "nul\u{0}")).await.unwrap();
    assert!(fixture.store.audit(None, 1).await.unwrap()[0].subject.starts_with("nul"));
}

async fn the_audit_is_read_in_order_from_the_newest_or_from_a_position() {
    let fixture = Fixture::new().await;
    for n in 0..10 {
        fixture.store.record(AuditEvent::new(Event::read("x"), Actor::Unknown, n.to_string())).await.unwrap();
    }
    let subjects =
        |rows: &[AuditRow]| rows.iter().map(|row| row.subject.clone()).collect::<Vec<_>>().join("");
    let newest = fixture.store.audit(None, 4).await.unwrap();
    assert_eq!(subjects(&newest), "6789");
    assert!(newest.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let after = fixture.store.audit(Some(newest[1].seq), 100).await.unwrap();
    assert_eq!(subjects(&after), "89");
    assert_eq!(subjects(&fixture.store.audit(Some(0), 3).await.unwrap()), "012");
    assert_eq!(fixture.store.audit(Some(after[1].seq), 3).await.unwrap(), []);
}

async fn the_known_addresses_of_a_user_come_from_the_audit() {
    let fixture = Fixture::new().await;
    let long_ago = fixture.now().await;
    let event = |actor: &str, detail| AuditEvent::new(Event::Login, Actor::read(actor), "s").with(detail);
    for (actor, detail) in [
        ("1", serde_json::json!({"ip": "192.0.2.1"})),
        ("1", serde_json::json!({"ip": "2001:db8::1"})),
        ("1", serde_json::json!({"ip": "203.0.113.9", "client": "app"})),
        ("1", serde_json::json!({"ip": 7})),
        ("2", serde_json::json!({"ip": "198.51.100.1"})),
    ] {
        fixture.store.record(event(actor, detail)).await.unwrap();
    }
    fixture
        .store
        .record(
            AuditEvent::new(Event::LoginFailed, Actor::read("1"), "")
                .with(serde_json::json!({"ip": "6.6.6.6"})),
        )
        .await
        .unwrap();
    let of = async |user: &str, since, limit| {
        let mut all = fixture.store.login_addresses(&UserId::new(user).unwrap(), since, limit).await.unwrap();
        all.sort();
        all.join(" ")
    };
    assert_eq!(of("1", long_ago, 10).await, "192.0.2.1 2001:db8::1");
    assert_eq!(of("2", long_ago, 10).await, "198.51.100.1");
    assert_eq!(of("3", long_ago, 10).await, "");
    assert_eq!(of("1", long_ago, 1).await.split(' ').count(), 1);
    assert_eq!(of("1", fixture.now().await.plus(secs(1)), 10).await, "", "too long ago");
}

/// Ends sessions at a time that is past for every clock, including the system's clock, which SQLite's triggers use.
async fn expire(fixture: &Fixture, sids: &[Sid]) {
    let past = fixture.now().await.minus(KEEP + secs(60)).millis();
    for sid in sids {
        fixture.idle_since(*sid, past);
    }
}

async fn a_sweep_deletes_what_has_expired_and_nothing_else() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let sids = [fixture.begin(&ada.id).await.sid, fixture.begin(&ada.id).await.sid];
    let kept = fixture.begin_as(NewSession { idle: secs(80_000), ..new_session(&ada.id) }, 20).await;
    let old = fixture.begin(&ada.id).await;
    fixture.store.end_sessions(SessionEnd::One(old.sid), event("logout")).await.unwrap();
    let now = fixture.now().await.millis();
    let shell = fixture.installation.shell();
    shell.run(&format!("INSERT INTO used VALUES ('old', {}), ('new', {})", now + 1000, now + 4_000_000));
    fixture.store.report_node("gone", 1, "1").await.unwrap();

    fixture.installation.clock.advance(secs(1));
    assert_eq!(fixture.store.sweep(KEEP, YEAR).await.unwrap(), 1, "a nonce: all else is kept a while");
    expire(&fixture, &sids).await;
    fixture.installation.clock.advance(secs(3600));
    fixture.store.report_node("here", 1, "1").await.unwrap();
    fixture.store.record(event("fresh")).await.unwrap();
    assert_eq!(fixture.store.sweep(KEEP, YEAR).await.unwrap(), 4, "two sessions, a revocation, a node");
    assert_eq!(shell.run("SELECT sid FROM sessions"), [[kept.sid.to_string()]]);
    assert_eq!(shell.number("SELECT count(*) FROM used"), 1);
    assert_eq!(shell.value("SELECT name FROM nodes"), "here");
    let before = shell.number("SELECT count(*) FROM audit");
    assert_eq!(fixture.store.sweep(KEEP, secs(3600)).await.unwrap() as i64, before - 1);
    assert_eq!(fixture.store.audit(None, 10).await.unwrap()[0].event, "fresh");
    assert_eq!(fixture.store.sweep(KEEP, secs(3600)).await.unwrap(), 0);
}

async fn a_sweep_revokes_nothing() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let row = fixture.begin(&ada.id).await;
    expire(&fixture, &[row.sid]).await;
    assert_eq!(fixture.store.sweep(KEEP, YEAR).await.unwrap(), 1);
    assert!(fixture.revoked().is_empty());
}

async fn a_sweep_keeps_a_session_for_seventeen_minutes_after_its_end() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let row = fixture.begin_as(NewSession { idle: secs(10), ..new_session(&ada.id) }, 20).await;
    fixture.installation.clock.advance(secs(10) + KEEP - millis(1));
    fixture.store.sweep(KEEP, YEAR).await.unwrap();
    assert!(fixture.row(row.sid).await.is_some());
    fixture.installation.clock.advance(millis(1));
    fixture.store.sweep(KEEP, YEAR).await.unwrap();
    assert!(fixture.row(row.sid).await.is_none());
}

async fn the_recorded_ring_generation_never_decreases() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    assert_eq!(fixture.store.ring_mark().await.unwrap(), None);
    fixture.store.record_ring(7, [7; 32]).await.unwrap();
    other.store.record_ring(6, [6; 32]).await.unwrap();
    other.store.record_ring(7, [8; 32]).await.unwrap();
    assert_eq!(other.store.ring_mark().await.unwrap(), Some((7, [7; 32])));
    let notes = (8..24).map(|n| fixture.store.record_ring(n, [n as u8; 32]));
    futures_util::future::join_all(notes).await.into_iter().for_each(Result::unwrap);
    assert_eq!(other.store.ring_mark().await.unwrap(), Some((23, [23; 32])));
}

async fn a_node_is_listed_only_while_it_reports() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    assert_eq!(fixture.store.nodes().await.unwrap(), []);
    fixture.store.report_node("two", 17, "0.1.0").await.unwrap();
    other.store.report_node("one", 16, "0.2.0").await.unwrap();
    let seen = |store: Arc<dyn Store>| async move {
        let nodes = store.nodes().await.unwrap();
        nodes.into_iter().map(|node| (node.name, node.ring_generation, node.version)).collect::<Vec<_>>()
    };
    let both = [("one".into(), 16, "0.2.0".into()), ("two".into(), 17, "0.1.0".into())];
    assert_eq!(seen(fixture.store.clone()).await, both);
    fixture.installation.clock.advance(secs(6));
    other.store.report_node("one", 17, "0.2.0").await.unwrap();
    assert_eq!(fixture.store.nodes().await.unwrap()[0].seen_at, fixture.now().await);
    fixture.installation.clock.advance(secs(6));
    assert_eq!(seen(fixture.store.clone()).await, [("one".into(), 17, "0.2.0".into())]);
}

async fn a_store_that_can_read_and_write_is_healthy() {
    Fixture::new().await.store.check_health().await.unwrap();
}

async fn acknowledged_changes_are_present_after_reopening() {
    let fixture = Fixture::new().await;
    let ada = fixture.user_with("ada", &["admin"]).await;
    let (kept, ended) = (fixture.begin(&ada.id).await, fixture.begin(&ada.id).await);
    fixture.installation.clock.advance(secs(60));
    assert_eq!(fixture.rotate(&kept).await.unwrap(), Written::Applied);
    fixture.store.end_sessions(SessionEnd::One(ended.sid), event("logout")).await.unwrap();
    let Fixture { installation, store, .. } = fixture;
    drop(store);
    let store = installation.store().await;
    assert_eq!(store.user_by_name("ada").await.unwrap(), Some(ada));
    assert_eq!(store.session(kept.sid).await.unwrap().0.unwrap().generation, 1);
    assert_eq!(store.session(ended.sid).await.unwrap().0, None);
    assert_eq!(store.revocations().await.unwrap().len(), 1);
}
