//! Tests how sessions begin, rotate and end.

use std::collections::HashSet;

use bulla::internals::store::{Actor, Device, Event, SessionEnd, SessionRow};
use futures_util::future::join_all;

use super::*;
use crate::support::{installation::millis, stores::every_store};

every_store![
    serializable;
    a_session_begins_at_the_stores_time_and_reads_back_unchanged,
    texts_of_any_alphabet_read_back_unchanged,
    a_new_session_ends_the_session_that_it_replaces_also_of_another_user,
    a_login_that_replaces_nothing_revokes_nothing,
    the_cap_counts_live_sessions_and_ends_the_oldest,
    concurrent_logins_never_leave_more_sessions_than_the_cap,
    basic_reuses_its_own_live_session_and_revokes_nothing,
    an_expired_basic_session_is_not_reused,
    a_disabled_user_begins_no_session,
    a_login_that_races_with_disabling_leaves_no_session,
    users_of_an_embedding_program_need_no_row,
    a_rotation_changes_only_generation_time_and_idle_end,
    a_rotation_is_written_only_if_the_row_is_unchanged_since_the_check,
    of_sixty_four_concurrent_rotations_of_one_row_one_is_applied,
    concurrent_rotations_of_many_sessions_change_only_their_own_rows,
    a_rotation_of_a_deleted_session_is_lost,
    the_idle_end_never_exceeds_the_absolute_end,
    a_pardon_and_its_event_are_written_together_or_not_at_all,
    a_pardon_without_an_event_is_recorded_in_the_row,
    a_checked_row_is_deleted_with_its_event_and_a_changed_one_is_not,
    one_session_own_sessions_all_of_a_user_and_all_can_be_ended,
    every_ended_session_has_its_own_event,
    a_malformed_session_id_does_not_stop_the_end_of_other_sessions,
    only_live_sessions_are_listed_newest_first,
    an_expired_session_can_still_be_read,
    a_rotation_that_races_with_an_end_leaves_no_live_session,
];

async fn a_session_begins_at_the_stores_time_and_reads_back_unchanged() {
    let fixture = Fixture::new().await;
    let (user, before) = (fixture.user("ada").await, fixture.now().await);
    let new = NewSession { transport: Transport::Hybrid, ..new_session(&user.id) };
    let row = fixture.begin_as(new.clone(), 20).await;
    assert_eq!((row.sid, &row.user_id, row.secret_hash), (new.sid, &user.id, new.secret_hash));
    assert_eq!((row.generation, row.pardoned_gen, row.pardoned_at), (0, None, None));
    assert_eq!((row.transport, &row.device), (Transport::Hybrid, &new.device));
    assert_eq!((row.created_at, row.rotated_at), (before, before));
    assert_eq!((row.idle_expires_at, row.expires_at), (before.plus(secs(1800)), before.plus(secs(86_400))));
    let (read, now) = fixture.store.session(row.sid).await.unwrap();
    assert_eq!((read, now), (Some(row), before));
    let nobody = fixture.store.session(Sid([0; 16])).await.unwrap();
    assert_eq!(nobody, (None, before), "the time is told all the same");
}

async fn texts_of_any_alphabet_read_back_unchanged() {
    let fixture = Fixture::new().await;
    let user = fixture.user("Ἀσπασία \u{1f3fa} O'Brien \"; DROP TABLE users; --").await;
    let agent = "Mözilla/5.0 (日本) ' \" \\ %s $1 {} \u{7f}".to_owned();
    let device = Device { user_agent: agent, ip: "2001:db8::7%eth0".into() };
    let row = fixture.begin_as(NewSession { device: device.clone(), ..new_session(&user.id) }, 20).await;
    assert_eq!(fixture.row(row.sid).await.unwrap().device, device);
    assert_eq!(fixture.store.user(&user.id).await.unwrap().unwrap().name, user.name);
}

async fn a_new_session_ends_the_session_that_it_replaces_also_of_another_user() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await, fixture.user("bob").await);
    let old = fixture.begin(&bob.id).await;
    let new = fixture.begin_as(NewSession { replaces: Some(old.sid), ..new_session(&ada.id) }, 20).await;
    assert!(fixture.row(old.sid).await.is_none() && fixture.row(new.sid).await.is_some());
    let events = fixture.events("session.revoked").await;
    assert_eq!(events.len(), 1);
    assert_eq!((&*events[0].actor.to_string(), &events[0].subject), ("tests", &old.sid.to_string()));
    assert_eq!(events[0].detail["reason"], "new login");
    assert_eq!(fixture.events("login").await.last().unwrap().subject, new.sid.to_string());
}

async fn a_login_that_replaces_nothing_revokes_nothing() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    fixture.begin_as(NewSession { replaces: Some(Sid([9; 16])), ..new_session(&ada.id) }, 20).await;
    assert!(fixture.events("session.revoked").await.is_empty() && fixture.revoked().is_empty());
}

async fn the_cap_counts_live_sessions_and_ends_the_oldest() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await, fixture.user("bob").await);
    let others = fixture.begin(&bob.id).await;
    let dead = fixture.begin_as(NewSession { idle: secs(1), ..new_session(&ada.id) }, 3).await;
    let mut sids = Vec::new();
    for _ in 0..4 {
        fixture.installation.clock.advance(secs(2));
        sids.push(fixture.begin_as(new_session(&ada.id), 3).await.sid);
    }
    sids.reverse();
    assert_eq!(fixture.live(&ada.id).await, sids[..3]);
    assert_eq!(fixture.revoked(), [sids[3].to_string()]);
    let events = fixture.events("session.revoked").await;
    assert_eq!(
        (&*events[0].actor.to_string(), &events[0].detail["reason"]),
        ("system", &"too many sessions".into())
    );
    assert!(fixture.row(dead.sid).await.is_some() && fixture.row(others.sid).await.is_some());
}

async fn concurrent_logins_never_leave_more_sessions_than_the_cap() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let other = fixture.another().await;
    let logins = (0..16).map(|n| {
        let store = if n % 2 == 0 { &fixture.store } else { &other.store };
        let login = || store.begin_session(new_session(&ada.id), 3, event("login"));
        // A login that times out in the store is repeated.
        async move {
            loop {
                match login().await {
                    Err(StoreError::Unavailable(_)) => {}
                    begun => return begun,
                }
            }
        }
    });
    for begun in join_all(logins).await {
        assert!(begun.unwrap().is_some());
    }
    assert_eq!(fixture.live(&ada.id).await.len(), 3);
    assert!(fixture.revoked().len() >= 13);
}

async fn basic_reuses_its_own_live_session_and_revokes_nothing() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let basic = || NewSession { transport: Transport::Basic, takes_over_basic: true, ..new_session(&ada.id) };
    let first = fixture.begin_as(basic(), 20).await;
    assert_eq!(fixture.rotate(&first).await.unwrap(), Written::Applied);
    fixture.installation.clock.advance(secs(60));
    let again = basic();
    let second = fixture.begin_as(again.clone(), 20).await;
    assert_eq!((second.sid, second.secret_hash, second.generation), (first.sid, again.secret_hash, 0));
    assert_eq!(fixture.row(first.sid).await.unwrap(), second);
    let elsewhere = Device { ip: "192.0.2.8".into(), ..device() };
    let other = fixture.begin_as(NewSession { device: elsewhere, ..basic() }, 20).await;
    let cookie = fixture.begin_as(NewSession { takes_over_basic: true, ..new_session(&ada.id) }, 20).await;
    assert_eq!(HashSet::from([first.sid, other.sid, cookie.sid]).len(), 3, "only Basic, from the same place");
    assert!(fixture.revoked().is_empty());
}

async fn an_expired_basic_session_is_not_reused() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let basic = || NewSession { transport: Transport::Basic, takes_over_basic: true, ..new_session(&ada.id) };
    let first = fixture.begin_as(basic(), 20).await;
    fixture.installation.clock.advance(secs(1800));
    assert_ne!(fixture.begin_as(basic(), 20).await.sid, first.sid);
}

async fn a_disabled_user_begins_no_session() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    fixture.change(&ada.id, disabled(true)).await.unwrap();
    let begun = fixture.store.begin_session(new_session(&ada.id), 20, event("login")).await.unwrap();
    assert!(begun.is_none() && fixture.events("login").await.is_empty());
    fixture.change(&ada.id, disabled(false)).await.unwrap();
    fixture.begin(&ada.id).await;
}

async fn a_login_that_races_with_disabling_leaves_no_session() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    for round in 0..20 {
        let user = fixture.user(&format!("user{round}")).await;
        let logins = (0..3).map(|_| fixture.store.begin_session(new_session(&user.id), 20, event("login")));
        let (begun, changed) = tokio::join!(join_all(logins), other.change(&user.id, disabled(true)));
        assert!(changed.unwrap().unwrap().disabled);
        // A login that timed out in the store has begun no session.
        let begun: Vec<SessionRow> = begun.into_iter().filter_map(|begun| begun.ok().flatten()).collect();
        assert!(fixture.live(&user.id).await.is_empty(), "round {round}");
        for row in begun {
            assert!(fixture.hears(row.sid).await && other.list.denies(row.sid), "round {round}");
        }
    }
}

async fn users_of_an_embedding_program_need_no_row() {
    let fixture = Fixture::new().await;
    for id in ["crew-1", "0", "-1", "007", "99999999999999999999", "a'b"] {
        let id = UserId::new(id).unwrap();
        let row = fixture.begin(&id).await;
        assert_eq!(fixture.live(&id).await, [row.sid]);
        assert_eq!(fixture.rotate(&row).await.unwrap(), Written::Applied);
    }
}

async fn a_rotation_changes_only_generation_time_and_idle_end() {
    let fixture = Fixture::new().await;
    let row = fixture.begin(&fixture.user("ada").await.id).await;
    fixture.installation.clock.advance(secs(90));
    assert_eq!(fixture.rotate(&row).await.unwrap(), Written::Applied);
    let now = fixture.now().await;
    let expected =
        SessionRow { generation: 1, rotated_at: now, idle_expires_at: now.plus(secs(1800)), ..row.clone() };
    assert_eq!(fixture.row(row.sid).await.unwrap(), expected);
    assert!(fixture.revoked().is_empty());
}

async fn a_rotation_is_written_only_if_the_row_is_unchanged_since_the_check() {
    let fixture = Fixture::new().await;
    let row = fixture.begin(&fixture.user("ada").await.id).await;
    let judged = |change: fn(&mut SessionRow)| {
        let mut judged = row.clone();
        change(&mut judged);
        judged
    };
    for other in [
        judged(|row| row.secret_hash = Digest([row.secret_hash.0[0] ^ 1; 32])),
        judged(|row| row.generation += 1),
        judged(|row| row.rotated_at = row.rotated_at.plus(millis(1))),
        judged(|row| row.pardoned_gen = Some(0)),
        judged(|row| row.pardoned_at = Some(row.rotated_at)),
        judged(|row| row.sid = Sid([3; 16])),
    ] {
        assert_eq!(fixture.rotate(&other).await.unwrap(), Written::Lost, "{other:?}");
    }
    assert_eq!(fixture.row(row.sid).await.unwrap(), row);
    assert_eq!(fixture.rotate(&row).await.unwrap(), Written::Applied);
    assert_eq!(fixture.rotate(&row).await.unwrap(), Written::Lost);
}

async fn of_sixty_four_concurrent_rotations_of_one_row_one_is_applied() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    let mut row = fixture.begin(&fixture.user("ada").await.id).await;
    for round in 1..=5 {
        fixture.installation.clock.advance(secs(60));
        let rotations = (0..64).map(|n| if n % 2 == 0 { fixture.rotate(&row) } else { other.rotate(&row) });
        let written: Vec<Written> = join_all(rotations).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(
            written.iter().filter(|written| **written == Written::Applied).count(),
            1,
            "round {round}"
        );
        row = fixture.row(row.sid).await.unwrap();
        assert_eq!(row.generation, round);
    }
}

async fn concurrent_rotations_of_many_sessions_change_only_their_own_rows() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let mut rows = Vec::new();
    for _ in 0..100 {
        rows.push(fixture.begin_as(new_session(&ada.id), 1000).await);
    }
    let gone: Vec<SessionRow> = rows.drain(..10).collect();
    for row in &gone {
        let end = SessionEnd::One(row.sid);
        assert_eq!(fixture.store.end_sessions(end, event("logout")).await.unwrap(), [row.sid]);
    }
    fixture.installation.clock.advance(secs(60));
    let written = join_all(rows.iter().chain(&gone).map(|row| fixture.rotate(row))).await;
    for (at, written) in written.into_iter().map(Result::unwrap).enumerate() {
        assert_eq!(written, if at < rows.len() { Written::Applied } else { Written::Lost }, "{at}");
    }
    for row in &rows {
        let now = fixture.row(row.sid).await.unwrap();
        assert_eq!((now.generation, now.secret_hash), (1, row.secret_hash));
    }
}

async fn a_rotation_of_a_deleted_session_is_lost() {
    let fixture = Fixture::new().await;
    let row = fixture.begin(&fixture.user("ada").await.id).await;
    fixture.store.end_sessions(SessionEnd::One(row.sid), event("logout")).await.unwrap();
    assert_eq!(fixture.rotate(&row).await.unwrap(), Written::Lost);
    assert!(fixture.row(row.sid).await.is_none());
}

async fn the_idle_end_never_exceeds_the_absolute_end() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let row = fixture.begin_as(NewSession { life: secs(1000), ..new_session(&ada.id) }, 20).await;
    assert_eq!(row.idle_expires_at, row.expires_at);
    fixture.installation.clock.advance(secs(999));
    assert_eq!(fixture.rotate(&row).await.unwrap(), Written::Applied);
    let rotated = fixture.row(row.sid).await.unwrap();
    assert_eq!((rotated.idle_expires_at, rotated.expires_at), (row.expires_at, row.expires_at));
}

async fn a_pardon_and_its_event_are_written_together_or_not_at_all() {
    let fixture = Fixture::new().await;
    let row = fixture.begin(&fixture.user("ada").await.id).await;
    fixture.installation.clock.advance(secs(60));
    let now = fixture.now().await;
    let pardon = SessionChange::Pardon { generation: 7, now };
    let pardoned = AuditEvent::new(Event::RefreshPardon, Actor::read("ada"), row.sid.to_string());
    let written = fixture.store.change_session(&row, pardon, Some(pardoned.clone())).await.unwrap();
    assert_eq!(written, Written::Applied);
    let expected =
        SessionRow { rotated_at: now, pardoned_gen: Some(7), pardoned_at: Some(now), ..row.clone() };
    assert_eq!(fixture.row(row.sid).await.unwrap(), expected);
    let lost = fixture.store.change_session(&row, pardon, Some(pardoned)).await.unwrap();
    assert_eq!(lost, Written::Lost);
    let events = fixture.events("refresh.pardon").await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&*events[0].actor.to_string(), &events[0].subject, events[0].at),
        ("ada", &row.sid.to_string(), now)
    );
}

async fn a_pardon_without_an_event_is_recorded_in_the_row() {
    let fixture = Fixture::new().await;
    let row = fixture.begin(&fixture.user("ada").await.id).await;
    let now = fixture.now().await;
    let pardon = SessionChange::Pardon { generation: 7, now };
    assert_eq!(fixture.store.change_session(&row, pardon, None).await.unwrap(), Written::Applied);
    let expected =
        SessionRow { rotated_at: now, pardoned_gen: Some(7), pardoned_at: Some(now), ..row.clone() };
    assert_eq!(fixture.row(row.sid).await.unwrap(), expected);
}

async fn a_checked_row_is_deleted_with_its_event_and_a_changed_one_is_not() {
    let fixture = Fixture::new().await;
    let row = fixture.begin(&fixture.user("ada").await.id).await;
    let reuse = || {
        let evidence = serde_json::json!({"generation": 3, "by": "\u{0} 'x'"});
        AuditEvent::new(Event::RefreshReuse, Actor::read("ada"), row.sid.to_string()).with(evidence)
    };
    let outdated = SessionRow { generation: 1, ..row.clone() };
    assert_eq!(fixture.store.delete_session_if_unchanged(&outdated, reuse()).await.unwrap(), Written::Lost);
    assert!(fixture.events("refresh.reuse").await.is_empty() && fixture.revoked().is_empty());
    assert_eq!(fixture.store.delete_session_if_unchanged(&row, reuse()).await.unwrap(), Written::Applied);
    assert_eq!(fixture.events("refresh.reuse").await[0].detail, reuse().detail);
    assert_eq!(fixture.revoked(), [row.sid.to_string()]);
    assert_eq!(fixture.store.delete_session_if_unchanged(&row, reuse()).await.unwrap(), Written::Lost);
}

async fn one_session_own_sessions_all_of_a_user_and_all_can_be_ended() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await.id, fixture.user("bob").await.id);
    let end = async |which| {
        let mut ended = fixture.store.end_sessions(which, event("session.revoked")).await.unwrap();
        ended.sort();
        ended
    };
    let sorted = |mut sids: Vec<Sid>| {
        sids.sort();
        sids
    };
    let mut all = Vec::new();
    for user in [&ada, &ada, &ada, &ada, &bob, &bob] {
        all.push(fixture.begin(user).await.sid);
    }
    assert_eq!(end(SessionEnd::OneOfUser(bob.clone(), all[0])).await, [], "not his");
    assert_eq!(end(SessionEnd::OneOfUser(ada.clone(), all[0])).await, [all[0]]);
    assert_eq!(end(SessionEnd::One(all[1])).await, [all[1]]);
    assert_eq!(end(SessionEnd::One(all[1])).await, []);
    assert_eq!(end(SessionEnd::AllOfUser(ada.clone())).await, sorted(vec![all[2], all[3]]));
    assert_eq!(fixture.live(&bob).await.len(), 2);
    assert_eq!(end(SessionEnd::All).await, sorted(vec![all[4], all[5]]));
    assert_eq!(end(SessionEnd::All).await, []);
    assert_eq!(sorted(fixture.revoked().iter().map(|sid| sid.parse().unwrap()).collect()), sorted(all));
}

async fn every_ended_session_has_its_own_event() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await.id;
    let sids = [fixture.begin(&ada).await.sid, fixture.begin(&ada).await.sid];
    let why = AuditEvent::new(Event::Logout, Actor::read("7"), "ignored")
        .with(serde_json::json!({"everywhere": true}));
    fixture.store.end_sessions(SessionEnd::AllOfUser(ada), why).await.unwrap();
    let events = fixture.events("logout").await;
    let subjects: HashSet<String> = events.iter().map(|event| event.subject.clone()).collect();
    assert_eq!(subjects, sids.iter().map(Sid::to_string).collect());
    assert!(events.iter().all(|event| event.actor == "7" && event.detail["everywhere"] == true));
}

async fn a_malformed_session_id_does_not_stop_the_end_of_other_sessions() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await.id;
    for which in [SessionEnd::AllOfUser(ada.clone()), SessionEnd::All] {
        let row = fixture.begin(&ada).await;
        without_checks(&fixture.installation.shell());
        fixture.installation.shell().run(&format!(
            "INSERT INTO sessions (sid, user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at,
               expires_at, transport) VALUES ('typed in', '{ada}', 'x', 0, 1, 1, 9999999999999, 9999999999999, 'cookie')"
        ));
        assert_eq!(fixture.store.end_sessions(which, event("session.revoked")).await.unwrap(), [row.sid]);
        assert_eq!(fixture.installation.shell().number("SELECT count(*) FROM sessions"), 0);
        assert!(fixture.list.denies(row.sid));
    }
}

async fn only_live_sessions_are_listed_newest_first() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await.id, fixture.user("bob").await.id);
    fixture.begin_as(NewSession { idle: secs(2), ..new_session(&ada) }, 20).await;
    fixture.begin_as(NewSession { life: secs(2), ..new_session(&ada) }, 20).await;
    let mut sids = Vec::new();
    for user in [&ada, &bob, &ada] {
        fixture.installation.clock.advance(secs(1));
        sids.push(fixture.begin(user).await.sid);
    }
    let (all, now) = fixture.store.sessions(None, 10).await.unwrap();
    assert_eq!(all.iter().map(|row| row.sid).collect::<Vec<_>>(), [sids[2], sids[1], sids[0]]);
    assert_eq!(now, fixture.now().await);
    assert_eq!(fixture.live(&ada).await, [sids[2], sids[0]]);
    assert_eq!(fixture.store.sessions(None, 1).await.unwrap().0[0].sid, sids[2]);
}

async fn an_expired_session_can_still_be_read() {
    let fixture = Fixture::new().await;
    let row = fixture.begin(&fixture.user("ada").await.id).await;
    fixture.installation.clock.advance(secs(100_000));
    let (read, now) = fixture.store.session(row.sid).await.unwrap();
    assert!(read.unwrap().ends_at() < now);
}

async fn a_rotation_that_races_with_an_end_leaves_no_live_session() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    let ada = fixture.user("ada").await.id;
    for round in 0..20 {
        let row = fixture.begin(&ada).await;
        fixture.installation.clock.advance(secs(60));
        let rotations = (0..4).map(|n| if n % 2 == 0 { fixture.rotate(&row) } else { other.rotate(&row) });
        let ending = fixture.store.end_sessions(SessionEnd::One(row.sid), event("logout"));
        let (written, ended) = tokio::join!(join_all(rotations), ending);
        assert_eq!(ended.unwrap(), [row.sid], "round {round}");
        assert!(written.iter().filter(|written| matches!(written, Ok(Written::Applied))).count() <= 1);
        assert!(fixture.row(row.sid).await.is_none(), "round {round}");
        assert!(fixture.list.denies(row.sid) && other.hears(row.sid).await, "round {round}");
    }
}
