//! Identities and spent nonces in the store: one owner each, never the last way in, never twice.

use std::time::Duration;

use bulla::{
    ids::UserId,
    store::{AuditEvent, Identity, NewUser, Store as _, StoreError},
};

use crate::town::{Node, Town, secs};

fn identity(issuer: &str, subject: &str) -> Identity {
    Identity { issuer: issuer.into(), subject: subject.into() }
}

fn event(name: &'static str) -> AuditEvent {
    AuditEvent::new(name, "tests", "")
}

async fn add(node: &Node, name: &str, password: bool, with: Option<Identity>) -> Result<UserId, StoreError> {
    let new = NewUser {
        name: name.into(),
        password_hash: password.then(|| "hash".into()),
        identity: with,
        ..NewUser::default()
    };
    node.store.add_user(new, event("user.added")).await.map(|row| row.id)
}

#[tokio::test]
async fn one_subject_at_two_issuers_is_two_people() {
    let town = Town::new();
    let node = town.node().await;
    let (here, there) = (identity("https://a.example", "7"), identity("https://b.example", "7"));
    let ada = add(&node, "ada", false, Some(here.clone())).await.unwrap();
    assert_eq!(node.store.identity(&there).await.unwrap(), None);
    let bob = add(&node, "bob", false, Some(there.clone())).await.unwrap();
    assert_eq!(node.store.identity(&here).await.unwrap(), Some(ada.clone()));
    assert_eq!(node.store.identity(&there).await.unwrap(), Some(bob));
    for near in [
        identity("https://a.example/", "7"),
        identity("https://a.example", "7 "),
        identity("https://A.example", "7"),
    ] {
        assert_eq!(node.store.identity(&near).await.unwrap(), None, "{near:?}");
    }
    let linked = node.events("identity.linked").await;
    assert_eq!((linked.len(), linked[0].subject.as_str()), (2, ada.as_str()));
}

#[tokio::test]
async fn an_identity_that_is_taken_makes_no_user() {
    let town = Town::new();
    let node = town.node().await;
    let taken = identity("https://a.example", "7");
    let ada = add(&node, "ada", false, Some(taken.clone())).await.unwrap();
    let second = add(&node, "bob", true, Some(taken.clone())).await;
    assert!(matches!(second, Err(StoreError::Conflict(_))), "{second:?}");
    assert!(node.store.user_by_name("bob").await.unwrap().is_none(), "the user went with the transaction");
    let bob = add(&node, "bob", true, None).await.unwrap();
    let stolen = node.store.link(&bob, taken.clone(), event("identity.linked")).await;
    assert!(matches!(stolen, Err(StoreError::Conflict(_))), "{stolen:?}");
    assert_eq!(node.store.identity(&taken).await.unwrap(), Some(ada));
}

#[tokio::test]
async fn the_last_way_in_stays() {
    let town = Town::new();
    let node = town.node().await;
    let (first, second) = (identity("https://a.example", "1"), identity("https://b.example", "2"));
    let ada = add(&node, "ada", false, Some(first.clone())).await.unwrap();
    let unlink = |which: &Identity| node.store.unlink(&ada, which.clone(), event("identity.unlinked"));
    assert!(matches!(unlink(&first).await, Err(StoreError::LastWayIn)));
    node.store.link(&ada, second.clone(), event("identity.linked")).await.unwrap();
    node.store.link(&ada, second.clone(), event("identity.linked")).await.unwrap();
    assert_eq!(node.events("identity.linked").await.len(), 2, "linking again is no event");
    assert_eq!(node.store.identities(&ada).await.unwrap(), [first.clone(), second.clone()]);
    assert!(unlink(&first).await.unwrap());
    assert!(!unlink(&first).await.unwrap(), "it is gone already");
    assert!(matches!(unlink(&second).await, Err(StoreError::LastWayIn)));

    let bob = add(&node, "bob", true, Some(first.clone())).await.unwrap();
    assert!(!unlink(&first).await.unwrap(), "another's isn't found");
    assert!(
        node.store.unlink(&bob, first, event("identity.unlinked")).await.unwrap(),
        "a password is a way in"
    );
    assert_eq!(node.events("identity.unlinked").await.len(), 2);
}

#[tokio::test]
async fn two_unlinks_at_once_leave_one_way_in() {
    let town = Town::new();
    let node = town.node().await;
    for round in 0..20 {
        let pair = [
            identity("https://a.example", &round.to_string()),
            identity("https://b.example", &round.to_string()),
        ];
        let user = add(&node, &format!("user{round}"), false, Some(pair[0].clone())).await.unwrap();
        node.store.link(&user, pair[1].clone(), event("identity.linked")).await.unwrap();
        let unlink = |which: &Identity| node.store.unlink(&user, which.clone(), event("identity.unlinked"));
        let (one, other) = tokio::join!(unlink(&pair[0]), unlink(&pair[1]));
        assert_eq!(one.is_ok(), other.is_err(), "{one:?} {other:?}");
        assert_eq!(node.store.identities(&user).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_deleted_users_identities_are_free_again() {
    let town = Town::new();
    let node = town.node().await;
    let taken = identity("https://a.example", "7");
    let ada = add(&node, "ada", false, Some(taken.clone())).await.unwrap();
    assert!(node.store.delete_user(&ada, event("user.deleted")).await.unwrap());
    assert_eq!(node.store.identity(&taken).await.unwrap(), None);
    add(&node, "bob", false, Some(taken)).await.unwrap();
}

#[tokio::test]
async fn a_nonce_is_spent_once_whoever_else_tries_and_swept_after_its_end() {
    let town = Town::new();
    let (one, other) = (town.node().await, town.node().await);
    let now = one.store.now().await.unwrap();
    let spend = |node: &Node, byte| {
        let store = node.store.clone();
        async move { store.spend([byte; 32], now.plus(secs(600))).await.unwrap() }
    };
    let all = (0..16).map(|n| spend(if n % 2 == 0 { &one } else { &other }, 7));
    let spent = futures_util::future::join_all(all).await;
    assert_eq!(spent.into_iter().filter(|first| *first).count(), 1);
    assert!(spend(&one, 8).await);
    town.clock.advance(secs(599));
    one.store.sweep(secs(60), Duration::from_secs(3600)).await.unwrap();
    assert!(!spend(&other, 7).await, "remembered until its end");
    town.clock.advance(secs(2));
    assert_eq!(one.store.sweep(secs(60), Duration::from_secs(3600)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_trigger_that_was_dropped_is_missed() {
    let town = Town::new();
    let node = town.node().await;
    assert_eq!(node.store.missing_triggers().await.unwrap(), Vec::<String>::new());
    town.shell().execute_batch("DROP TRIGGER session_deleted; DROP TRIGGER user_disabled").unwrap();
    assert_eq!(node.store.missing_triggers().await.unwrap(), ["session_deleted", "user_disabled"]);
}
