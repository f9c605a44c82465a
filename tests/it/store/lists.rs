//! Tests the filtered lists of sessions and users.

use bulla::internals::store::{Device, SessionKey, SessionQuery, UserQuery};

use super::*;
use crate::support::stores::every_store;

every_store![
    sessions_come_in_pages_newest_first_with_the_names_of_their_users,
    a_page_begins_after_the_key_of_a_session_that_has_ended_meanwhile,
    sessions_are_filtered_by_user_address_and_agent,
    sessions_that_cant_be_read_are_skipped_without_ending_the_list,
    users_are_filtered_by_role_name_and_state,
    users_come_in_pages_with_the_id_for_the_next_page,
    only_live_sessions_are_counted,
    a_rename_ends_the_sessions_of_the_user_and_is_refused_for_a_taken_name,
];

fn on(user: &UserId, agent: &str, ip: &str) -> NewSession {
    NewSession { device: Device { user_agent: agent.into(), ip: ip.into() }, ..new_session(user) }
}

/// The sids of all pages with `limit` rows.
async fn pages(fixture: &Fixture, query: &SessionQuery) -> Vec<Vec<Sid>> {
    let (mut query, mut pages) = (query.clone(), Vec::new());
    loop {
        let page = fixture.store.session_page(&query).await.unwrap();
        pages.push(page.sessions.iter().map(|listed| listed.row.sid).collect());
        match page.next {
            Some(next) => query.after = Some(next),
            None => return pages,
        }
    }
}

async fn sids(fixture: &Fixture, query: SessionQuery) -> Vec<Sid> {
    pages(fixture, &SessionQuery { limit: 100, ..query }).await.concat()
}

async fn sessions_come_in_pages_newest_first_with_the_names_of_their_users() {
    let fixture = Fixture::new().await;
    let (ada, member) = (fixture.user("ada").await.id, UserId::new("member-7").unwrap());
    let expired = NewSession { idle: secs(2), ..new_session(&ada) };
    fixture.begin_as(expired, 20).await;
    let mut begun = Vec::new();
    for user in [&ada, &member, &ada] {
        fixture.installation.clock.advance(secs(1));
        begun.push(fixture.begin(user).await);
    }
    // Sessions that begin in the same millisecond are in the order of their sids.
    begun.push(fixture.begin(&ada).await);
    begun.push(fixture.begin(&ada).await);
    begun.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.sid.to_string())));
    let expected: Vec<Sid> = begun.iter().map(|row| row.sid).collect();
    for limit in [1, 2, 3, 5, 100] {
        let found = pages(&fixture, &SessionQuery { limit, ..SessionQuery::default() }).await;
        assert_eq!(found.concat(), expected, "{limit}");
        assert!(found.iter().all(|page| (1..=limit as usize).contains(&page.len())), "{limit}");
    }
    let page =
        fixture.store.session_page(&SessionQuery { limit: 5, ..SessionQuery::default() }).await.unwrap();
    assert_eq!((page.next, page.now), (None, fixture.now().await));
    for listed in page.sessions {
        let name = (listed.row.user_id == ada).then(|| "ada".to_owned());
        assert_eq!(listed.user_name, name);
        assert_eq!(Some(&listed.row), begun.iter().find(|row| row.sid == listed.row.sid));
    }
}

async fn a_page_begins_after_the_key_of_a_session_that_has_ended_meanwhile() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await.id;
    let mut begun = Vec::new();
    for _ in 0..4 {
        begun.push(fixture.begin(&ada).await.sid);
        fixture.installation.clock.advance(secs(1));
    }
    let query = SessionQuery { limit: 2, ..SessionQuery::default() };
    let next = fixture.store.session_page(&query).await.unwrap().next.unwrap();
    assert_eq!(next.sid, begun[2]);
    fixture.store.end_sessions(SessionEnd::One(next.sid), event("session.revoked")).await.unwrap();
    fixture.begin(&ada).await;
    let key: SessionKey = next.to_string().parse().unwrap();
    let page = fixture.store.session_page(&SessionQuery { after: Some(key), ..query }).await.unwrap();
    let rest: Vec<Sid> = page.sessions.iter().map(|listed| listed.row.sid).collect();
    assert_eq!((rest, page.next), (vec![begun[1], begun[0]], None));
}

async fn sessions_are_filtered_by_user_address_and_agent() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await.id, fixture.user("bob").await.id);
    let phone = fixture.begin_as(on(&ada, "Firefox/128 (iPhone) 100%", "203.0.113.7"), 20).await.sid;
    let desk = fixture.begin_as(on(&ada, "Chrome/149 (Linux)", "203.0.113.70"), 20).await.sid;
    let other = fixture.begin_as(on(&bob, "FIREFOX/128 (Linux)", "2001:db8::1"), 20).await.sid;
    let all = SessionQuery::default;
    let agent = |text: &str| SessionQuery { agent: Some(text.into()), ..all() };
    let ip = |text: &str| SessionQuery { ip: Some(text.into()), ..all() };
    let user = |user: &UserId| SessionQuery { user: Some(user.clone()), ..all() };
    for (query, mut expected) in [
        (all(), vec![phone, desk, other]),
        (user(&ada), vec![phone, desk]),
        (ip("203.0.113.7"), vec![phone]),
        (ip("2001:db8::1"), vec![other]),
        (agent("firefox"), vec![phone, other]),
        (agent("LINUX"), vec![desk, other]),
        (agent("0%"), vec![phone]),
        (agent("_"), vec![]),
        (agent("a\0"), vec![]),
        (SessionQuery { agent: Some("firefox".into()), ..user(&bob) }, vec![other]),
        (SessionQuery { ip: Some("203.0.113.7".into()), ..user(&bob) }, vec![]),
        (user(&UserId::new("nobody").unwrap()), vec![]),
        (user(&UserId::new("a\0").unwrap()), vec![]),
    ] {
        let mut found = sids(&fixture, query.clone()).await;
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{query:?}");
    }
}

async fn sessions_that_cant_be_read_are_skipped_without_ending_the_list() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await.id;
    let mut begun = Vec::new();
    for _ in 0..7 {
        begun.push(fixture.begin(&ada).await.sid);
        fixture.installation.clock.advance(secs(1));
    }
    without_checks(&fixture.installation.shell());
    for sid in &begun[2..6] {
        fixture.installation.shell().run(&format!("UPDATE sessions SET transport = 'x' WHERE sid = '{sid}'"));
    }
    let found = pages(&fixture, &SessionQuery { limit: 2, ..SessionQuery::default() }).await;
    assert_eq!(found, [vec![begun[6], begun[1]], vec![begun[0]]]);
    for (limit, skipped) in [(1, 4), (100, 4)] {
        let page =
            fixture.store.session_page(&SessionQuery { limit, ..SessionQuery::default() }).await.unwrap();
        assert_eq!(page.skipped, skipped, "{limit}");
    }
}

async fn users_are_filtered_by_role_name_and_state() {
    let fixture = Fixture::new().await;
    fixture.user_with("Ada", &["admin", "ops"]).await;
    fixture.user_with("bob", &["operator", "a\"b"]).await;
    let zoe = fixture.user_with("Zoë 50%", &["ops"]).await;
    fixture.change(&zoe.id, disabled(true)).await.unwrap();
    let all = || UserQuery { limit: 100, ..UserQuery::default() };
    let role = |role: &str| UserQuery { role: Some(role.into()), ..all() };
    let name = |name: &str| UserQuery { name: Some(name.into()), ..all() };
    for (query, expected) in [
        (all(), vec!["Ada", "bob", "Zoë 50%"]),
        (role("ops"), vec!["Ada", "Zoë 50%"]),
        (role("op"), vec![]),
        (role("b"), vec![]),
        (role("a\"b"), vec!["bob"]),
        (name("AD"), vec!["Ada"]),
        (name("oë"), vec!["Zoë 50%"]),
        (name("%"), vec!["Zoë 50%"]),
        (name("a\0"), vec![]),
        (UserQuery { disabled: Some(true), ..all() }, vec!["Zoë 50%"]),
        (UserQuery { disabled: Some(false), ..role("ops") }, vec!["Ada"]),
    ] {
        let page = fixture.store.user_page(&query).await.unwrap();
        let names: Vec<&str> = page.users.iter().map(|row| row.name.as_str()).collect();
        assert_eq!((names, page.next), (expected, None), "{query:?}");
    }
}

async fn users_come_in_pages_with_the_id_for_the_next_page() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for n in 0..9 {
        let role = if n % 2 == 0 { "even" } else { "odd" };
        ids.push(fixture.user_with(&format!("user{n}"), &[role]).await.id);
    }
    without_checks(&fixture.installation.shell());
    fixture
        .installation
        .shell()
        .run("UPDATE users SET claims = '[1]' WHERE name IN ('user2', 'user3', 'user4')");
    let page = async |role: Option<&str>, after: Option<UserId>| {
        let query = UserQuery { role: role.map(str::to_owned), after, limit: 3, ..UserQuery::default() };
        let page = fixture.store.user_page(&query).await.unwrap();
        (page.users.into_iter().map(|row| row.id).collect::<Vec<_>>(), page.next, page.skipped)
    };
    let id = |at: usize| ids[at].clone();
    let first = page(None, None).await;
    assert_eq!(first, (vec![id(0), id(1), id(5)], Some(id(5)), 3));
    assert_eq!(page(None, first.1).await, (ids[6..].to_vec(), None, 0));
    assert_eq!(page(Some("odd"), None).await, (vec![id(1), id(5), id(7)], None, 1));
}

async fn only_live_sessions_are_counted() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await.id, fixture.user("bob").await.id);
    fixture.begin_as(NewSession { idle: secs(2), ..new_session(&ada) }, 20).await;
    fixture.installation.clock.advance(secs(3));
    for user in [&ada, &ada, &bob] {
        fixture.begin(user).await;
    }
    for (user, count) in [(None, 3), (Some(&ada), 2), (Some(&bob), 1), (Some(&UserId::new("x").unwrap()), 0)]
    {
        assert_eq!(fixture.store.count_sessions(user).await.unwrap(), count, "{user:?}");
    }
}

async fn a_rename_ends_the_sessions_of_the_user_and_is_refused_for_a_taken_name() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user_with("ada", &["ops"]).await, fixture.user("bob").await);
    let (row, others) = (fixture.begin(&ada.id).await, fixture.begin(&bob.id).await);
    let rename = async |to: &str| {
        fixture.change(&ada.id, UserChange { name: Some(to.into()), ..UserChange::default() }).await
    };
    for taken in ["bob", "BOB", "b0b", "\u{ff42}ob", " eve", ""] {
        assert!(matches!(rename(taken).await, Err(StoreError::Conflict(_))), "{taken}");
    }
    assert_eq!(fixture.live(&ada.id).await, [row.sid]);
    let renamed = rename("Ad\u{430} Lovelace").await.unwrap().unwrap();
    assert_eq!(renamed, UserRow { name: "Ad\u{430} Lovelace".into(), ..ada.clone() });
    assert_eq!(fixture.store.user_by_name("AD\u{430} lovelace").await.unwrap(), Some(renamed));
    assert_eq!(fixture.store.user_by_name("ada").await.unwrap(), None);
    assert!(fixture.hears(row.sid).await);
    assert_eq!((fixture.live(&ada.id).await, fixture.live(&bob.id).await), (vec![], vec![others.sid]));
    let taken = NewUser { name: "Ada Lovelace".into(), ..NewUser::default() };
    assert!(matches!(fixture.store.add_user(taken, event("user.added")).await, Err(StoreError::Conflict(_))));
    let [noted] = &fixture.events("user.changed").await[..] else { panic!("one event") };
    assert_eq!(
        noted.detail["changed"]["name"],
        serde_json::json!({"from": "ada", "to": "Ad\u{430} Lovelace"})
    );
    // Another case of the same name is free for its owner.
    assert_eq!(rename("AD\u{430} LOVELACE").await.unwrap().unwrap().name, "AD\u{430} LOVELACE");
    assert_eq!(fixture.store.user_by_name("ad\u{430} lovelace").await.unwrap().unwrap().id, ada.id);
}
