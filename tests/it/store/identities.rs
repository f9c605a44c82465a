//! Tests identities and spent nonces in the store: one owner each, the last way to log in stays, and a nonce is used only once.

use bulla::internals::store::Identity;

use super::*;
use crate::support::stores::{Kind, every_store, kind};

every_store![
    serializable;
    one_subject_at_two_issuers_is_two_identities,
    a_linked_identity_creates_no_second_user,
    the_last_credential_cannot_be_removed,
    two_concurrent_unlinks_leave_one_credential,
    two_concurrent_links_of_one_identity_give_it_one_owner,
    the_identities_of_a_deleted_user_can_be_linked_again,
    a_nonce_is_used_once_and_deleted_after_its_end,
];
every_store![a_dropped_or_disabled_trigger_is_reported];

fn identity(issuer: &str, subject: &str) -> Identity {
    Identity { issuer: issuer.into(), subject: subject.into() }
}

async fn add(
    fixture: &Fixture,
    name: &str,
    password: bool,
    with: Option<Identity>,
) -> Result<UserId, StoreError> {
    let new = NewUser {
        name: name.into(),
        password_hash: password.then(|| "hash".into()),
        identity: with,
        ..NewUser::default()
    };
    fixture.store.add_user(new, event("user.added")).await.map(|row| row.id)
}

async fn one_subject_at_two_issuers_is_two_identities() {
    let fixture = Fixture::new().await;
    let (here, there) = (identity("https://a.example", "7"), identity("https://b.example", "7"));
    let ada = add(&fixture, "ada", false, Some(here.clone())).await.unwrap();
    assert_eq!(fixture.store.user_of_identity(&there).await.unwrap(), None);
    let bob = add(&fixture, "bob", false, Some(there.clone())).await.unwrap();
    assert_eq!(fixture.store.user_of_identity(&here).await.unwrap(), Some(ada.clone()));
    assert_eq!(fixture.store.user_of_identity(&there).await.unwrap(), Some(bob));
    for near in [
        identity("https://a.example/", "7"),
        identity("https://a.example", "7 "),
        identity("https://A.example", "7"),
    ] {
        assert_eq!(fixture.store.user_of_identity(&near).await.unwrap(), None, "{near:?}");
    }
    let linked = fixture.events("identity.linked").await;
    assert_eq!((linked.len(), linked[0].subject.as_str()), (2, ada.as_str()));
}

async fn a_linked_identity_creates_no_second_user() {
    let fixture = Fixture::new().await;
    let taken = identity("https://a.example", "7");
    let ada = add(&fixture, "ada", false, Some(taken.clone())).await.unwrap();
    let second = add(&fixture, "bob", true, Some(taken.clone())).await;
    assert!(matches!(second, Err(StoreError::Conflict(_))), "{second:?}");
    assert!(fixture.store.user_by_name("bob").await.unwrap().is_none(), "the user went with the transaction");
    let bob = add(&fixture, "bob", true, None).await.unwrap();
    let stolen = fixture.store.link(&bob, taken.clone(), event("identity.linked")).await;
    assert!(matches!(stolen, Err(StoreError::Conflict(_))), "{stolen:?}");
    assert_eq!(fixture.store.user_of_identity(&taken).await.unwrap(), Some(ada));
}

async fn the_last_credential_cannot_be_removed() {
    let fixture = Fixture::new().await;
    let (first, second) = (identity("https://a.example", "1"), identity("https://b.example", "2"));
    let ada = add(&fixture, "ada", false, Some(first.clone())).await.unwrap();
    let unlink = |which: &Identity| fixture.store.unlink(&ada, which.clone(), event("identity.unlinked"));
    assert!(matches!(unlink(&first).await, Err(StoreError::LastWayIn)));
    fixture.store.link(&ada, second.clone(), event("identity.linked")).await.unwrap();
    fixture.store.link(&ada, second.clone(), event("identity.linked")).await.unwrap();
    assert_eq!(fixture.events("identity.linked").await.len(), 2, "linking again is no event");
    assert_eq!(fixture.store.identities(&ada).await.unwrap(), [first.clone(), second.clone()]);
    assert!(unlink(&first).await.unwrap());
    assert!(!unlink(&first).await.unwrap(), "it is gone already");
    assert!(matches!(unlink(&second).await, Err(StoreError::LastWayIn)));

    let bob = add(&fixture, "bob", true, Some(first.clone())).await.unwrap();
    assert!(!unlink(&first).await.unwrap(), "another's isn't found");
    assert!(
        fixture.store.unlink(&bob, first, event("identity.unlinked")).await.unwrap(),
        "a password is a way in"
    );
    assert_eq!(fixture.events("identity.unlinked").await.len(), 2);
}

async fn two_concurrent_unlinks_leave_one_credential() {
    let fixture = Fixture::new().await;
    for round in 0..20 {
        let pair = [
            identity("https://a.example", &round.to_string()),
            identity("https://b.example", &round.to_string()),
        ];
        let user = add(&fixture, &format!("user{round}"), false, Some(pair[0].clone())).await.unwrap();
        fixture.store.link(&user, pair[1].clone(), event("identity.linked")).await.unwrap();
        let unlink =
            |which: &Identity| fixture.store.unlink(&user, which.clone(), event("identity.unlinked"));
        let (one, other) = tokio::join!(unlink(&pair[0]), unlink(&pair[1]));
        assert_eq!(one.is_ok(), other.is_err(), "{one:?} {other:?}");
        assert_eq!(fixture.store.identities(&user).await.unwrap().len(), 1);
    }
}

async fn two_concurrent_links_of_one_identity_give_it_one_owner() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    let (ada, bob) = (fixture.user("ada").await.id, fixture.user("bob").await.id);
    for round in 0..20 {
        let wanted = identity("https://a.example", &round.to_string());
        let (one, two) = tokio::join!(
            fixture.store.link(&ada, wanted.clone(), event("identity.linked")),
            other.store.link(&bob, wanted.clone(), event("identity.linked"))
        );
        assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
        let owner = if one.is_ok() { &ada } else { &bob };
        assert_eq!(fixture.store.user_of_identity(&wanted).await.unwrap().as_ref(), Some(owner));
    }
    assert_eq!(fixture.events("identity.linked").await.len(), 20);
}

async fn the_identities_of_a_deleted_user_can_be_linked_again() {
    let fixture = Fixture::new().await;
    let taken = identity("https://a.example", "7");
    let ada = add(&fixture, "ada", false, Some(taken.clone())).await.unwrap();
    assert!(fixture.store.delete_user(&ada, event("user.deleted")).await.unwrap());
    assert_eq!(fixture.store.user_of_identity(&taken).await.unwrap(), None);
    add(&fixture, "bob", false, Some(taken)).await.unwrap();
}

async fn a_nonce_is_used_once_and_deleted_after_its_end() {
    let one = Fixture::new().await;
    let other = one.another().await;
    let now = one.store.now().await.unwrap();
    let spend = |fixture: &Fixture, byte| {
        let store = fixture.store.clone();
        async move { store.mark_used([byte; 32], now.plus(secs(600))).await.unwrap() }
    };
    let all = (0..16).map(|n| spend(if n % 2 == 0 { &one } else { &other }, 7));
    let spent = futures_util::future::join_all(all).await;
    assert_eq!(spent.into_iter().filter(|first| *first).count(), 1);
    assert!(spend(&one, 8).await);
    for (byte, spent) in [(7, true), (8, true), (9, false)] {
        assert_eq!(other.store.is_used([byte; 32]).await.unwrap(), spent, "{byte}");
    }
    one.installation.clock.advance(secs(599));
    one.store.sweep(secs(60), secs(3600)).await.unwrap();
    assert!(!spend(&other, 7).await, "remembered until its end");
    one.installation.clock.advance(secs(2));
    assert_eq!(one.store.sweep(secs(60), secs(3600)).await.unwrap(), 2);
}

async fn a_dropped_or_disabled_trigger_is_reported() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.store.missing_triggers().await.unwrap(), Vec::<String>::new());
    let drop = match kind() {
        Kind::Sqlite => "DROP TRIGGER session_deleted; DROP TRIGGER user_disabled",
        _ => "DROP TRIGGER session_deleted ON sessions; ALTER TABLE users DISABLE TRIGGER user_disabled",
    };
    fixture.installation.shell().run(drop);
    assert_eq!(fixture.store.missing_triggers().await.unwrap(), ["session_deleted", "user_disabled"]);
    if kind() == Kind::Postgres {
        // The trigger `revoked` is not required, because nodes also poll. For a role with `session_replication_role =
        // 'replica'` no trigger fires at all.
        fixture.installation.shell().run("ALTER TABLE revocations DISABLE TRIGGER revoked");
        assert_eq!(fixture.store.missing_triggers().await.unwrap(), ["session_deleted", "user_disabled"]);
        let name = fixture.installation.shell().value("SELECT current_database()");
        fixture
            .installation
            .shell()
            .run(&format!("ALTER DATABASE {name} SET session_replication_role = 'replica'"));
        let missing = fixture.another().await.store.missing_triggers().await.unwrap();
        assert!(missing.len() > 10 && missing.contains(&"client_changed".into()), "{missing:?}");
    }
}
