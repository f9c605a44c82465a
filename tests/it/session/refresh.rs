//! Tests refresh: rotation, repeated answers, pardons and reuse.

use bulla::internals::{
    clock::Clock as _,
    session::{Denied, Policy, Renewal},
    store::{Actor, AuditEvent, Device, Event, UserChange},
    token::Refused,
};

use super::{generation, one_node_and_user};
use crate::support::{
    installation::{Installation, device, millis, secs},
    stores::every_store,
};

every_store![
    before_the_rotation_interval_a_refresh_gives_only_an_access_token,
    after_the_rotation_interval_the_token_rotates_and_the_idle_end_moves,
    a_lost_answer_is_repeated_within_the_window_without_a_write,
    a_late_previous_token_is_pardoned_once_and_repeated_without_a_write,
    a_second_late_previous_token_within_one_hour_ends_the_session,
    a_token_two_generations_old_ends_the_session_at_once,
    a_previous_token_as_old_as_two_idle_times_is_pardoned,
    a_token_ahead_of_its_row_moves_the_row_forward_and_is_recorded,
    a_wrong_key_or_name_leaves_the_row_untouched,
    sixty_four_concurrent_renewals_on_three_nodes_make_one_rotation,
    a_new_access_token_has_the_present_roles,
    with_bound_user_agents_another_agent_needs_a_pardon,
    a_renewal_from_another_address_is_recorded_once_per_change,
    a_bound_user_agent_stays_bound_when_another_renews,
];

async fn before_the_rotation_interval_a_refresh_gives_only_an_access_token() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(millis(59_999));
    let before = installation.stored(issued.row.sid);
    let renewed = node.renew(&issued.refresh).await.unwrap();
    assert!(renewed.refresh.is_none());
    let access = renewed.access;
    assert!(node.sessions.authenticate(access.as_str()).is_ok());
    assert_eq!(installation.stored(issued.row.sid), before);
}

async fn after_the_rotation_interval_the_token_rotates_and_the_idle_end_moves() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(60));
    let renewed = node.renew(&issued.refresh).await.unwrap();
    assert_eq!((renewed.outcome, generation(&node, &renewed)), (Renewal::Rotate, Some(1)));
    assert_eq!(renewed.refresh_max_age, secs(1800));
    let row = node.row(issued.row.sid).await.unwrap();
    assert_eq!((row.generation, row.rotated_at), (1, installation.clock.now()));
    assert_eq!(row.idle_expires_at, installation.clock.now().plus(secs(1800)));
    assert_eq!(row.expires_at, issued.row.expires_at, "the absolute end never moves");
}

#[tokio::test]
async fn a_rotation_keeps_the_secret_which_is_never_stored() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(60));
    let next = node.renew(&issued.refresh).await.unwrap().refresh.unwrap();
    let (first, second) = (node.opened(&issued.refresh), node.opened(&next));
    assert_eq!(first["key"], second["key"]);
    let key = first["key"].as_str().unwrap().to_owned();
    let mut raw = std::fs::read(installation.file()).unwrap();
    raw.extend(std::fs::read(installation.file().with_extension("db-wal")).unwrap());
    let holds = |text: &[u8]| raw.windows(text.len()).any(|window| window == text);
    assert!(holds(issued.row.sid.to_string().as_bytes()) && !holds(key.as_bytes()));
}

async fn a_lost_answer_is_repeated_within_the_window_without_a_write() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(60));
    node.renew(&issued.refresh).await.unwrap();
    let before = installation.stored(issued.row.sid);
    for step in [0, 5000, 4999] {
        installation.clock.advance(millis(step));
        let again = node.renew(&issued.refresh).await.unwrap();
        assert_eq!((again.outcome, generation(&node, &again)), (Renewal::Repeat, Some(1)));
    }
    assert_eq!(installation.stored(issued.row.sid), before);
    assert!(node.events("refresh.pardon").await.is_empty());
}

async fn a_late_previous_token_is_pardoned_once_and_repeated_without_a_write() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(60));
    node.renew(&issued.refresh).await.unwrap();
    installation.clock.advance(secs(10));
    let pardoned = node.renew(&issued.refresh).await.unwrap();
    assert_eq!((pardoned.outcome, generation(&node, &pardoned)), (Renewal::Pardon, Some(1)));
    let row = node.row(issued.row.sid).await.unwrap();
    assert_eq!((row.pardoned_gen, row.pardoned_at), (Some(0), Some(installation.clock.now())));
    assert_eq!(row.rotated_at, installation.clock.now());
    installation.clock.advance(secs(30));
    let before = installation.stored(issued.row.sid);
    let again = node.renew(&issued.refresh).await.unwrap();
    assert_eq!(generation(&node, &again), Some(1));
    assert_eq!(installation.stored(issued.row.sid), before);
    assert_eq!(node.events("refresh.pardon").await.len(), 1);
}

async fn a_second_late_previous_token_within_one_hour_ends_the_session() {
    let (installation, node, user) = one_node_and_user().await;
    let other = installation.node().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(60));
    node.renew(&issued.refresh).await.unwrap();
    installation.clock.advance(secs(10));
    let first = node.renew(&issued.refresh).await.unwrap().refresh.unwrap();
    installation.clock.advance(secs(60));
    let rotated = node.renew(&first).await.unwrap();
    let access = rotated.access.clone();
    assert!(other.sessions.authenticate(access.as_str()).is_ok());
    installation.clock.advance(secs(10));
    let thief = Device { user_agent: "thief/1".into(), ip: "198.51.100.9".into() };
    let denied = node.sessions.renew(first.as_str(), &thief).await;
    assert!(matches!(denied, Err(Denied::Reuse)), "{denied:?}");

    assert!(node.row(issued.row.sid).await.is_none());
    assert!(matches!(node.sessions.authenticate(access.as_str()), Err(Denied::Session)), "at once here");
    assert!(other.hears_of(&access).await, "and soon elsewhere");
    assert!(matches!(node.renew(&rotated.refresh.unwrap()).await, Err(Denied::Session)));

    let events = node.events("refresh.reuse").await;
    assert_eq!(events.len(), 1);
    let detail = &events[0].detail;
    assert_eq!(events[0].subject, issued.row.sid.to_string());
    assert_eq!((&detail["presented_generation"], &detail["generation"]), (&1.into(), &2.into()));
    assert_eq!(detail["age_ms"], 10_000);
    assert_eq!(detail["presented_by"], serde_json::json!({"user_agent": "thief/1", "ip": "198.51.100.9"}));
    assert_eq!(detail["began_by"], serde_json::json!({"user_agent": "tests/1", "ip": "192.0.2.7"}));
}

async fn a_token_two_generations_old_ends_the_session_at_once() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let mut token = issued.refresh.clone();
    for _ in 0..2 {
        installation.clock.advance(secs(60));
        token = node.renew(&token).await.unwrap().refresh.unwrap();
    }
    assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Reuse)));
    assert!(matches!(node.renew(&token).await, Err(Denied::Session)));
    assert_eq!(node.events("refresh.reuse").await.len(), 1);
}

async fn a_previous_token_as_old_as_two_idle_times_is_pardoned() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(millis(1_799_999));
    node.renew(&issued.refresh).await.unwrap();
    installation.clock.advance(millis(1_799_999));
    assert_eq!(node.renew(&issued.refresh).await.unwrap().outcome, Renewal::Pardon);
}

#[tokio::test]
async fn a_token_two_generations_old_ends_the_session_also_on_its_last_day() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let mut token = issued.refresh.clone();
    for _ in 0..6 * 24 * 3 {
        installation.clock.advance(secs(1200));
        token = node.renew(&token).await.unwrap().refresh.unwrap();
    }
    assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Reuse)));
    assert!(node.row(issued.row.sid).await.is_none());
}

async fn a_token_ahead_of_its_row_moves_the_row_forward_and_is_recorded() {
    let (_town, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let ahead = node.forged(&issued.refresh, |payload| payload["gen"] = 7.into());
    let renewed = node.renew(&ahead).await.unwrap();
    assert_eq!((renewed.outcome, generation(&node, &renewed)), (Renewal::Forward, Some(8)));
    assert_eq!(node.row(issued.row.sid).await.unwrap().generation, 8);
    assert_eq!(node.events("refresh.forward").await.len(), 1);
    let absurd = node.forged(&issued.refresh, |payload| payload["gen"] = u64::MAX.into());
    assert!(matches!(node.renew(&absurd).await, Err(Denied::Token(Refused::Payload))));
}

async fn a_wrong_key_or_name_leaves_the_row_untouched() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let stranger = node.user("eve").await;
    installation.clock.advance(secs(60));
    let before = installation.stored(issued.row.sid);
    for forged in [
        node.forged(&issued.refresh, |p| p["key"] = "A".repeat(43).into()),
        node.forged(&issued.refresh, |p| {
            p["key"] = "A".repeat(43).into();
            p["gen"] = 9.into();
        }),
        node.forged(&issued.refresh, |p| p["id"] = stranger.id.as_str().into()),
    ] {
        let denied = node.renew(&forged).await;
        assert!(matches!(denied, Err(Denied::Session)), "{denied:?}");
    }
    for shapeless in [
        node.forged(&issued.refresh, |p| p["key"] = "A".repeat(42).into()),
        node.forged(&issued.refresh, |p| p["gen"] = "0".into()),
        node.forged(&issued.refresh, |p| p["gen"] = (-1).into()),
        node.forged(&issued.refresh, |p| p["sid"] = "nobody".into()),
        node.forged(&issued.refresh, |p| p["id"] = 1.into()),
    ] {
        let denied = node.renew(&shapeless).await;
        assert!(matches!(denied, Err(Denied::Token(Refused::Payload))), "{denied:?}");
    }
    assert_eq!(installation.stored(issued.row.sid), before);
    assert!(node.renew(&issued.refresh).await.is_ok());
}

#[tokio::test]
async fn a_chain_of_1000_rotations_works() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let mut token = issued.refresh;
    for expected in 1..=1000 {
        installation.clock.advance(secs(60));
        let renewed = node.renew(&token).await.unwrap();
        assert_eq!(generation(&node, &renewed), Some(expected));
        token = renewed.refresh.unwrap();
    }
}

async fn sixty_four_concurrent_renewals_on_three_nodes_make_one_rotation() {
    let (installation, node, user) = one_node_and_user().await;
    let nodes = [node.clone(), installation.node().await, installation.node().await];
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(90));
    let renewals: Vec<_> = (0..64)
        .map(|n| {
            let (node, token) = (nodes[n % 3].clone(), issued.refresh.clone());
            tokio::spawn(async move {
                let renewed = node.renew(&token).await.unwrap();
                (renewed.outcome, generation(&node, &renewed), renewed.access)
            })
        })
        .collect();
    let mut rotations = 0;
    for renewal in renewals {
        let (outcome, generation, access) = renewal.await.unwrap();
        rotations += usize::from(outcome == Renewal::Rotate);
        assert_eq!(generation, Some(1));
        assert!(nodes.iter().all(|node| node.sessions.authenticate(access.as_str()).is_ok()));
    }
    assert_eq!(rotations, 1);
    assert_eq!(node.row(issued.row.sid).await.unwrap().generation, 1);
}

async fn a_new_access_token_has_the_present_roles() {
    let (_town, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let roles = Some(vec!["admin".into()]);
    let change = UserChange { roles, ..UserChange::default() };
    node.store
        .change_user(&user.id, change, AuditEvent::new(Event::read("user.role"), Actor::read("tests"), ""))
        .await
        .unwrap();
    let renewed = node.renew(&issued.refresh).await.unwrap();
    let principal = node.sessions.authenticate(renewed.access.as_str()).unwrap();
    assert_eq!(principal.roles(), ["admin"]);
    assert_eq!(principal, renewed.principal);
}

async fn a_renewal_from_another_address_is_recorded_once_per_change() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let elsewhere = Device { ip: "198.51.100.9".into(), ..device() };
    let mut refresh = issued.refresh;
    // The first renewal is too early to rotate and only records the event.
    for (wait, outcome) in
        [(0, Renewal::Repeat), (60, Renewal::Rotate), (60, Renewal::Rotate), (1, Renewal::Repeat)]
    {
        installation.clock.advance(secs(wait));
        let renewed = node.sessions.renew(refresh.as_str(), &elsewhere).await.unwrap();
        assert_eq!(renewed.outcome, outcome);
        refresh = renewed.refresh.unwrap_or(refresh);
        assert_eq!(node.events("refresh.moved").await.len(), 1, "{outcome:?}");
    }
    let event = node.events("refresh.moved").await.remove(0);
    assert_eq!(event.subject, issued.row.sid.to_string());
    assert_eq!(event.detail["from"], serde_json::json!(device()));
    assert_eq!(event.detail["to"], serde_json::json!(elsewhere));
    assert_eq!(node.row(issued.row.sid).await.unwrap().device, elsewhere);
    // Another agent is a change as well, even at the rotation itself; an unknown address is no change.
    installation.clock.advance(secs(60));
    let unknown = Device { ip: String::new(), ..elsewhere.clone() };
    refresh = node.sessions.renew(refresh.as_str(), &unknown).await.unwrap().refresh.unwrap();
    assert_eq!(node.events("refresh.moved").await.len(), 1);
    installation.clock.advance(secs(60));
    let agent = Device { user_agent: "thief/1".into(), ..elsewhere };
    let renewed = node.sessions.renew(refresh.as_str(), &agent).await.unwrap();
    assert_eq!((renewed.outcome, node.events("refresh.moved").await.len()), (Renewal::Rotate, 2));
    assert_eq!(node.row(issued.row.sid).await.unwrap().device, agent);
    // A client that changes its agent with every request can't fill the table.
    let refresh = renewed.refresh.unwrap();
    for n in 0..100 {
        let agent = Device { user_agent: format!("thief/{n}"), ..agent.clone() };
        node.sessions.renew(refresh.as_str(), &agent).await.unwrap();
    }
    assert!(node.events("refresh.moved").await.len() < 10);
}

async fn a_bound_user_agent_stays_bound_when_another_renews() {
    let installation = Installation::with(Policy { bind_agent: true, ..Policy::default() });
    let node = installation.node().await;
    let user = node.user("ada").await;
    let issued = node.begin(&user).await;
    let other = Device { user_agent: "other/2".into(), ..device() };
    for _ in 0..3 {
        node.sessions.renew(issued.refresh.as_str(), &other).await.unwrap();
    }
    assert_eq!(node.events("refresh.moved").await.len(), 1);
    assert_eq!(node.row(issued.row.sid).await.unwrap().device, device());
    installation.clock.advance(secs(60));
    node.renew(&issued.refresh).await.unwrap();
    let renewed = node.sessions.renew(issued.refresh.as_str(), &other).await.unwrap();
    assert_eq!(renewed.outcome, Renewal::Pardon);
}

async fn with_bound_user_agents_another_agent_needs_a_pardon() {
    let installation = Installation::with(Policy { bind_agent: true, ..Policy::default() });
    let node = installation.node().await;
    let user = node.user("ada").await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(60));
    node.renew(&issued.refresh).await.unwrap();
    let other = Device { user_agent: "other/2".into(), ..device() };
    let renewed = node.sessions.renew(issued.refresh.as_str(), &other).await.unwrap();
    assert_eq!(renewed.outcome, Renewal::Pardon);
}
