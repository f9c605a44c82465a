//! Tests how sessions begin: what the tokens say, the session cap, and logins that replace a session.

use bulla::internals::{
    secret::SecretText,
    session::{Denied, Policy},
    store::{Actor, AuditEvent, Device, Event, StoreError, Transport, User, UserChange},
    token::Refused,
};

use super::one_node_and_user;
use crate::support::{
    installation::{Installation, device, millis, secs},
    stores::every_store,
};

every_store![
    an_access_token_authenticates_and_names_its_user,
    reading_a_session_with_its_user_equals_reading_each_alone,
    an_access_token_expires,
    access_and_refresh_tokens_are_not_interchangeable,
    the_cap_ends_the_oldest_session,
    a_login_ends_the_session_that_its_request_presents,
    basic_from_the_same_device_reuses_its_row_and_revokes_nothing,
    a_user_disabled_or_deleted_meanwhile_begins_no_session,
    claims_too_long_for_a_cookie_begin_no_session_and_rotate_none,
    a_new_password_ends_all_sessions_but_the_callers_new_one,
];

async fn an_access_token_authenticates_and_names_its_user() {
    let (_town, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let principal = node.sessions.authenticate(issued.access.as_str()).unwrap();
    assert_eq!(principal, issued.principal);
    assert_eq!((principal.id(), principal.sid()), (user.id.as_str(), issued.row.sid));
    assert!(principal.has_role("reader"));
    assert_eq!(node.events("login").await.len(), 1);
}

async fn reading_a_session_with_its_user_equals_reading_each_alone() {
    let (installation, node, user) = one_node_and_user().await;
    let sid = node.begin(&user).await.row.sid;
    let both = async || node.store.session_and_user(sid).await.unwrap().0;
    let (row, with) = both().await.unwrap();
    assert_eq!(Some(row), node.row(sid).await);
    assert!(with.is_some() && with == node.store.user(&user.id).await.unwrap());
    // As in an installation whose users belong to another program.
    installation.shell().run("UPDATE sessions SET user_id = 'theirs'");
    let (row, with) = both().await.unwrap();
    assert!(row.user_id.as_str() == "theirs" && with.is_none());
    node.log_out(sid).await;
    assert_eq!(both().await, None);
}

async fn an_access_token_expires() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    installation.clock.advance(millis(119_999));
    assert!(node.sessions.authenticate(issued.access.as_str()).is_ok());
    installation.clock.advance(millis(1));
    let denied = node.sessions.authenticate(issued.access.as_str());
    assert!(matches!(denied, Err(Denied::Token(Refused::Expired))), "{denied:?}");
}

async fn access_and_refresh_tokens_are_not_interchangeable() {
    let (_town, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let denied = node.sessions.authenticate(issued.refresh.as_str());
    assert!(matches!(denied, Err(Denied::Token(Refused::Tag))), "{denied:?}");
    let denied = node.renew(&issued.access).await;
    assert!(matches!(denied, Err(Denied::Token(Refused::Tag))), "{denied:?}");
}

async fn the_cap_ends_the_oldest_session() {
    let installation = Installation::with(Policy { session_cap: 3, ..Policy::default() });
    let node = installation.node().await;
    let user = node.user("ada").await;
    let mut all = vec![];
    for expected in [0, 1, 2, 2] {
        let issued = node.begin(&user).await;
        assert_eq!(issued.others, expected);
        all.push(issued);
        installation.clock.advance(secs(1));
    }
    assert!(matches!(node.sessions.authenticate(all[0].access.as_str()), Err(Denied::Session)));
    assert!(matches!(node.renew(&all[0].refresh).await, Err(Denied::Session)));
    for kept in &all[1..] {
        assert!(node.sessions.authenticate(kept.access.as_str()).is_ok());
        assert!(node.renew(&kept.refresh).await.is_ok());
    }
}

async fn a_login_ends_the_session_that_its_request_presents() {
    let (_town, node, user) = one_node_and_user().await;
    let first = node.begin(&user).await;
    let presented = Some(first.refresh.as_str());
    let second = node.sessions.begin(&user, Transport::Cookie, device(), presented).await.unwrap();
    assert_eq!(second.others, 0);
    assert!(matches!(node.sessions.authenticate(first.access.as_str()), Err(Denied::Session)));
    assert!(node.sessions.authenticate(second.access.as_str()).is_ok());
    let third = node.sessions.begin(&user, Transport::Cookie, device(), Some("garbage")).await.unwrap();
    assert_eq!(third.others, 1);
}

async fn basic_from_the_same_device_reuses_its_row_and_revokes_nothing() {
    let (_town, node, user) = one_node_and_user().await;
    let begin = async || node.sessions.begin(&user, Transport::Basic, device(), None).await.unwrap();
    let (first, second) = (begin().await, begin().await);
    assert_eq!(first.row.sid, second.row.sid);
    assert_eq!(second.others, 0);
    assert!(node.sessions.authenticate(first.access.as_str()).is_ok());
    assert!(node.sessions.authenticate(second.access.as_str()).is_ok());
    assert!(matches!(node.renew(&first.refresh).await, Err(Denied::Session)), "the key is new");
    assert!(node.renew(&second.refresh).await.is_ok());
    let elsewhere = Device { ip: "192.0.2.8".into(), ..device() };
    let other = node.sessions.begin(&user, Transport::Basic, elsewhere, None).await.unwrap();
    assert_ne!(other.row.sid, second.row.sid);
}

async fn a_user_disabled_or_deleted_meanwhile_begins_no_session() {
    let (_town, node, user) = one_node_and_user().await;
    let gone = node.user("bob").await;
    let disabled = UserChange { disabled: Some(true), ..UserChange::default() };
    let event = || AuditEvent::new(Event::UserChanged, Actor::read("tests"), "");
    node.store.change_user(&user.id, disabled, event()).await.unwrap();
    assert!(node.store.delete_user(&gone.id, event()).await.unwrap());
    for user in [user, gone] {
        let denied = node.sessions.begin(&user, Transport::Cookie, device(), None).await;
        assert!(matches!(denied, Err(Denied::Session)), "{denied:?}");
        assert!(node.store.sessions(Some(&user.id), 10).await.unwrap().0.is_empty());
    }
}

async fn claims_too_long_for_a_cookie_begin_no_session_and_rotate_none() {
    let (installation, node, user) = one_node_and_user().await;
    let issued = node.begin(&user).await;
    let long = serde_json::json!({"note": "x".repeat(2900)});
    let claims = long.as_object().cloned();
    let change = UserChange { claims, ..UserChange::default() };
    let event = AuditEvent::new(Event::UserChanged, Actor::read("tests"), "");
    let row = node.store.change_user(&user.id, change, event).await.unwrap().unwrap();
    let user = User { claims: row.claims, ..user };
    let denied = node.sessions.begin(&user, Transport::Cookie, device(), None).await;
    assert!(matches!(denied, Err(Denied::Seal(_))), "{denied:?}");
    installation.clock.advance(secs(60));
    let before = installation.stored(issued.row.sid);
    assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Seal(_))));
    assert_eq!(installation.stored(issued.row.sid), before);
}

async fn a_new_password_ends_all_sessions_but_the_callers_new_one() {
    let (_town, node, user) = one_node_and_user().await;
    let event = AuditEvent::new(Event::PasswordChanged, Actor::read("tests"), "");
    node.store.change_password(&user.id, "$old".into(), None, event).await.unwrap();
    let (first, second) = (node.begin(&user).await, node.begin(&user).await);
    let change = |verified: &str| {
        let verified = SecretText::new(verified.into());
        node.sessions.change_password(&user, &first.row, verified, "$argon2id$…".into(), device())
    };
    assert!(matches!(change("$older").await, Err(Denied::CannotTell(StoreError::Stale))));
    assert!(node.renew(&second.refresh).await.is_ok(), "nothing was written");
    let changed = change("$old").await.unwrap();
    assert!(matches!(change("$argon2id$…").await, Err(Denied::CannotTell(StoreError::CallerEnded))));
    for old in [first, second] {
        assert!(matches!(node.sessions.authenticate(old.access.as_str()), Err(Denied::Session)));
        assert!(matches!(node.renew(&old.refresh).await, Err(Denied::Session)));
    }
    assert!(node.sessions.authenticate(changed.access.as_str()).is_ok());
    assert!(node.renew(&changed.refresh).await.is_ok());
}
