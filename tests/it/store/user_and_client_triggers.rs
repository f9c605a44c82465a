//! Tests the triggers of the tables `users` and `clients`: a change in a database shell that takes a right away revokes.

use super::{
    session_triggers::{hash, one},
    *,
};
use crate::support::stores::{Kind, every_store, kind};
every_store![
    serializable;
    disabling_a_user_in_a_shell_revokes_their_sessions,
    deleting_a_user_in_a_shell_revokes_their_sessions,
    changing_the_id_of_a_user_revokes_their_sessions,
    changing_the_id_of_a_user_keeps_their_identities,
    an_upsert_over_a_user_revokes_the_sessions_of_that_user,
    changing_the_secret_scopes_or_existence_of_a_client_revokes_its_tokens,
    an_upsert_of_a_client_revokes_its_tokens,
    a_client_inserted_without_a_secret_is_not_public,
    the_column_disabled_accepts_only_zero_and_one,
];

async fn disabling_a_user_in_a_shell_revokes_their_sessions() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await, fixture.user("bob").await);
    let own = [fixture.begin(&ada.id).await.sid, fixture.begin(&ada.id).await.sid];
    let others = fixture.begin(&bob.id).await;
    fixture.installation.shell().run("UPDATE users SET disabled = 1 WHERE name = 'ada'");
    assert!(fixture.hears(own[0]).await && fixture.hears(own[1]).await && !fixture.list.denies(others.sid));
    assert!(fixture.live(&ada.id).await.is_empty());
    fixture
        .installation
        .shell()
        .run("UPDATE users SET disabled = 1 WHERE name = 'ada'; UPDATE users SET roles = '[]'");
    assert_eq!(fixture.revoked().len(), 2, "and nothing twice");
}

async fn deleting_a_user_in_a_shell_revokes_their_sessions() {
    let fixture = Fixture::new().await;
    let (row, shell) = (one(&fixture).await, fixture.installation.shell());
    shell.run("INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', '1', '1')");
    shell.run("DELETE FROM users WHERE name = 'ada'");
    assert!(fixture.hears(row.sid).await);
    assert_eq!(shell.number("SELECT count(*) FROM identities"), 0);
}

async fn changing_the_id_of_a_user_revokes_their_sessions() {
    let fixture = Fixture::new().await;
    let row = one(&fixture).await;
    fixture.installation.shell().run("UPDATE users SET id = 77 WHERE name = 'ada'");
    assert_eq!(fixture.revoked(), [row.sid.to_string()]);
}

async fn changing_the_id_of_a_user_keeps_their_identities() {
    let fixture = Fixture::new().await;
    let (ada, bob) = (fixture.user("ada").await.id, fixture.user("bob").await.id);
    let shell = fixture.installation.shell();
    for (subject, user) in [("a", ada.as_str()), ("b", bob.as_str()), ("nobody", "100")] {
        shell.run(&format!(
            "INSERT INTO identities (issuer, subject, user_id) VALUES ('https://i', '{subject}', '{user}')"
        ));
    }
    let whose =
        || shell.run("SELECT subject || ' ' || user_id FROM identities ORDER BY subject").concat().join(", ");
    shell.run("UPDATE users SET id = 100 WHERE name = 'ada'");
    assert_eq!(whose(), "a 100, b 2", "and what was of no user is of no other now");
    shell.run("INSERT INTO users (id, name, created_at) VALUES (1, 'eve', 1)");
    assert_eq!(whose(), "a 100, b 2");
    shell.run("UPDATE users SET id = id + 1000");
    assert_eq!(whose(), "a 1100, b 1002");
    if kind() == Kind::Sqlite {
        shell.run("UPDATE OR REPLACE users SET id = 1002 WHERE name = 'ada'");
        assert_eq!(whose(), "a 1002", "bob is gone");
    }
}

async fn an_upsert_over_a_user_revokes_the_sessions_of_that_user() {
    let fixture = Fixture::new().await;
    let row = one(&fixture).await;
    fixture.installation.shell().run(
        "INSERT INTO users (name, folded, created_at) VALUES ('ADA', 'ada', 1)
         ON CONFLICT (folded) DO UPDATE SET name = excluded.name, password_hash = NULL",
    );
    assert_eq!(fixture.revoked(), [row.sid.to_string()]);
}

async fn changing_the_secret_scopes_or_existence_of_a_client_revokes_its_tokens() {
    let fixture = Fixture::new().await;
    let shell = fixture.installation.shell();
    shell.run("INSERT INTO clients (id, name, created_at) VALUES ('cron', 'Cron', 1), ('cron2', 'Other', 1)");
    shell.run("UPDATE clients SET name = 'renamed', created_at = 2, disabled = 0");
    assert!(fixture.revoked().is_empty());
    for (count, change) in [
        &*format!("UPDATE clients SET secret_hash = {} WHERE id = 'cron'", hash(9)),
        "UPDATE clients SET secret_hash = NULL WHERE id = 'cron'",
        "UPDATE clients SET scopes = '[\"a\"]' WHERE id = 'cron'",
        "UPDATE clients SET audiences = '[\"a\"]' WHERE id = 'cron'",
        "UPDATE clients SET disabled = 1 WHERE id = 'cron'",
        "UPDATE clients SET id = 'other' WHERE id = 'cron'",
        "DELETE FROM clients WHERE id = 'other'",
    ]
    .iter()
    .enumerate()
    {
        shell.run(change);
        assert_eq!(fixture.revoked().len(), count + 1, "{change}");
    }
    assert_eq!(fixture.revoked()[5..], ["client:cron", "client:other"]);
    assert_eq!(shell.number("SELECT max(expires_at - revoked_at) FROM revocations"), 3_720_000);
    assert!(!fixture.list.denies_client("cron2", Timestamp::EPOCH));
    let heard = || async { fixture.list.denies_client("other", Timestamp::EPOCH) };
    assert!(crate::support::server::eventually("the feed hears of it", heard).await < secs(1));
}

async fn an_upsert_of_a_client_revokes_its_tokens() {
    let fixture = Fixture::new().await;
    let shell = fixture.installation.shell();
    shell.run("INSERT INTO clients (id, name, created_at) VALUES ('cron', 'Cron', 1)");
    shell.run(&format!(
        "INSERT INTO clients (id, name, created_at) VALUES ('cron', 'Cron', 1)
         ON CONFLICT (id) DO UPDATE SET secret_hash = {}",
        hash(9)
    ));
    assert_eq!(fixture.revoked(), ["client:cron"]);
}

async fn a_client_inserted_without_a_secret_is_not_public() {
    let fixture = Fixture::new().await;
    let shell = fixture.installation.shell();
    shell.run("INSERT INTO clients (id, name, created_at) VALUES ('cron', 'Cron', 1)");
    let client = async || fixture.store.client(&"cron".parse().unwrap()).await.unwrap().0.unwrap();
    assert!(!client().await.is_public());
    shell.run("UPDATE clients SET public = 1");
    assert!(client().await.is_public());
    let refused = shell.try_run(&format!("UPDATE clients SET secret_hash = {}", hash(1))).unwrap_err();
    assert!(refused.contains("a public client has no secret"), "{refused}");
    shell.run(&format!("UPDATE clients SET secret_hash = {}, public = 0", hash(1)));
    assert!(!client().await.is_public());
}

async fn the_column_disabled_accepts_only_zero_and_one() {
    let fixture = Fixture::new().await;
    fixture.user("ada").await;
    assert!(fixture.installation.shell().try_run("UPDATE users SET disabled = 2").is_err());
}
