//! Tests the triggers of the table `sessions`: a session that is ended in a database shell is revoked.

use bulla::internals::store::SessionRow;

use super::*;
use crate::support::stores::{Kind, every_store, kind};
every_store![
    serializable;
    a_deleted_session_is_revoked_for_seventeen_minutes,
    deleting_a_long_expired_session_revokes_nothing,
    deleting_a_just_expired_session_revokes_it,
    an_insert_over_a_live_session_fails_and_changes_nothing,
    an_upsert_over_a_live_session_revokes_it,
    changing_the_sid_or_user_of_a_session_revokes_it,
    a_shortened_life_revokes_and_a_longer_one_does_not,
    a_rotation_in_a_shell_revokes_nothing,
    an_idle_end_set_into_the_past_revokes,
    unreadable_roles_and_claims_are_refused_by_the_schema,
    an_insert_that_does_nothing_on_conflict_revokes_nothing,
    unreadable_values_are_refused_by_the_schema,
    a_rolled_back_transaction_revokes_nothing,
    many_rows_deleted_at_once_are_as_many_revocations,
    a_row_with_an_explicit_number_does_not_exhaust_the_sequence,
];

pub(super) async fn one(fixture: &Fixture) -> SessionRow {
    fixture.begin(&fixture.user("ada").await.id).await
}

/// 32 bytes, as an SQL literal.
pub(super) fn hash(byte: u8) -> String {
    let hex = format!("{byte:02x}").repeat(32);
    match kind() {
        Kind::Sqlite => format!("x'{hex}'"),
        _ => format!("'\\x{hex}'"),
    }
}

/// Whether the deletion of a session that ended this long ago is recorded as a revocation.
async fn revokes_after(fixture: &Fixture, ago: std::time::Duration) -> bool {
    let row = one(fixture).await;
    let then = fixture.now().await.minus(ago).millis();
    let shell = fixture.installation.shell();
    fixture.idle_since(row.sid, then);
    assert!(fixture.revoked().is_empty());
    shell.run("DELETE FROM sessions");
    !fixture.revoked().is_empty()
}

fn insert(row: &SessionRow, user: &str) -> String {
    format!(
        "INSERT INTO sessions (sid, user_id, secret_hash, generation, rotated_at, created_at, idle_expires_at, expires_at,
           transport) VALUES ('{}', '{user}', {hash}, 0, 1, 1, {end}, {end}, 'cookie')",
        row.sid,
        hash = hash(7),
        end = row.expires_at.millis()
    )
}

async fn a_deleted_session_is_revoked_for_seventeen_minutes() {
    let fixture = Fixture::new().await;
    let row = one(&fixture).await;
    let shell = fixture.installation.shell();
    shell.run(&format!("DELETE FROM sessions WHERE sid = '{}'", row.sid));
    assert_eq!(fixture.revoked(), [row.sid.to_string()]);
    let now = fixture.now().await.millis();
    let when = shell.number("SELECT revoked_at FROM revocations");
    assert!((now..now + 60_000).contains(&when), "{when} is not {now}");
    assert_eq!(shell.number("SELECT expires_at - revoked_at FROM revocations"), 1_020_000);
    assert!(fixture.hears(row.sid).await);
}

async fn deleting_a_long_expired_session_revokes_nothing() {
    assert!(!revokes_after(&Fixture::new().await, secs(1021)).await);
}

async fn deleting_a_just_expired_session_revokes_it() {
    // An access token from the last moment of the session may still be valid.
    assert!(revokes_after(&Fixture::new().await, secs(900)).await);
}

async fn an_insert_over_a_live_session_fails_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let row = one(&fixture).await;
    let inserted = fixture.installation.shell().try_run(&insert(&row, "666"));
    assert!(inserted.is_err() && fixture.revoked().is_empty(), "{inserted:?}");
    assert_eq!(fixture.row(row.sid).await, Some(row));
}

async fn an_upsert_over_a_live_session_revokes_it() {
    let fixture = Fixture::new().await;
    let row = one(&fixture).await;
    let upsert =
        " ON CONFLICT (sid) DO UPDATE SET user_id = excluded.user_id, secret_hash = excluded.secret_hash";
    fixture.installation.shell().run(&format!("{}{upsert}", insert(&row, "666")));
    assert!(fixture.revoked().contains(&row.sid.to_string()));
    assert!(fixture.hears(row.sid).await);
}

async fn changing_the_sid_or_user_of_a_session_revokes_it() {
    let fixture = Fixture::new().await;
    let (ada, shell) = (fixture.user("ada").await, fixture.installation.shell());
    for change in ["sid = 'AAAAAAAAAAAAAAAAAAAAAA'", "user_id = '666'"] {
        let row = fixture.begin(&ada.id).await;
        shell.run(&format!("UPDATE sessions SET {change} WHERE sid = '{}'", row.sid));
        assert_eq!(fixture.revoked().last(), Some(&row.sid.to_string()), "{change}");
        shell.run("DELETE FROM sessions; DELETE FROM revocations");
    }
}

async fn a_shortened_life_revokes_and_a_longer_one_does_not() {
    let fixture = Fixture::new().await;
    let (row, shell) = (one(&fixture).await, fixture.installation.shell());
    shell.run("UPDATE sessions SET expires_at = expires_at + 1000");
    shell.run("UPDATE sessions SET expires_at = expires_at");
    assert!(fixture.revoked().is_empty());
    shell.run("UPDATE sessions SET expires_at = expires_at - 1");
    assert_eq!(fixture.revoked(), [row.sid.to_string()]);
}

async fn a_rotation_in_a_shell_revokes_nothing() {
    let fixture = Fixture::new().await;
    one(&fixture).await;
    fixture.installation.shell().run(&format!(
        "UPDATE sessions SET generation = 9, rotated_at = 1, idle_expires_at = idle_expires_at - 1000,
               secret_hash = {}, user_agent = 'x'",
        hash(9)
    ));
    assert!(fixture.revoked().is_empty());
}

async fn an_idle_end_set_into_the_past_revokes() {
    let fixture = Fixture::new().await;
    let (row, shell) = (one(&fixture).await, fixture.installation.shell());
    shell.run("UPDATE sessions SET idle_expires_at = idle_expires_at - 1000");
    assert!(fixture.revoked().is_empty(), "a renewal may shorten it");
    shell.run("UPDATE sessions SET idle_expires_at = 0");
    assert_eq!(fixture.revoked(), [row.sid.to_string()]);
    assert!(fixture.hears(row.sid).await);
}

async fn unreadable_roles_and_claims_are_refused_by_the_schema() {
    let fixture = Fixture::new().await;
    fixture.user("ada").await;
    let shell = fixture.installation.shell();
    let set = |column: &str, value: &str| shell.try_run(&format!("UPDATE users SET {column} = '{value}'"));
    for bad in ["", "admin", "\"admin\"", "[\"admin\"", "null", "7"] {
        assert!(set("roles", bad).is_err() && set("claims", bad).is_err(), "{bad}");
    }
    assert!(set("roles", "{}").is_err() && set("claims", "[]").is_err());
    let insert = "INSERT INTO users (name, roles, created_at) VALUES ('bob', '{}', 0)";
    assert!(shell.try_run(insert).unwrap_err().contains("JSON array"));
    set("roles", "[\"admin\"]").unwrap();
    set("claims", "{\"plan\":\"team\"}").unwrap();
}

async fn an_insert_that_does_nothing_on_conflict_revokes_nothing() {
    let fixture = Fixture::new().await;
    let (row, shell) = (one(&fixture).await, fixture.installation.shell());
    fixture.user("admin").await;
    shell.run("INSERT INTO clients (id, name, created_at) VALUES ('cron', 'Cron', 1)");
    shell.run("INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', '1', '1')");
    let before = || {
        ["users", "sessions", "clients", "identities"]
            .map(|table| shell.run(&format!("SELECT * FROM {table}")))
    };
    let kept = before();
    let mut statements: Vec<String> = [
        &*insert(&row, "666"),
        "INSERT INTO users (name, created_at) VALUES ('ada', 9)",
        "INSERT INTO users (name, created_at) VALUES ('ADA', 9)",
        "INSERT INTO users (id, name, created_at) VALUES (1, 'eve', 9)",
        // The `folded` form of this name is "adrnln".
        "INSERT INTO users (name, created_at) VALUES ('admin', 9)",
        "INSERT INTO users (name, created_at) VALUES ('Admin', 9), ('ADMIN', 9)",
        "INSERT INTO users (name, folded, created_at) VALUES ('Ada', 'ada', 9)",
        "INSERT INTO clients (id, name, created_at) VALUES ('cron', 'Other', 9)",
        "INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', '1', '2')",
    ]
    .map(|sql| format!("{sql} ON CONFLICT DO NOTHING"))
    .into();
    if kind() == Kind::Sqlite {
        let ignored = statements
            .iter()
            .map(|sql| sql.replace("INSERT", "INSERT OR IGNORE").replace(" ON CONFLICT DO NOTHING", ""));
        statements.extend(ignored.collect::<Vec<_>>());
        statements.push("UPDATE OR IGNORE users SET name = 'ADMIN' WHERE id = 1".into());
        statements.push("UPDATE OR IGNORE users SET folded = 'adrnln' WHERE id = 1".into());
    }
    for sql in statements {
        shell.run(&sql);
        assert_eq!(before(), kept, "{sql}");
        assert!(fixture.revoked().is_empty(), "{sql}");
    }
    for or in ["", "OR ABORT", "OR FAIL", "OR ROLLBACK"] {
        let or = if kind() == Kind::Sqlite { or } else { "" };
        shell.try_run(&format!("UPDATE {or} users SET name = 'admin' WHERE id = 1")).unwrap_err();
        assert_eq!(before(), kept, "{or}");
    }
    assert!(fixture.revoked().is_empty());
    // The triggers of the failed statements leave nothing behind that revokes later.
    shell.run("INSERT INTO users (name, created_at) VALUES ('bob', 1)");
    shell.run("INSERT INTO clients (id, name, created_at) VALUES ('new', 'New', 1)");
    let other = fixture.begin(&row.user_id).await;
    assert!(fixture.revoked().is_empty() && fixture.live(&row.user_id).await == [other.sid, row.sid]);
}

async fn unreadable_values_are_refused_by_the_schema() {
    let fixture = Fixture::new().await;
    let (row, shell) = (one(&fixture).await, fixture.installation.shell());
    shell.run("INSERT INTO clients (id, name, created_at) VALUES ('cron', 'Cron', 1)");
    shell.run("INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', '1', '1')");
    fixture.store.report_node("one", 1, "1").await.unwrap();
    fixture.store.record_ring(1, [1; 32]).await.unwrap();
    let long = format!("sessions.scope = '{}'", "a".repeat(65));
    let mut bad = vec![
        "sessions.transport = 'xyz'",
        "sessions.transport = 'Cookie'",
        "sessions.transport = ''",
        "sessions.sid = 'typed in'",
        "sessions.sid = 'AAAAAAAAAAAAAAAAAAAAAB'",
        "sessions.secret_hash = 'x'",
        "sessions.user_id = ''",
        "sessions.generation = -1",
        "sessions.generation = 9007199254740993",
        "sessions.pardoned_gen = -1",
        "sessions.expires_at = 9223372036854775807",
        "sessions.rotated_at = -9223372036854775807",
        "sessions.client_id = ''",
        "sessions.client_id = '-x'",
        "sessions.scope = 'a  b'",
        "sessions.scope = ' a'",
        &long,
        "users.roles = '[1]'",
        "users.roles = '[\"a\", null]'",
        "users.roles = '{}'",
        "users.claims = '[]'",
        "users.name = ''",
        "users.id = 0",
        "users.id = -1",
        "users.created_at = 9223372036854775807",
        "clock.seen = 9223372036854775807",
        "clock.before = -9223372036854775807",
        "clients.id = NULL",
        "clients.id = ''",
        "clients.id = 'a:b'",
        "clients.name = ''",
        "clients.scopes = 'read'",
        "clients.scopes = '[1]'",
        "clients.scopes = '\"read\"'",
        "clients.scopes = '[\"a b\"]'",
        "clients.scopes = '[\"\"]'",
        "clients.audiences = '[\"A\"]'",
        "clients.audiences = 'billing'",
        "clients.redirect_uris = '{}'",
        "clients.redirect_uris = '[7]'",
        "clients.jwks = '[]'",
        "clients.jwks = 'none'",
        "clients.secret_hash = 'x'",
        "clients.former_hash = 'x'",
        "clients.public = 2",
        "identities.user_id = ''",
        "revocations.expires_at = 9223372036854775807",
        "nodes.ring_generation = -1",
        "ring.generation = -1",
        "ring.fingerprint = 'x'",
    ];
    if kind() == Kind::Sqlite {
        // Values that PostgreSQL's column types exclude.
        bad.extend([
            "sessions.expires_at = datetime('now')",
            "sessions.idle_expires_at = datetime('now')",
            "sessions.expires_at = 1.5",
            "sessions.created_at = 'yesterday'",
            "sessions.pardoned_at = 'x'",
            "sessions.user_agent = x'ff'",
            "sessions.ip = x'00'",
            "sessions.sid = x'41'",
            "sessions.generation = 'x'",
            "users.name = x'ff'",
            "users.created_at = date('now')",
            "users.password_hash = x'00'",
            "users.folded = x'00'",
            "users.folded = NULL",
            "clients.created_at = ''",
            "clients.former_until = 'tomorrow'",
            "clients.name = x'ff'",
            "identities.subject = x'00'",
            "identities.issuer = x'00'",
            "revocations.revoked_at = 'now'",
            "revocations.target = x'00'",
            "used.expires_at = 'x'",
            "audit.at = 'x'",
            "audit.detail = x'00'",
            "audit.event = x'00'",
            "nodes.seen_at = 'x'",
            "nodes.version = x'00'",
            "users.id = 9223372036854775807",
            "clock.seen = 'x'",
            "clock.since = 1.5",
            "revocations.seq = 9223372036854775807",
            "revocations.seq = -1",
            "audit.seq = 9223372036854775807",
            "audit.seq = -9223372036854775807",
        ]);
    }
    shell.run("INSERT INTO revocations (target, revoked_at, expires_at) VALUES ('client:x', 1, 9)");
    shell.run("DELETE FROM audit WHERE seq < (SELECT max(seq) FROM audit)");
    shell.run("INSERT INTO clock (one, seen) VALUES (1, 1)");
    fixture.store.mark_used([1; 32], row.expires_at).await.unwrap();
    for change in bad {
        let (column, _) = change.split_once(" = ").unwrap();
        let (table, column) = column.split_once('.').unwrap();
        let (_, value) = change.split_once('.').unwrap();
        let before = shell.run(&format!("SELECT * FROM {table}"));
        let refused = shell.try_run(&format!("UPDATE {table} SET {value}")).expect_err(change);
        assert!(refused.contains(column) || refused.contains("times"), "{change}: {refused}");
        assert_eq!(shell.run(&format!("SELECT * FROM {table}")), before, "{change}");
    }
    assert_eq!(fixture.store.unreadable_rows().await.unwrap(), []);
    // The values that the error message recommends are accepted.
    let hour =
        if kind() == Kind::Sqlite { "unixepoch('now', '+1 hour') * 1000" } else { "bulla_now() + 3600000" };
    shell.run(&format!("UPDATE sessions SET expires_at = {hour}, transport = 'body', scope = 'read write'"));
    shell.run("UPDATE clients SET scopes = '[\"read\",\"write\"]', audiences = '[\"billing\"]'");
}

async fn a_rolled_back_transaction_revokes_nothing() {
    let fixture = Fixture::new().await;
    let (row, shell) = (one(&fixture).await, fixture.installation.shell());
    shell.run("BEGIN; DELETE FROM sessions; ROLLBACK");
    assert!(fixture.revoked().is_empty() && fixture.row(row.sid).await.is_some());
    // A sequence does not reuse the number of the transaction that was rolled back. The feed delivers the next number
    // nevertheless.
    shell.run("DELETE FROM sessions");
    assert!(fixture.hears(row.sid).await);
}

async fn many_rows_deleted_at_once_are_as_many_revocations() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await;
    let mut sids = Vec::new();
    for _ in 0..50 {
        sids.push(fixture.begin_as(new_session(&ada.id), 1000).await.sid);
    }
    fixture.installation.shell().run("DELETE FROM sessions WHERE ip = '192.0.2.7'");
    for sid in &sids {
        assert!(fixture.hears(*sid).await);
    }
    assert_eq!((fixture.revoked().len(), fixture.list.len()), (50, 50));
}

async fn a_row_with_an_explicit_number_does_not_exhaust_the_sequence() {
    let fixture = Fixture::new().await;
    let shell = fixture.installation.shell();
    let last = i64::MAX;
    shell
        .try_run(&format!("INSERT INTO users (id, name, created_at) VALUES ({last}, 'zoe', 1)"))
        .unwrap_err();
    if kind() == Kind::Sqlite {
        for table in
            ["audit (seq, at, event, actor, subject)", "revocations (seq, expires_at, target, revoked_at)"]
        {
            let values = if table.starts_with("audit") { "1, 'x', '', ''" } else { "9, 'client:x', 1" };
            for number in [last, 0, -1] {
                let insert = format!("INSERT INTO {table} VALUES ({number}, {values})");
                let refused = shell.try_run(&insert).unwrap_err();
                assert!(refused.contains("8 * 10^18"), "{refused}");
            }
            // A number that another program has assigned is accepted, and so is a row without a number.
            shell.run(&format!("INSERT INTO {table} VALUES (8000000000000000000, {values})"));
        }
        let refused = shell.try_run("INSERT INTO clients (name, created_at) VALUES ('Cron', 1)").unwrap_err();
        assert!(refused.contains("clients.id"), "{refused}");
    }
    shell.run("INSERT INTO users (id, name, created_at) VALUES (8000000000000000000, 'eve', 1)");
    let ada = fixture.user("ada").await;
    let row = fixture.begin(&ada.id).await;
    shell.run("DELETE FROM sessions");
    assert!(fixture.hears(row.sid).await);
}
