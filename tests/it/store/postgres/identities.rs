//! Tests identities that are linked while their user is deleted.

use std::sync::Arc;

use bulla::internals::store::{Actor, AuditEvent, Event, Identity, NewUser};

use super::{database, open};
use crate::support::{
    cluster::{Shell, psql},
    server::eventually,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_linked_while_its_user_is_deleted_is_deleted_too() {
    let Some(database) = database() else { return };
    let store = open(&database.url).await.unwrap();
    let new = NewUser { name: "ada".into(), ..NewUser::default() };
    let ada = store.add_user(new, AuditEvent::new(Event::UserAdded, Actor::Unknown, "")).await.unwrap().id;
    let wanted = Identity { issuer: "https://a.example".into(), subject: "7".into() };
    // Blocks both transactions before their commit, because they cannot write their audit events.
    let shell = Shell::connect(&database.url).unwrap();
    shell.run("BEGIN; LOCK TABLE audit IN SHARE MODE").unwrap();
    let waiting = async |many: &str| {
        eventually("they wait", || async {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            psql(&database.url, sql) == many
        })
        .await;
    };
    let link = {
        let (store, ada, wanted) = (Arc::clone(&store), ada.clone(), wanted.clone());
        tokio::spawn(async move {
            store.link(&ada, wanted, AuditEvent::new(Event::IdentityLinked, Actor::Unknown, "")).await
        })
    };
    waiting("1").await;
    let delete = {
        let (store, ada) = (Arc::clone(&store), ada.clone());
        tokio::spawn(async move {
            store.delete_user(&ada, AuditEvent::new(Event::UserDeleted, Actor::Unknown, "")).await
        })
    };
    waiting("2").await;
    shell.run("ROLLBACK").unwrap();
    link.await.unwrap().unwrap();
    assert!(delete.await.unwrap().unwrap());
    assert_eq!(store.user_of_identity(&wanted).await.unwrap(), None, "nobody's, and nobody else's to have");
}
