//! Tests users, their names, and the last administrator.

use bulla::internals::store::SessionEnd;

use super::*;
use crate::support::stores::every_store;

every_store![
    serializable;
    a_user_reads_back_by_id_and_by_name_in_any_case_and_composition,
    a_name_that_differs_only_by_case_or_homoglyph_is_refused,
    of_two_lookalike_names_added_at_once_one_is_refused,
    a_name_inserted_in_a_shell_is_found_and_reserved,
    an_id_inserted_in_a_shell_is_not_reused,
    users_come_in_pages_in_order_of_id,
    a_change_keeps_the_fields_that_it_does_not_name,
    events_of_users_contain_additions_changes_and_deletions,
    concurrent_changes_lose_none,
    the_last_administrator_stays,
    of_two_administrators_who_remove_each_other_one_stays,
    disabling_a_user_ends_all_sessions_and_enabling_restores_none,
    a_deleted_user_leaves_no_rows_and_the_id_is_not_reused,
    a_new_password_ends_all_sessions_and_begins_one_for_the_caller,
    a_disabled_user_cannot_change_the_password_and_an_operator_can,
    a_stronger_hash_replaces_only_the_hash_that_it_upgrades,
    an_id_that_is_not_a_number_finds_no_user,
];

async fn a_user_reads_back_by_id_and_by_name_in_any_case_and_composition() {
    let fixture = Fixture::new().await;
    let new = NewUser {
        name: "Zo\u{eb} Müller".into(),
        password_hash: Some("$argon2id$…".into()),
        roles: vec!["b".into(), "a".into()],
        claims: serde_json::json!({"plan": {"seats": 3}, "nul": "\u{0}"}).as_object().unwrap().clone(),
        disabled: true,
        identity: None,
    };
    let row = fixture.store.add_user(new.clone(), event("user.added")).await.unwrap();
    assert_eq!((&row.name, &row.password_hash, &row.roles), (&new.name, &new.password_hash, &new.roles));
    assert_eq!((&row.claims, row.disabled, row.created_at), (&new.claims, true, fixture.now().await));
    assert_eq!(fixture.store.user(&row.id).await.unwrap().as_ref(), Some(&row));
    for name in ["Zo\u{eb} Müller", "zoe\u{308} mu\u{308}ller", "ZO\u{cb} MÜLLER"] {
        assert_eq!(fixture.store.user_by_name(name).await.unwrap().as_ref(), Some(&row), "{name}");
    }
    for name in ["zoe muller", "", "zo\u{eb} müller ", "nobody", "a\u{0}b", "%", "zo_ müller"] {
        assert_eq!(fixture.store.user_by_name(name).await.unwrap(), None, "{name:?}");
    }
    assert_eq!(fixture.events("user.added").await[0].subject, row.id.to_string());
}

async fn a_name_that_differs_only_by_case_or_homoglyph_is_refused() {
    let fixture = Fixture::new().await;
    fixture.user("bob").await;
    for name in ["bob", "BOB", "b\u{43e}b", "ＢＯＢ"] {
        let new = NewUser { name: name.into(), ..NewUser::default() };
        let refused = fixture.store.add_user(new, event("user.added")).await;
        assert!(
            matches!(&refused, Err(StoreError::Conflict(why)) if why.contains("taken")),
            "{name}: {refused:?}"
        );
    }
    assert_eq!(fixture.events("user.added").await.len(), 1, "a refusal leaves no event");
    assert_eq!(fixture.store.user_by_name("b\u{43e}b").await.unwrap(), None, "but it is another name");
    fixture.user("bobby").await;
}

async fn of_two_lookalike_names_added_at_once_one_is_refused() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    for round in 0..10 {
        let add = |fixture: &Fixture, name: String| {
            let store = fixture.store.clone();
            async move { store.add_user(NewUser { name, ..NewUser::default() }, event("user.added")).await }
        };
        let (one, two) =
            tokio::join!(add(&fixture, format!("bob{round}x")), add(&other, format!("B\u{43e}b{round}X")));
        let refused = [one, two].into_iter().filter_map(Result::err).collect::<Vec<_>>();
        assert!(matches!(&refused[..], [StoreError::Conflict(_)]), "round {round}: {refused:?}");
    }
}

async fn a_name_inserted_in_a_shell_is_found_and_reserved() {
    let fixture = Fixture::new().await;
    fixture.installation.shell().run("INSERT INTO users (name, created_at) VALUES ('Grace', 1)");
    let row = fixture.store.user_by_name("grace").await.unwrap().unwrap();
    assert_eq!((&*row.name, row.password_hash, row.roles), ("Grace", None, vec![]));
    let new = NewUser { name: "GRACE".into(), ..NewUser::default() };
    assert!(matches!(fixture.store.add_user(new, event("user.added")).await, Err(StoreError::Conflict(_))));
    fixture.installation.shell().run("INSERT INTO users (id, name, created_at) VALUES (100, 'Heidi', 1)");
    assert_eq!(fixture.user("ivan").await.id.as_str(), "101", "no id twice, whoever gave it out");
}

async fn an_id_inserted_in_a_shell_is_not_reused() {
    for id in [1, 7] {
        let fixture = Fixture::new().await;
        let sql = format!("INSERT INTO users (id, name, created_at) VALUES ({id}, 'by hand', 0)");
        fixture.installation.shell().run(&sql);
        assert_eq!(fixture.user("ada").await.id.as_str(), (id + 1).to_string());
    }
}

async fn users_come_in_pages_in_order_of_id() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(fixture.user(&format!("user{n}")).await.id);
    }
    let page = async |after: Option<&UserId>| {
        let rows = fixture.store.users(after, 5).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, ids[..5]);
    assert_eq!(page(Some(&ids[4])).await, ids[5..10]);
    assert_eq!(page(Some(&ids[9])).await, ids[10..]);
    assert_eq!(page(Some(&ids[11])).await, []);
}

async fn a_change_keeps_the_fields_that_it_does_not_name() {
    let fixture = Fixture::new().await;
    let row = fixture.user_with("ada", &["reader"]).await;
    let claims = serde_json::json!({"team": "x"}).as_object().cloned();
    let changed =
        fixture.change(&row.id, UserChange { claims, ..UserChange::default() }).await.unwrap().unwrap();
    assert_eq!((&changed.roles, changed.claims["team"].as_str()), (&row.roles, Some("x")));
    let changed = fixture.change(&row.id, roles(&["writer"])).await.unwrap().unwrap();
    assert_eq!((changed.roles[0].as_str(), changed.claims["team"].as_str()), ("writer", Some("x")));
    assert_eq!(fixture.store.user(&row.id).await.unwrap(), Some(changed));
    let events = fixture.events("user.changed").await;
    assert!(events.len() == 2 && events.iter().all(|event| event.subject == row.id.to_string()));
    assert_eq!(fixture.change(&UserId::new("4711").unwrap(), disabled(true)).await.unwrap(), None);
    assert_eq!(fixture.events("user.changed").await.len(), 2);
}

async fn events_of_users_contain_additions_changes_and_deletions() {
    let fixture = Fixture::new().await;
    let new = NewUser {
        name: "Zoë".into(),
        password_hash: Some("$argon2id$hash".into()),
        roles: vec!["reader".into()],
        claims: serde_json::json!({"team": "secret-1", "seat": 1}).as_object().unwrap().clone(),
        ..NewUser::default()
    };
    let row = fixture.store.add_user(new, event("user.added")).await.unwrap();
    let claims = serde_json::json!({"team": "secret-2", "mail": "secret-3"}).as_object().cloned();
    let change = UserChange { claims, disabled: Some(true), ..roles(&["reader", "ops"]) };
    fixture.change(&row.id, change.clone()).await.unwrap().unwrap();
    fixture.change(&row.id, change).await.unwrap().unwrap();
    assert!(fixture.store.delete_user(&row.id, event("user.deleted")).await.unwrap());

    let detail = async |name: &str| {
        fixture.events(name).await.into_iter().map(|event| event.detail).collect::<Vec<_>>()
    };
    assert_eq!(detail("user.added").await, [serde_json::json!({"name": "Zoë", "roles": ["reader"]})]);
    let changed = serde_json::json!({
        "roles": {"from": ["reader"], "to": ["reader", "ops"]},
        "disabled": {"from": false, "to": true},
        "claims": {"added": ["mail"], "removed": ["seat"], "changed": ["team"]},
    });
    let none = serde_json::json!({"changed": {}});
    assert_eq!(detail("user.changed").await, [serde_json::json!({ "changed": changed }), none]);
    assert_eq!(detail("user.deleted").await, [serde_json::json!({"name": "Zoë"})]);
    for row in fixture.store.audit(None, 100).await.unwrap() {
        let told = row.detail.to_string();
        assert!(!told.contains("secret") && !told.contains("argon2"), "{told}");
    }
}

async fn concurrent_changes_lose_none() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    for round in 0..10 {
        let user = fixture.user(&format!("user{round}")).await;
        let claims = serde_json::json!({"team": round}).as_object().cloned();
        let claims = UserChange { claims, ..UserChange::default() };
        let (one, two) =
            tokio::join!(fixture.change(&user.id, roles(&["ops"])), other.change(&user.id, claims));
        assert!(one.unwrap().is_some() && two.unwrap().is_some());
        let row = fixture.store.user(&user.id).await.unwrap().unwrap();
        assert_eq!((row.roles.len(), &row.claims["team"]), (1, &round.into()), "round {round}");
    }
}

async fn the_last_administrator_stays() {
    let fixture = Fixture::new().await;
    let ada = fixture.user_with("ada", &["admin", "x"]).await;
    let off = fixture.user_with("off", &["admin"]).await;
    fixture.user_with("bob", &["administrator", "\"admin\""]).await;
    fixture.change(&off.id, disabled(true)).await.unwrap();
    for change in [disabled(true), roles(&["x"])] {
        assert!(matches!(fixture.change(&ada.id, change).await, Err(StoreError::LastAdmin)));
    }
    assert!(matches!(
        fixture.store.delete_user(&ada.id, event("user.deleted")).await,
        Err(StoreError::LastAdmin)
    ));
    assert_eq!(fixture.store.user(&ada.id).await.unwrap(), Some(ada.clone()));
    assert_eq!(fixture.events("user.changed").await.len(), 1, "a refusal leaves no event");
    fixture.change(&off.id, disabled(false)).await.unwrap();
    assert!(fixture.store.delete_user(&ada.id, event("user.deleted")).await.unwrap());
    assert!(matches!(fixture.change(&off.id, roles(&[])).await, Err(StoreError::LastAdmin)));
}

async fn of_two_administrators_who_remove_each_other_one_stays() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    for round in 0..10 {
        let (a, b) = (
            fixture.user_with(&format!("one{round}"), &["admin"]).await,
            fixture.user_with(&format!("two{round}"), &["admin"]).await,
        );
        let (one, two) = tokio::join!(fixture.change(&a.id, roles(&[])), async {
            other.store.delete_user(&b.id, event("user.deleted")).await
        });
        let refused = [one.err(), two.err()].into_iter().flatten().collect::<Vec<_>>();
        assert!(matches!(&refused[..], [StoreError::LastAdmin]), "round {round}: {refused:?}");
        // Remove the remaining administrator before the next round.
        fixture.installation.shell().run("UPDATE users SET roles = '[]'");
    }
}

async fn disabling_a_user_ends_all_sessions_and_enabling_restores_none() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await, fixture.user("bob").await);
    let (own, others) = (fixture.begin(&ada.id).await, fixture.begin(&bob.id).await);
    fixture.change(&ada.id, disabled(true)).await.unwrap();
    assert!(fixture.list.denies(own.sid) && !fixture.list.denies(others.sid));
    fixture.change(&ada.id, disabled(false)).await.unwrap();
    assert!(fixture.row(own.sid).await.is_none() && fixture.list.denies(own.sid));
    assert_eq!(fixture.revoked(), [own.sid.to_string()]);
}

async fn a_deleted_user_leaves_no_rows_and_the_id_is_not_reused() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let own = fixture.begin(&ada.id).await;
    let shell = fixture.installation.shell();
    shell.run(&format!(
        "INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', '1', '{}')",
        ada.id
    ));
    assert!(fixture.store.delete_user(&ada.id, event("user.deleted")).await.unwrap());
    assert!(fixture.list.denies(own.sid) && fixture.row(own.sid).await.is_none());
    assert_eq!(shell.number("SELECT count(*) FROM identities"), 0);
    assert!(!fixture.store.delete_user(&ada.id, event("user.deleted")).await.unwrap());
    assert_eq!(fixture.events("user.deleted").await.len(), 1);
    assert_ne!(fixture.user("ada").await.id, ada.id);
}

async fn a_new_password_ends_all_sessions_and_begins_one_for_the_caller() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let old = [fixture.begin(&ada.id).await.sid, fixture.begin(&ada.id).await.sid];
    let next = new_session(&ada.id);
    let changed = event("password.changed");
    let begun = fixture
        .store
        .change_password(&ada.id, "$new".into(), Some(next.clone()), changed.clone())
        .await
        .unwrap();
    assert_eq!(begun.unwrap().sid, next.sid);
    assert_eq!(fixture.live(&ada.id).await, [next.sid]);
    assert!(old.iter().all(|sid| fixture.list.denies(*sid)) && !fixture.list.denies(next.sid));
    let why = fixture.events("session.revoked").await;
    assert!(why.len() == 2 && why.iter().all(|event| event.detail["reason"] == "password changed"));
    assert_eq!(fixture.events("password.changed").await[0].subject, ada.id.to_string());
    assert_eq!(fixture.store.user(&ada.id).await.unwrap().unwrap().password_hash.as_deref(), Some("$new"));
    assert!(fixture.store.change_password(&ada.id, "$2".into(), None, changed).await.unwrap().is_none());
    assert!(fixture.live(&ada.id).await.is_empty());
}

async fn a_disabled_user_cannot_change_the_password_and_an_operator_can() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    fixture.change(&ada.id, disabled(true)).await.unwrap();
    let next = Some(new_session(&ada.id));
    let begun = fixture.store.change_password(&ada.id, "$new".into(), next, event("password.changed")).await;
    assert!(begun.unwrap().is_none() && fixture.live(&ada.id).await.is_empty());
    assert_eq!(fixture.store.user(&ada.id).await.unwrap().unwrap().password_hash, None);
    assert!(fixture.events("password.changed").await.is_empty());
    let set = fixture.store.change_password(&ada.id, "$new".into(), None, event("password.changed")).await;
    assert!(set.unwrap().is_none(), "an operator's, for when the user is let in again");
    assert_eq!(fixture.store.user(&ada.id).await.unwrap().unwrap().password_hash.as_deref(), Some("$new"));
}

async fn a_stronger_hash_replaces_only_the_hash_that_it_upgrades() {
    let fixture = Fixture::new().await;
    let new = NewUser { name: "ada".into(), password_hash: Some("$weak".into()), ..NewUser::default() };
    let ada = fixture.store.add_user(new, event("user.added")).await.unwrap();
    let own = fixture.begin(&ada.id).await;
    fixture.store.rehash_password(&ada.id, "$another", "$wrong".into()).await.unwrap();
    fixture.store.rehash_password(&ada.id, "$weak", "$strong".into()).await.unwrap();
    assert_eq!(fixture.store.user(&ada.id).await.unwrap().unwrap().password_hash.as_deref(), Some("$strong"));
    assert!(fixture.row(own.sid).await.is_some(), "and ends nothing");
}

async fn an_id_that_is_not_a_number_finds_no_user() {
    let fixture = Fixture::new().await;
    fixture.user("ada").await;
    for id in ["01", "+1", " 1", "1 ", "ada", "1.0", "99999999999999999999", "-1"] {
        let id = UserId::new(id).unwrap();
        assert_eq!(fixture.store.user(&id).await.unwrap(), None, "{id}");
        assert!(!fixture.store.delete_user(&id, event("user.deleted")).await.unwrap(), "{id}");
        assert_eq!(fixture.change(&id, disabled(true)).await.unwrap(), None, "{id}");
        let end = SessionEnd::AllOfUser(id);
        assert_eq!(fixture.store.end_sessions(end, event("logout")).await.unwrap(), []);
    }
}
