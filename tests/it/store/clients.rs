//! Tests clients: how they are added, changed and deleted, what this revokes, and tokens that are issued at the same time.

use bulla::internals::{
    ids::{Audience, ClientId, Scope},
    store::{ClientChange, ClientRow, Grant, NewClient, NewSecret, RevocationTarget},
};

use super::*;
use crate::support::stores::every_store;

every_store![
    serializable;
    a_client_reads_back_as_it_was_added_and_changed,
    a_name_belongs_to_one_client,
    events_of_clients_contain_their_names_and_changes,
    clients_come_in_pages,
    a_secret_change_with_overlap_revokes_nothing_and_one_without_revokes,
    a_session_begins_only_for_an_enabled_client,
    a_session_of_an_app_needs_a_live_login_of_its_user,
    deleting_a_client_ends_its_sessions,
    a_reduction_of_a_clients_rights_in_a_shell_revokes_its_tokens,
    a_token_is_issued_only_if_the_client_is_unchanged_since_the_check,
    every_token_issued_before_a_change_is_revoked_by_it,
    a_token_without_a_session_row_is_revoked_once,
    a_one_time_value_is_accepted_once,
];

impl Fixture {
    async fn client(&self, name: &str) -> ClientRow {
        let new = NewClient {
            id: ClientId::generate().unwrap(),
            name: name.into(),
            secret_hash: Some(Digest([1; 32])),
            jwks: None,
            public: false,
            scopes: scope("read write"),
            audiences: vec![Audience::new("billing").unwrap()],
            redirect_uris: vec!["https://app.example/back?x=\"".into()],
        };
        self.store.add_client(new, event("client.added")).await.unwrap()
    }

    async fn client_row(&self, id: &ClientId) -> Option<ClientRow> {
        self.store.client(id).await.unwrap().0
    }

    async fn alter(&self, id: &ClientId, change: ClientChange) -> Option<ClientRow> {
        self.store.change_client(id, change, event("client.changed")).await.unwrap()
    }

    async fn secret(&self, id: &ClientId, byte: u8, overlap: std::time::Duration) -> ClientRow {
        let secret = Some(NewSecret { hash: Digest([byte; 32]), overlap });
        self.alter(id, ClientChange { secret, ..ClientChange::default() }).await.unwrap()
    }
}

async fn events_of_clients_contain_their_names_and_changes() {
    let fixture = Fixture::new().await;
    let id = fixture.client("reports").await.id;
    let change = ClientChange { scopes: Some(scope("read")), disabled: Some(true), ..Default::default() };
    fixture.alter(&id, change).await.unwrap();
    fixture.secret(&id, 9, std::time::Duration::ZERO).await;
    assert!(fixture.store.delete_client(&id, event("client.deleted")).await.unwrap());
    assert!(!fixture.store.delete_client(&id, event("client.deleted")).await.unwrap());

    let detail = async |name: &str| {
        fixture.events(name).await.into_iter().map(|event| event.detail).collect::<Vec<_>>()
    };
    let named = [serde_json::json!({"name": "reports"})];
    assert_eq!(detail("client.added").await, named);
    let changed = serde_json::json!({
        "scopes": {"from": "read write", "to": "read"}, "disabled": {"from": false, "to": true},
    });
    let secret = serde_json::json!({"changed": {"secret": "replaced"}});
    assert_eq!(detail("client.changed").await, [serde_json::json!({ "changed": changed }), secret]);
    assert_eq!(detail("client.deleted").await, named);
}

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

fn off() -> ClientChange {
    ClientChange { disabled: Some(true), ..ClientChange::default() }
}

async fn a_client_reads_back_as_it_was_added_and_changed() {
    let fixture = Fixture::new().await;
    let added = fixture.client("cron").await;
    assert_eq!(fixture.client_row(&added.id).await.as_ref(), Some(&added));
    assert_eq!(fixture.revoked(), Vec::<String>::new(), "nothing was taken away");
    let change = ClientChange {
        jwks: Some(r#"{"keys":[]}"#.into()),
        scopes: Some(scope("")),
        audiences: Some(vec![]),
        redirect_uris: Some(vec![]),
        disabled: Some(true),
        ..ClientChange::default()
    };
    let changed = fixture.alter(&added.id, change).await.unwrap();
    assert!(changed.disabled && changed.scopes.is_empty() && changed.jwks.is_some());
    assert_eq!(
        (&changed.name, changed.secret_hash, changed.created_at),
        (&added.name, None, added.created_at),
        "keys take a secret's place"
    );
    assert_eq!(fixture.client_row(&added.id).await, Some(changed));
    assert_eq!(fixture.revoked(), [format!("client:{}", added.id)]);
    assert!(fixture.store.delete_client(&added.id, event("client.deleted")).await.unwrap());
    assert!(!fixture.store.delete_client(&added.id, event("client.deleted")).await.unwrap());
    assert_eq!(fixture.client_row(&added.id).await, None);
    assert_eq!(fixture.alter(&added.id, off()).await, None);
    for name in ["client.added", "client.changed", "client.deleted"] {
        let events = fixture.events(name).await;
        assert_eq!(
            events.iter().map(|row| row.subject.as_str()).collect::<Vec<_>>(),
            [added.id.as_str()],
            "{name}"
        );
    }
}

async fn a_name_belongs_to_one_client() {
    let fixture = Fixture::new().await;
    let first = fixture.client("cron").await;
    let again = NewClient {
        id: ClientId::generate().unwrap(),
        name: "cron".into(),
        secret_hash: None,
        jwks: None,
        public: false,
        scopes: scope(""),
        audiences: vec![],
        redirect_uris: vec![],
    };
    let other = fixture.another().await;
    for (store, id, name) in
        [(&fixture.store, again.id.clone(), "cron"), (&other.store, first.id.clone(), "other")]
    {
        let refused = store
            .add_client(NewClient { id, name: name.into(), ..again.clone() }, event("client.added"))
            .await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    assert_eq!(fixture.client_row(&first.id).await, Some(first));
    let at_once = (0..8).map(|n| {
        let store = if n % 2 == 0 { fixture.store.clone() } else { other.store.clone() };
        let client = NewClient { id: ClientId::generate().unwrap(), name: "new".into(), ..again.clone() };
        tokio::spawn(async move { store.add_client(client, event("client.added")).await.is_ok() })
    });
    let added = futures_util::future::join_all(at_once.collect::<Vec<_>>()).await;
    assert_eq!(added.into_iter().filter(|added| *added.as_ref().unwrap()).count(), 1, "of eight at once");
}

async fn clients_come_in_pages() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(fixture.client(&format!("c{n}")).await.id);
    }
    ids.sort();
    let page = async |after: Option<&ClientId>| {
        let rows = fixture.store.clients(after, 2).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, ids[..2]);
    assert_eq!(page(Some(&ids[1])).await, ids[2..4]);
    assert_eq!(page(Some(&ids[4])).await, []);
}

async fn a_secret_change_with_overlap_revokes_nothing_and_one_without_revokes() {
    let fixture = Fixture::new().await;
    let id = fixture.client("cron").await.id;
    let second = fixture.secret(&id, 2, secs(3600)).await;
    let former = second.former.unwrap();
    assert_eq!((second.secret_hash, former.hash), (Some(Digest([2; 32])), Digest([1; 32])));
    let (read, now) = fixture.store.client(&id).await.unwrap();
    assert_eq!(read.unwrap().former, Some(former));
    assert!(former.until > now.plus(secs(3500)) && former.until <= now.plus(secs(3600)));
    assert_eq!(fixture.revoked(), Vec::<String>::new());
    // The first secret would still have been valid for an hour.
    fixture.secret(&id, 3, secs(3600)).await;
    assert_eq!(fixture.revoked().len(), 1);
    fixture.secret(&id, 4, std::time::Duration::ZERO).await;
    assert_eq!(fixture.revoked().len(), 2);
    // The removal of a secret that has already expired revokes nothing more.
    fixture.secret(&id, 5, secs(3600)).await;
    let shell = fixture.installation.shell();
    shell.run("UPDATE clients SET former_until = 1");
    assert_eq!(fixture.revoked().len(), 3);
    shell.run("UPDATE clients SET former_until = NULL, former_hash = NULL");
    assert_eq!(fixture.revoked().len(), 3);
    shell.run("UPDATE clients SET name = 'other', redirect_uris = '[]'");
    assert_eq!(fixture.revoked().len(), 3, "neither name nor address is a right");
    assert!(fixture.events("client.changed").await.len() == 4);
}

async fn a_session_begins_only_for_an_enabled_client() {
    let fixture = Fixture::new().await;
    let (user, client) = (fixture.user("ada").await.id, fixture.client("app").await.id);
    let grant = |client: &ClientId| Some(Grant { client: client.clone(), scope: scope("read") });
    let begin = async |client: &ClientId| {
        let new = NewSession { grant: grant(client), ..new_session(&user) };
        fixture.store.begin_session(new, 20, event("login")).await.unwrap()
    };
    let row = begin(&client).await.unwrap();
    assert_eq!(row.grant, grant(&client));
    assert_eq!(fixture.row(row.sid).await.as_ref(), Some(&row));
    assert_eq!(fixture.rotate(&row).await.unwrap(), Written::Applied);
    assert_eq!(fixture.row(row.sid).await.unwrap().grant, grant(&client));
    assert!(begin(&ClientId::generate().unwrap()).await.is_none(), "there is none");
    fixture.alter(&client, off()).await.unwrap();
    assert!(begin(&client).await.is_none());
}

async fn a_session_of_an_app_needs_a_live_login_of_its_user() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await.id, fixture.user("bob").await.id);
    let client = fixture.client("app").await.id;
    let (login, others) = (fixture.begin(&ada).await.sid, fixture.begin(&bob).await.sid);
    let begin = async |login, cap| {
        let grant = Some(Grant { client: client.clone(), scope: scope("read") });
        let new = NewSession { grant, login: Some(login), ..new_session(&ada) };
        fixture.store.begin_session(new, cap, event("login")).await.unwrap()
    };
    assert!(begin(login, 20).await.is_some());
    assert!(begin(others, 20).await.is_none(), "another user's");
    assert!(begin(Sid::generate().unwrap(), 20).await.is_none(), "there is none");
    assert!(begin(login, 1).await.is_some(), "though it be in the way of it");
    assert_eq!(fixture.row(login).await, None);
    assert!(begin(login, 20).await.is_none(), "it has ended");
}

async fn deleting_a_client_ends_its_sessions() {
    let fixture = Fixture::new().await;
    let user = fixture.user("ada").await.id;
    let own = fixture.begin(&user).await;
    for (name, by) in [
        ("disabled", "UPDATE clients SET disabled = 1 WHERE name = 'disabled'"),
        ("deleted", "DELETE FROM clients WHERE name = 'deleted'"),
        ("renumbered", "UPDATE clients SET id = 'other' WHERE name = 'renumbered'"),
    ] {
        let client = fixture.client(name).await.id;
        let grant = Some(Grant { client, scope: scope("read") });
        let row = fixture.begin_as(NewSession { grant, ..new_session(&user) }, 20).await;
        fixture.installation.shell().run(by);
        assert_eq!(fixture.row(row.sid).await, None, "{name}");
        assert!(fixture.hears(row.sid).await, "{name}");
    }
    assert!(fixture.row(own.sid).await.is_some());
}

async fn a_reduction_of_a_clients_rights_in_a_shell_revokes_its_tokens() {
    let fixture = Fixture::new().await;
    for (name, by) in [
        ("scopes", "UPDATE clients SET scopes = '[\"read\"]' WHERE name = 'scopes'"),
        ("audiences", "UPDATE clients SET audiences = '[]' WHERE name = 'audiences'"),
        ("secret", "UPDATE clients SET secret_hash = NULL WHERE name = 'secret'"),
        ("keys", "UPDATE clients SET jwks = '{\"keys\":[]}' WHERE name = 'keys'"),
        ("disabled", "UPDATE clients SET disabled = 1 WHERE name = 'disabled'"),
        ("renumbered", "UPDATE clients SET id = 'other' WHERE name = 'renumbered'"),
        ("deleted", "DELETE FROM clients WHERE name = 'deleted'"),
    ] {
        let client = fixture.client(name).await;
        let issued = fixture.store.record_issuance(&client, event("service.issued")).await.unwrap().unwrap();
        let denied = || async { fixture.list.denies_client(client.id.as_str(), issued) };
        assert!(!denied().await, "{name}");
        fixture.installation.shell().run(by);
        let took = crate::support::server::eventually(name, denied).await;
        println!("{name}: in force after {took:?}");
    }
}

async fn a_token_is_issued_only_if_the_client_is_unchanged_since_the_check() {
    let fixture = Fixture::new().await;
    let client = fixture.client("cron").await;
    let issue = async |judged: &ClientRow| {
        fixture.store.record_issuance(judged, event("service.issued")).await.unwrap()
    };
    let before = fixture.now().await;
    let issued = issue(&client).await.unwrap();
    assert!(before <= issued && issued <= fixture.now().await);
    let changed = fixture.secret(&client.id, 2, secs(3600)).await;
    assert_eq!(issue(&client).await, None, "it has changed since");
    assert!(issue(&changed).await.is_some());
    fixture.store.delete_client(&client.id, event("client.deleted")).await.unwrap();
    assert_eq!(issue(&changed).await, None);
    assert_eq!(fixture.events("service.issued").await.len(), 2);
}

/// With many writers at once: every token that was issued before a change has a time that the change's revocation covers.
async fn every_token_issued_before_a_change_is_revoked_by_it() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    for round in 0..8 {
        let client = fixture.client(&format!("c{round}")).await;
        let issue = |store: &Arc<dyn Store>| {
            let (store, client) = (store.clone(), client.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while let Ok(Some(time)) = store.record_issuance(&client, event("service.issued")).await {
                    times.push(time);
                }
                times
            })
        };
        let issuing = [issue(&fixture.store), issue(&other.store)];
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        // With this many writers, the change may have to be tried again.
        let change = || async {
            fixture.store.change_client(&client.id, off(), event("client.changed")).await.is_ok()
        };
        crate::support::server::eventually("the change", change).await;
        for issuing in issuing {
            for time in issuing.await.unwrap() {
                let denied = || async { fixture.list.denies_client(client.id.as_str(), time) };
                crate::support::server::eventually("denied", denied).await;
            }
        }
    }
}

async fn a_token_without_a_session_row_is_revoked_once() {
    let fixture = Fixture::new().await;
    let (sid, until) = (Sid::generate().unwrap(), fixture.now().await.plus(secs(3720)));
    let revoke = || fixture.store.revoke(RevocationTarget::Session(sid), until, event("service.revoked"));
    assert!(revoke().await.unwrap());
    assert!(fixture.list.denies(sid), "in this process at once");
    assert!(!revoke().await.unwrap());
    assert_eq!(fixture.revoked(), [sid.to_string()]);
    assert_eq!(fixture.events("service.revoked").await.len(), 1);
    let all = fixture.store.revocations().await.unwrap();
    assert_eq!(all[0].expires_at, until);
}

async fn a_one_time_value_is_accepted_once() {
    let (fixture, later) = (Fixture::new().await, secs(120));
    let other = fixture.another().await;
    let until = fixture.now().await.plus(later);
    let spend = |store: &Arc<dyn Store>, byte: u8| {
        let store = store.clone();
        async move { store.mark_used([byte; 32], until).await.unwrap() }
    };
    assert!(spend(&fixture.store, 1).await);
    assert!(!spend(&fixture.store, 1).await && !spend(&other.store, 1).await);
    assert!(spend(&other.store, 2).await);
    let all = futures_util::future::join_all(
        (0..16).map(|n| spend(if n % 2 == 0 { &fixture.store } else { &other.store }, 3)),
    );
    assert_eq!(all.await.into_iter().filter(|first| *first).count(), 1);
}
