//! Tests how sessions end: by time, logout, deletion and disabled users, also during a refresh.

use bulla::internals::{
    ids::UserId,
    session::{Denied, Policy},
    store::{Actor, AuditEvent, Event, User, UserChange},
};

use super::one_node_and_user;
use crate::support::{
    installation::{Installation, Node, millis, secs},
    stores::every_store,
};

every_store![
    a_session_ends_exactly_at_its_idle_time,
    a_renewal_never_moves_the_absolute_end,
    a_logout_applies_at_once_on_its_node_and_soon_on_others,
    a_session_deleted_in_a_database_shell_is_revoked,
    disabling_a_user_ends_their_sessions,
    a_logout_by_refresh_token_finds_its_session_at_any_generation,
    ending_all_sessions_of_a_user_ends_no_others,
    changes_are_authorized_by_the_row_and_not_by_the_token,
    a_refresh_that_races_with_a_logout_leaves_no_live_token,
    a_refresh_that_races_with_disabling_leaves_no_live_token,
];

async fn a_session_ends_exactly_at_its_idle_time() {
    let (installation, node, user) = one_node_and_user().await;
    let (kept, lost) = (node.begin(&user).await, node.begin(&user).await);
    installation.clock.advance(millis(1_799_999));
    assert!(node.renew(&kept.refresh).await.is_ok());
    installation.clock.advance(millis(1));
    let denied = node.renew(&lost.refresh).await;
    assert!(matches!(denied, Err(Denied::Session)), "{denied:?}");
}

async fn a_renewal_never_moves_the_absolute_end() {
    let installation = Installation::with(Policy { session_max_age: secs(1900), ..Policy::default() });
    let node = installation.node().await;
    let user = node.user("ada").await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(1000));
    let next = node.renew(&issued.refresh).await.unwrap();
    assert_eq!(next.refresh_max_age, secs(900), "what is left");
    installation.clock.advance(secs(899));
    let last = node.renew(next.refresh.as_ref().unwrap()).await.unwrap();
    assert_eq!(last.refresh_max_age, secs(1));
    installation.clock.advance(secs(1));
    assert!(matches!(node.renew(last.refresh.as_ref().unwrap()).await, Err(Denied::Session)));
}

async fn a_logout_applies_at_once_on_its_node_and_soon_on_others() {
    let (installation, node, user) = one_node_and_user().await;
    let other = installation.node().await;
    let issued = node.begin(&user).await;
    assert!(other.sessions.authenticate(issued.access.as_str()).is_ok());
    assert!(node.log_out(issued.row.sid).await);
    assert!(!node.log_out(issued.row.sid).await, "nothing left to end");
    assert!(matches!(node.sessions.authenticate(issued.access.as_str()), Err(Denied::Session)));
    assert!(matches!(other.renew(&issued.refresh).await, Err(Denied::Session)));
    assert!(other.hears_of(&issued.access).await);
    let later = installation.node().await;
    assert!(matches!(later.sessions.authenticate(issued.access.as_str()), Err(Denied::Session)));
}

async fn a_session_deleted_in_a_database_shell_is_revoked() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let kept = node.begin(&user).await;
    installation.shell().run(&format!("DELETE FROM sessions WHERE sid = '{}'", issued.row.sid));
    assert!(node.hears_of(&issued.access).await);
    assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Session)));
    assert!(node.sessions.authenticate(kept.access.as_str()).is_ok());
}

async fn disabling_a_user_ends_their_sessions() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.shell().run("UPDATE users SET disabled = 1 WHERE name = 'ada'");
    assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Session)));
    assert!(node.hears_of(&issued.access).await);
    assert!(matches!(node.sessions.confirm(&issued.principal).await, Err(Denied::Session)));
}

async fn a_logout_by_refresh_token_finds_its_session_at_any_generation() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(secs(60));
    node.renew(&issued.refresh).await.unwrap();
    let found = node.sessions.identify(issued.refresh.as_str()).await.unwrap();
    assert_eq!(found.map(|row| row.sid), Some(issued.row.sid));
    let forged = node.forged(&issued.refresh, |p| p["key"] = "A".repeat(43).into());
    assert!(node.sessions.identify(forged.as_str()).await.unwrap().is_none());
}

async fn ending_all_sessions_of_a_user_ends_no_others() {
    let (_town, node, user) = one_node_and_user().await;
    let other = node.user("bob").await;
    let (one, two, kept) = (node.begin(&user).await, node.begin(&user).await, node.begin(&other).await);
    let event = AuditEvent::new(Event::Logout, &user.id, "");
    assert_eq!(node.sessions.end_all(&user.id, event).await.unwrap(), 2);
    for ended in [one, two] {
        assert!(matches!(node.sessions.authenticate(ended.access.as_str()), Err(Denied::Session)));
    }
    assert!(node.sessions.authenticate(kept.access.as_str()).is_ok());
    let nobody = UserId::new("nobody").unwrap();
    let event = AuditEvent::new(Event::Logout, Actor::read("tests"), "");
    assert_eq!(node.sessions.end_all(&nobody, event).await.unwrap(), 0);
}

async fn changes_are_authorized_by_the_row_and_not_by_the_token() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let change = UserChange { roles: Some(vec![]), ..UserChange::default() };
    node.store
        .change_user(&user.id, change, AuditEvent::new(Event::read("user.role"), Actor::read("tests"), ""))
        .await
        .unwrap();
    assert!(issued.principal.has_role("reader"), "the token still says so");
    let (row, now) = node.sessions.confirm(&issued.principal).await.unwrap();
    assert_eq!((row.sid, now.roles), (issued.row.sid, vec![]));
    installation.clock.advance(secs(1800));
    assert!(matches!(node.sessions.confirm(&issued.principal).await, Err(Denied::Session)));
}

/// Starts a renewal and an operation that ends the session at the same time, many times.
async fn race<F: Future<Output = ()> + Send + 'static>(
    end: impl Fn(Node, User, bulla::internals::ids::Sid) -> F,
) {
    let installation = Installation::new();
    let nodes = [installation.node().await, installation.node().await];
    for round in 0..40 {
        let user = nodes[0].user(&format!("user{round}")).await;
        let issued = nodes[0].begin(&user).await;
        installation.clock.advance(secs(60));
        let renewals: Vec<_> = nodes
            .iter()
            .map(|node| {
                let (node, token) = (node.clone(), issued.refresh.clone());
                tokio::spawn(async move { node.renew(&token).await })
            })
            .collect();
        let ending = tokio::spawn(end(nodes[round % 2].clone(), user, issued.row.sid));
        ending.await.unwrap();
        assert!(installation.stored(issued.row.sid).is_empty(), "round {round}");
        for renewal in renewals {
            match renewal.await.unwrap() {
                Ok(renewed) => {
                    let token = renewed.refresh.unwrap_or_else(|| issued.refresh.clone());
                    assert!(matches!(nodes[0].renew(&token).await, Err(Denied::Session)));
                    let access = renewed.access;
                    assert!(nodes[0].hears_of(&access).await && nodes[1].hears_of(&access).await);
                }
                Err(denied) => assert!(matches!(denied, Denied::Session), "{denied:?}"),
            }
        }
        assert!(installation.stored(issued.row.sid).is_empty(), "round {round}");
    }
}

async fn a_refresh_that_races_with_a_logout_leaves_no_live_token() {
    race(async |node, _, sid| assert!(node.log_out(sid).await)).await;
}

async fn a_refresh_that_races_with_disabling_leaves_no_live_token() {
    race(async |node, user, _| {
        let change = UserChange { disabled: Some(true), ..UserChange::default() };
        let event = AuditEvent::new(Event::UserDisabled, Actor::read("tests"), "");
        node.store.change_user(&user.id, change, event).await.unwrap().unwrap();
    })
    .await;
}
