//! Tests writes that succeed only while the proof behind them is valid: a password, a session, an identity, a role.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bulla::internals::{
    ids::{ClientId, Scope, Sid},
    secret::SecretText,
    store::{
        Actor, AuditEvent, Caller, ClientChange, Event, Identity, NewClient, NewSession, NewUser, Proof,
        ProvenAt, SessionEnd, SessionRow, Store, StoreError, Transport, UserChange, UserRow, Written,
    },
};
use futures_util::future::join_all;

use super::{Fixture, disabled, event, roles};
use crate::support::{
    installation::{new_session, secs},
    stores::every_store,
};

every_store![
    serializable;
    a_new_password_replaces_only_the_verified_one,
    a_new_password_is_set_only_if_the_callers_session_is_live,
    of_concurrent_changes_that_verified_one_password_one_is_written,
    a_change_that_verified_the_old_password_does_not_replace_an_administrators_new_one,
    a_password_change_that_races_with_a_revocation_leaves_no_session,
    no_chain_of_changes_survives_a_revocation_of_all_sessions,
    a_session_begins_only_if_the_verified_password_is_unchanged,
    a_session_begins_only_if_the_proven_identity_is_still_linked,
    an_ended_session_links_and_unlinks_nothing,
    a_caller_who_has_lost_a_required_right_changes_nothing,
    of_two_administrators_who_act_against_each_other_one_succeeds,
    roles_are_added_and_removed_on_the_present_row,
    a_proof_is_recorded_only_if_session_and_password_are_unchanged,
    a_new_password_reports_the_recently_linked_identities,
    a_client_begins_a_session_only_with_its_present_scopes,
];

async fn with_password(fixture: &Fixture, name: &str) -> UserRow {
    let new = NewUser { name: name.into(), password_hash: Some("$old".into()), ..NewUser::default() };
    fixture.store.add_user(new, event("user.added")).await.unwrap()
}

fn verified(hash: &str) -> Proof {
    Proof { at: ProvenAt::Now, password_hash: Some(SecretText::new(hash.into())), ..Proof::default() }
}

/// Changes the password as the owner of this session, who has verified `hash`.
async fn change(
    store: &Arc<dyn Store>,
    caller: &SessionRow,
    hash: &str,
    new: &str,
) -> Result<Option<SessionRow>, StoreError> {
    let next = NewSession { proof: verified(hash), ..new_session(&caller.user_id) };
    let event = event("password.changed").by(caller.as_caller());
    store.change_password(&caller.user_id, new.into(), Some(next), event).await
}

async fn hash_of(fixture: &Fixture, user: &UserRow) -> Option<String> {
    fixture.store.user(&user.id).await.unwrap().unwrap().password_hash
}

async fn a_new_password_replaces_only_the_verified_one() {
    let fixture = Fixture::new().await;
    let ada = with_password(&fixture, "ada").await;
    let own = fixture.begin(&ada.id).await;
    let lost = change(&fixture.store, &own, "$older", "$new").await;
    assert!(matches!(lost, Err(StoreError::Stale)), "{lost:?}");
    assert_eq!(hash_of(&fixture, &ada).await.as_deref(), Some("$old"));
    assert_eq!(fixture.live(&ada.id).await, [own.sid]);
    assert!(fixture.events("password.changed").await.is_empty() && fixture.revoked().is_empty());
    let begun = change(&fixture.store, &own, "$old", "$new").await.unwrap().unwrap();
    assert_eq!(fixture.live(&ada.id).await, [begun.sid]);
    assert_eq!(begun.auth_time, Some(begun.created_at));
}

async fn a_new_password_is_set_only_if_the_callers_session_is_live() {
    let fixture = Fixture::new().await;
    let ada = with_password(&fixture, "ada").await;
    let (own, kept) = (fixture.begin(&ada.id).await, fixture.begin(&ada.id).await);
    let over = fixture.begin_as(NewSession { idle: secs(1), ..new_session(&ada.id) }, 20).await;
    fixture.installation.clock.advance(secs(2));
    fixture.store.end_sessions(SessionEnd::One(own.sid), event("logout")).await.unwrap();
    let bob = fixture.begin(&fixture.user("bob").await.id).await;
    let anothers = SessionRow { sid: bob.sid, ..kept.clone() };
    for ended in [own, over, anothers] {
        let answer = change(&fixture.store, &ended, "$old", "$new").await;
        assert!(matches!(answer, Err(StoreError::CallerEnded)), "{answer:?}");
    }
    assert_eq!(hash_of(&fixture, &ada).await.as_deref(), Some("$old"));
    assert_eq!(fixture.live(&ada.id).await, [kept.sid]);
}

async fn of_concurrent_changes_that_verified_one_password_one_is_written() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    for round in 0..6 {
        let ada = with_password(&fixture, &format!("ada {round}")).await;
        let callers = join_all((0..4).map(|_| fixture.begin(&ada.id))).await;
        let changes = callers.iter().enumerate().map(|(n, caller)| {
            let store = if n % 2 == 0 { &fixture.store } else { &other.store };
            async move { change(store, caller, "$old", &format!("$new {n}")).await }
        });
        let answers = join_all(changes).await;
        let won: Vec<usize> = (0..4).filter(|n| matches!(answers[*n], Ok(Some(_)))).collect();
        let lost = |answer: &Result<Option<SessionRow>, StoreError>| {
            matches!(answer, Err(StoreError::CallerEnded | StoreError::Stale))
        };
        assert!(won.len() == 1 && answers.iter().filter(|answer| lost(answer)).count() == 3, "{answers:?}");
        assert_eq!(hash_of(&fixture, &ada).await, Some(format!("$new {}", won[0])));
        assert_eq!(fixture.live(&ada.id).await.len(), 1);
    }
}

async fn a_change_that_verified_the_old_password_does_not_replace_an_administrators_new_one() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    for round in 0..6 {
        let ada = with_password(&fixture, &format!("ada {round}")).await;
        let callers = join_all((0..4).map(|_| fixture.begin(&ada.id))).await;
        let thief = join_all(callers.iter().map(|caller| change(&other.store, caller, "$old", "$thief")));
        let admin = fixture.store.change_password(&ada.id, "$admin".into(), None, event("password.changed"));
        let (_, set) = tokio::join!(thief, admin);
        set.unwrap();
        assert_eq!(hash_of(&fixture, &ada).await.as_deref(), Some("$admin"));
        assert!(fixture.live(&ada.id).await.is_empty());
    }
}

async fn a_password_change_that_races_with_a_revocation_leaves_no_session() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    for round in 0..6 {
        let ada = with_password(&fixture, &format!("ada {round}")).await;
        let callers = join_all((0..4).map(|_| fixture.begin(&ada.id))).await;
        let thief = join_all(callers.iter().map(|caller| change(&other.store, caller, "$old", "$thief")));
        let (_, ended) = tokio::join!(thief, async {
            match round % 2 {
                0 => {
                    let all = SessionEnd::AllOfUser(ada.id.clone());
                    fixture.store.end_sessions(all, event("session.revoked")).await.map(drop)
                }
                _ => fixture.change(&ada.id, disabled(true)).await.map(drop),
            }
        });
        ended.unwrap();
        assert!(fixture.live(&ada.id).await.is_empty(), "round {round}");
    }
}

/// Changes the password repeatedly, each time in the session that the last change has begun.
async fn chain(
    store: Arc<dyn Store>,
    mut caller: SessionRow,
    changes: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::SeqCst)
        && let Ok(Some(next)) = change(&store, &caller, "$old", "$old").await
    {
        caller = next;
        changes.fetch_add(1, Ordering::SeqCst);
    }
}

async fn no_chain_of_changes_survives_a_revocation_of_all_sessions() {
    let fixture = Fixture::new().await;
    let users = join_all((0..4).map(async |n| with_password(&fixture, &format!("ada {n}")).await)).await;
    for round in 0..8 {
        let (changes, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let mut chains = Vec::new();
        for user in &users {
            let caller = fixture.begin(&user.id).await;
            chains.push(tokio::spawn(chain(fixture.store.clone(), caller, changes.clone(), stop.clone())));
        }
        while changes.load(Ordering::SeqCst) < 4 && !chains.iter().all(tokio::task::JoinHandle::is_finished) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        if round % 2 == 0 {
            fixture.store.end_sessions(SessionEnd::All, event("session.revoked")).await.unwrap();
        } else {
            let shell = fixture.installation.shell();
            // At the level SERIALIZABLE the statement can fail and must be repeated.
            let ends = move || while shell.try_run("DELETE FROM sessions").is_err() {};
            tokio::task::spawn_blocking(ends).await.unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        for chain in chains {
            chain.await.unwrap();
        }
        for user in &users {
            assert_eq!(fixture.live(&user.id).await, [], "round {round}, {}", user.name);
        }
    }
}

async fn a_session_begins_only_if_the_verified_password_is_unchanged() {
    let fixture = Fixture::new().await;
    let ada = with_password(&fixture, "ada").await;
    let basic = |hash: &str| NewSession {
        transport: Transport::Basic,
        takes_over_basic: true,
        proof: verified(hash),
        ..new_session(&ada.id)
    };
    let begin = async |new: NewSession| fixture.store.begin_session(new, 20, event("login")).await;
    let own = begin(basic("$old")).await.unwrap().unwrap();
    assert_eq!(own.auth_time, Some(own.created_at));
    fixture.installation.clock.advance(secs(5));
    let again = begin(basic("$old")).await.unwrap().unwrap();
    assert_eq!(
        (again.sid, again.auth_time),
        (own.sid, Some(again.created_at)),
        "taken over, and proven anew"
    );
    for new in [basic("$older"), NewSession { proof: verified("$older"), ..new_session(&ada.id) }] {
        assert!(matches!(begin(new).await, Err(StoreError::Stale)));
    }
    assert_eq!(fixture.row(own.sid).await, Some(again), "nothing was written");
    fixture.store.delete_user(&ada.id, event("user.deleted")).await.unwrap();
    assert!(begin(basic("$old")).await.unwrap().is_none());
    assert!(fixture.live(&ada.id).await.is_empty());
}

fn identity(subject: &str) -> Identity {
    Identity { issuer: "https://id.example".into(), subject: subject.into() }
}

async fn a_session_begins_only_if_the_proven_identity_is_still_linked() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (with_password(&fixture, "ada").await, with_password(&fixture, "bob").await);
    fixture.store.link(&ada.id, identity("1"), event("identity.linked")).await.unwrap();
    fixture.store.link(&bob.id, identity("2"), event("identity.linked")).await.unwrap();
    let begin = async |subject: &str| {
        let proof = Proof { identity: Some(identity(subject)), ..Proof::default() };
        let new = NewSession { proof, ..new_session(&ada.id) };
        fixture.store.begin_session(new, 20, event("login")).await.unwrap()
    };
    assert_eq!(begin("1").await.unwrap().auth_time, None, "nothing says when");
    assert!(begin("2").await.is_none() && begin("3").await.is_none());
    fixture.store.unlink(&ada.id, identity("1"), event("identity.unlinked")).await.unwrap();
    assert!(begin("1").await.is_none());
    assert_eq!(fixture.live(&ada.id).await.len(), 1);
}

async fn an_ended_session_links_and_unlinks_nothing() {
    let fixture = Fixture::new().await;
    let ada = with_password(&fixture, "ada").await;
    let (own, ended) = (fixture.begin(&ada.id).await, fixture.begin(&ada.id).await);
    fixture.store.end_sessions(SessionEnd::One(ended.sid), event("logout")).await.unwrap();
    let link = async |row: &SessionRow| {
        let linked = event("identity.linked").by(row.as_caller());
        fixture.store.link(&ada.id, identity("1"), linked).await
    };
    let unlink = async |row: &SessionRow| {
        let unlinked = event("identity.unlinked").by(row.as_caller());
        fixture.store.unlink(&ada.id, identity("1"), unlinked).await
    };
    assert!(matches!(link(&ended).await, Err(StoreError::CallerEnded)));
    assert!(fixture.store.identities(&ada.id).await.unwrap().is_empty());
    link(&own).await.unwrap();
    assert_eq!(
        fixture.store.linked_identities(&ada.id).await.unwrap()[0].linked_at,
        Some(fixture.now().await)
    );
    assert!(matches!(unlink(&ended).await, Err(StoreError::CallerEnded)));
    assert_eq!(fixture.store.identities(&ada.id).await.unwrap(), [identity("1")]);
    assert!(unlink(&own).await.unwrap());
    assert_eq!(
        (fixture.events("identity.linked").await.len(), fixture.events("identity.unlinked").await.len()),
        (1, 1)
    );
}

fn new_client(scopes: &[&str]) -> NewClient {
    NewClient {
        id: ClientId::new(scopes.join("-")).unwrap(),
        name: scopes.join(" "),
        secret_hash: None,
        jwks: None,
        public: false,
        scopes: Scope::new(scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>()).unwrap(),
        audiences: vec![],
        redirect_uris: vec![],
    }
}

async fn a_caller_who_has_lost_a_required_right_changes_nothing() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let (root, eve) =
        (fixture.user_with("root", &["admin"]).await, fixture.user_with("eve", &["admin"]).await);
    let client = store.add_client(new_client(&["admin"]), event("client.added")).await.unwrap();
    let session = fixture.begin(&eve.id).await;
    let person = Caller::Person { sid: session.sid, user: eve.id.clone(), role: Some("admin") };
    let machine = Caller::Client { id: client.id.clone(), scope: "admin" };
    let does = |name, caller: &Caller| event(name).by(caller.clone());
    let all_refused = async |caller: &Caller| {
        let before = store.audit(None, 10_000).await.unwrap();
        let new = NewUser { name: "heir".into(), roles: vec!["admin".into()], ..NewUser::default() };
        let id = &client.id;
        let refused = [
            store.add_user(new, does("user.added", caller)).await.map(drop),
            store.change_user(&eve.id, roles(&["admin", "x"]), does("user.changed", caller)).await.map(drop),
            store.delete_user(&eve.id, does("user.deleted", caller)).await.map(drop),
            store.end_sessions(SessionEnd::All, does("session.revoked", caller)).await.map(drop),
            store.add_client(new_client(&["x"]), does("client.added", caller)).await.map(drop),
            store.change_client(id, ClientChange::default(), does("client.changed", caller)).await.map(drop),
            store.delete_client(id, does("client.deleted", caller)).await.map(drop),
        ];
        for (n, answer) in refused.iter().enumerate() {
            assert!(matches!(answer, Err(StoreError::CallerEnded)), "{n} {caller:?}: {answer:?}");
        }
        assert_eq!(store.audit(None, 10_000).await.unwrap(), before);
    };
    for caller in [&person, &machine] {
        store
            .change_user(&root.id, UserChange::default(), does("user.changed", caller))
            .await
            .unwrap()
            .unwrap();
    }
    fixture.change(&eve.id, roles(&["reader"])).await.unwrap();
    all_refused(&person).await;
    fixture.change(&eve.id, roles(&["admin"])).await.unwrap();
    store.end_sessions(SessionEnd::One(session.sid), event("logout")).await.unwrap();
    all_refused(&person).await;
    let never = Caller::Person { sid: Sid([9; 16]), user: eve.id.clone(), role: None };
    all_refused(&never).await;
    let change = ClientChange { disabled: Some(true), ..ClientChange::default() };
    store.change_client(&client.id, change, event("client.disabled")).await.unwrap();
    all_refused(&machine).await;
}

async fn of_two_administrators_who_act_against_each_other_one_succeeds() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    fixture.user_with("root", &["admin"]).await;
    let act = async |store: &Arc<dyn Store>, kind: usize, by: &SessionRow, against: &SessionRow| {
        let caller = Caller::Person { sid: by.sid, user: by.user_id.clone(), role: Some("admin") };
        let (event, user) = (event("acts").by(caller), &against.user_id);
        match kind {
            0 => store.change_user(user, disabled(true), event).await.map(drop),
            1 => store.change_user(user, roles(&[]), event).await.map(drop),
            2 => store.delete_user(user, event).await.map(drop),
            3 => store.end_sessions(SessionEnd::AllOfUser(user.clone()), event).await.map(drop),
            4 => store.end_sessions(SessionEnd::One(against.sid), event).await.map(drop),
            _ => store.end_sessions(SessionEnd::All, event).await.map(drop),
        }
    };
    // Each kind of act against the same kind, and some against another kind.
    for round in 0..24 {
        let (one, two) = (round % 6, if round < 12 { round % 6 } else { (round + 3) % 6 });
        let begin = async |name: String| fixture.begin(&fixture.user_with(&name, &["admin"]).await.id).await;
        let (ada, bob) = (begin(format!("ada {round}")).await, begin(format!("bob {round}")).await);
        let answers = tokio::join!(act(&fixture.store, one, &ada, &bob), act(&other.store, two, &bob, &ada));
        let answers = [answers.0, answers.1];
        let lost = answers.iter().filter(|answer| matches!(answer, Err(StoreError::CallerEnded))).count();
        assert_eq!((lost, answers.iter().filter(|a| a.is_ok()).count()), (1, 1), "{one} {two}: {answers:?}");
    }
}

async fn roles_are_added_and_removed_on_the_present_row() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    let ada = fixture.user_with("ada", &["editor"]).await;
    let change = |add: &[&str], remove: &[&str]| UserChange {
        add_roles: add.iter().map(|role| (*role).to_owned()).collect(),
        remove_roles: remove.iter().map(|role| (*role).to_owned()).collect(),
        ..UserChange::default()
    };
    let changes = (0..8).map(|n| {
        let (fixture, id) = (if n % 2 == 0 { &fixture } else { &other }, &ada.id);
        let role = format!("role {n}");
        async move { fixture.change(id, change(&[&role, "editor"], &["absent"])).await.unwrap().unwrap() }
    });
    join_all(changes).await;
    let mut found = fixture.store.user(&ada.id).await.unwrap().unwrap().roles;
    found.sort();
    let mut all: Vec<String> = (0..8).map(|n| format!("role {n}")).collect();
    all.insert(0, "editor".into());
    assert_eq!(found, all, "no change was lost");
    let left = fixture.change(&ada.id, change(&["a"], &["editor", "role 3"])).await.unwrap().unwrap();
    assert!(
        left.roles.len() == 8 && left.roles.contains(&"a".into()) && !left.roles.contains(&"role 3".into())
    );
}

async fn a_proof_is_recorded_only_if_session_and_password_are_unchanged() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (with_password(&fixture, "ada").await, with_password(&fixture, "bob").await);
    let own = fixture.begin(&ada.id).await;
    assert_eq!(own.auth_time, None);
    fixture.installation.clock.advance(secs(5));
    let note = async |sid, user: &UserRow, hash: Option<&str>| {
        let hash = hash.map(|hash| SecretText::new(hash.into()));
        fixture.store.record_authentication(sid, &user.id, hash).await.unwrap()
    };
    assert!(!note(own.sid, &ada, Some("$older")).await && !note(own.sid, &bob, Some("$old")).await);
    assert!(!note(Sid([9; 16]), &ada, None).await);
    assert_eq!(fixture.row(own.sid).await.unwrap().auth_time, None);
    assert!(note(own.sid, &ada, Some("$old")).await);
    assert_eq!(
        fixture.row(own.sid).await.unwrap(),
        SessionRow { auth_time: Some(fixture.now().await), ..own.clone() }
    );
    fixture.installation.clock.advance(secs(60));
    assert_eq!(fixture.rotate(&own).await.unwrap(), Written::Applied);
    let kept = fixture.row(own.sid).await.unwrap().auth_time;
    assert_eq!(kept, Some(own.created_at.plus(secs(5))), "a rotation proves nothing");
    fixture.installation.clock.advance(secs(3600));
    assert!(!note(own.sid, &ada, None).await, "it is over");
}

async fn a_new_password_reports_the_recently_linked_identities() {
    let fixture = Fixture::new().await;
    let ada = with_password(&fixture, "ada").await;
    let link = async |subject| {
        fixture.store.link(&ada.id, identity(subject), event("identity.linked")).await.unwrap();
    };
    link("old").await;
    fixture.installation.clock.advance(secs(31 * 86_400));
    link("new").await;
    let shell = fixture.installation.shell();
    let by_hand =
        "INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', 'by hand', '{}')";
    shell.run(&by_hand.replace("{}", ada.id.as_str()));
    let own = fixture.begin(&ada.id).await;
    change(&fixture.store, &own, "$old", "$new").await.unwrap().unwrap();
    let subjects = |linked: &serde_json::Value| -> Vec<String> {
        let all = linked.as_array().unwrap().iter();
        all.map(|one| one["subject"].as_str().unwrap().to_owned()).collect()
    };
    let noted = fixture.events("password.changed").await.pop().unwrap();
    assert_eq!(subjects(&noted.detail["recently_linked"]), ["by hand", "new"]);
    assert_eq!(noted.detail["recently_linked"][1]["linked_at"], serde_json::json!(fixture.now().await));
    let told = fixture.store.newly_linked(&ada.id).await.unwrap();
    assert_eq!(told.iter().map(|one| one.identity.subject.as_str()).collect::<Vec<_>>(), ["by hand", "new"]);
    let set = AuditEvent::new(Event::PasswordChanged, Actor::read("cli"), "");
    fixture.store.change_password(&ada.id, "$third".into(), None, set).await.unwrap();
    let noted = fixture.events("password.changed").await.pop().unwrap();
    assert_eq!(
        subjects(&noted.detail["recently_linked"]),
        ["by hand", "new"],
        "an operator's names them too"
    );
}

async fn a_client_begins_a_session_only_with_its_present_scopes() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let client =
        fixture.store.add_client(new_client(&["read", "write"]), event("client.added")).await.unwrap();
    let begin = async |scope: &str| {
        let grant =
            bulla::internals::store::Grant { client: client.id.clone(), scope: scope.parse().unwrap() };
        let new = NewSession { grant: Some(grant), ..new_session(&ada.id) };
        fixture.store.begin_session(new, 20, event("login")).await.unwrap().is_some()
    };
    assert!(begin("read write").await && !begin("read admin").await);
    let narrower = ClientChange { scopes: Some("read".parse().unwrap()), ..ClientChange::default() };
    fixture.store.change_client(&client.id, narrower, event("client.changed")).await.unwrap();
    assert!(begin("read").await && !begin("read write").await);
}
