//! Tests ends that an operator moves in a database shell: a live session can be used until the new end, and an ended one stays
//! ended.

use std::time::Duration;

use super::*;
use crate::support::{
    installation::millis,
    stores::{Kind, every_store, kind},
};

every_store![
    serializable;
    an_end_in_the_future_takes_effect_at_its_time,
    a_session_that_is_extended_again_is_not_revoked_at_the_first_end,
    a_shorter_idle_time_ends_a_session_unless_it_is_renewed,
    an_ended_session_cannot_be_revived,
    a_renewal_checked_before_the_end_may_be_written_after_it,
    ends_that_are_due_only_by_a_clock_jump_are_not_applied,
];

async fn one(fixture: &Fixture) -> SessionRow {
    fixture.begin(&fixture.user("ada").await.id).await
}

/// Sets an end of a session to a time `later` than now.
async fn set(fixture: &Fixture, row: &SessionRow, column: &str, later: Duration) {
    let end = fixture.now().await.plus(later).millis();
    fixture
        .installation
        .shell()
        .run(&format!("UPDATE sessions SET {column} = {end} WHERE sid = '{}'", row.sid));
}

/// Waits long enough for a poll of the feed, to show that the feed delivers nothing.
async fn a_while() {
    tokio::time::sleep(millis(700)).await;
}

async fn an_end_in_the_future_takes_effect_at_its_time() {
    let fixture = Fixture::new().await;
    let other = fixture.another().await;
    let row = one(&fixture).await;
    fixture.installation.shell().run("UPDATE sessions SET expires_at = expires_at - 3600000");
    assert_eq!(fixture.revoked(), [row.sid.to_string()], "it is written down");
    assert_eq!(fixture.store.revocations().await.unwrap(), [], "and not in force");
    fixture.installation.clock.advance(secs(60));
    assert_eq!(fixture.rotate(&row).await.unwrap(), Written::Applied, "it can be renewed");
    a_while().await;
    assert!(!fixture.list.denies(row.sid) && !other.list.denies(row.sid), "and used");
    assert!(!fixture.another().await.list.denies(row.sid), "by a server that starts now as well");

    // Earlier than the end of an access token's life.
    set(&fixture, &row, "expires_at", secs(30)).await;
    a_while().await;
    assert!(!fixture.list.denies(row.sid));
    fixture.installation.clock.advance(secs(30));
    assert!(fixture.hears(row.sid).await && other.hears(row.sid).await);
    let revocations = fixture.store.revocations().await.unwrap();
    assert_eq!(revocations.len(), 1, "{revocations:?}");
}

async fn a_session_that_is_extended_again_is_not_revoked_at_the_first_end() {
    let fixture = Fixture::new().await;
    let row = one(&fixture).await;
    set(&fixture, &row, "expires_at", secs(600)).await;
    set(&fixture, &row, "expires_at", secs(1200)).await;
    fixture.installation.clock.advance(secs(600));
    a_while().await;
    assert!(!fixture.list.denies(row.sid));
    fixture.installation.clock.advance(secs(600));
    assert!(fixture.hears(row.sid).await);
}

async fn a_shorter_idle_time_ends_a_session_unless_it_is_renewed() {
    let fixture = Fixture::new().await;
    let ada = fixture.user("ada").await.id;
    let (kept, left) = (fixture.begin(&ada).await, fixture.begin(&ada).await);
    for row in [&kept, &left] {
        set(&fixture, row, "idle_expires_at", secs(120)).await;
    }
    fixture.installation.clock.advance(secs(60));
    assert_eq!(fixture.rotate(&kept).await.unwrap(), Written::Applied);
    fixture.installation.clock.advance(secs(60));
    assert!(fixture.hears(left.sid).await);
    a_while().await;
    assert!(!fixture.list.denies(kept.sid));
}

async fn an_ended_session_cannot_be_revived() {
    let fixture = Fixture::new().await;
    let (ada, shell) = (fixture.user("ada").await.id, fixture.installation.shell());
    for column in ["expires_at", "idle_expires_at"] {
        let row = fixture.begin(&ada).await;
        let before = row.created_at.minus(secs(5)).millis();
        shell.run(&format!("UPDATE sessions SET {column} = {before}"));
        for raised in ["expires_at + 86400000", "expires_at + 1", "9999999999999"] {
            let raise = format!("UPDATE sessions SET expires_at = {raised}, idle_expires_at = {raised}");
            let refused = shell.try_run(&raise).expect_err(&raise);
            assert!(refused.contains("has ended and can't be made to live again"), "{refused}");
        }
        assert!(fixture.row(row.sid).await.unwrap().ends_at() < fixture.now().await);
        // An update that does not make the session live again is accepted.
        shell.run("UPDATE sessions SET user_agent = 'x', expires_at = expires_at - 1");
        shell.run("DELETE FROM sessions");
    }
}

async fn a_renewal_checked_before_the_end_may_be_written_after_it() {
    let fixture = Fixture::new().await;
    let row = fixture
        .begin_as(NewSession { idle: millis(200), ..new_session(&fixture.user("ada").await.id) }, 20)
        .await;
    // The rule uses a time that it read earlier; the triggers of SQLite use the system's time.
    tokio::time::sleep(millis(300)).await;
    let now = row.rotated_at.plus(millis(100));
    let change = SessionChange::Rotate { to: 1, idle: secs(1800), now };
    assert_eq!(fixture.store.change_session(&row, change, None).await.unwrap(), Written::Applied);
}

async fn ends_that_are_due_only_by_a_clock_jump_are_not_applied() {
    let fixture = Fixture::new().await;
    let row = one(&fixture).await;
    set(&fixture, &row, "expires_at", secs(1200)).await;
    fixture.installation.clock.advance(secs(10 * 365 * 86_400));
    a_while().await;
    assert!(!fixture.list.denies(row.sid));
    fixture.installation.clock.set_back(secs(10 * 365 * 86_400));
    assert_eq!(fixture.revoked(), [row.sid.to_string()], "still set for its end");
    fixture.installation.clock.advance(secs(1200));
    assert!(fixture.hears(row.sid).await);
}

/// Runs the statements that `bulla doctor` recommends for bad rows.
async fn mend(fixture: &Fixture) {
    for row in fixture.store.unreadable_rows().await.unwrap() {
        fixture.installation.shell().run(&row.repair_statement());
    }
    assert_eq!(fixture.store.unreadable_rows().await.unwrap(), []);
}

mod rows_that_cant_be_read {
    use super::*;

    every_store![
        serializable;
        an_unreadable_session_is_skipped_can_be_ended_and_repaired,
        an_unreadable_user_or_client_has_no_rights_and_blocks_no_other,
        an_unreadable_row_does_not_break_a_list,
    ];

    async fn an_unreadable_session_is_skipped_can_be_ended_and_repaired() {
        for change in [
            "transport = 'xyz'",
            "secret_hash = 'x'",
            "client_id = '-'",
            "scope = 'a  b', client_id = 'c'",
            "TEXT",
        ] {
            let fixture = Fixture::new().await;
            let ada = fixture.user("ada").await.id;
            let good = fixture.begin(&ada).await;
            let bad =
                [fixture.begin(&ada).await.sid, fixture.begin(&ada).await.sid, fixture.begin(&ada).await.sid];
            let shell = fixture.installation.shell();
            without_checks(&shell);
            let change = match (change, kind()) {
                ("TEXT", Kind::Sqlite) => "expires_at = datetime('now'), idle_expires_at = datetime('now')",
                ("TEXT", _) => "transport = ''",
                (change, _) => change,
            };
            shell.run(&format!("UPDATE sessions SET {change} WHERE sid <> '{}'", good.sid));
            shell.run("DELETE FROM revocations");
            assert_eq!(fixture.live(&ada).await, [good.sid], "{change}");
            assert_eq!(
                fixture.store.sessions(None, 10).await.unwrap().0,
                std::slice::from_ref(&good),
                "{change}"
            );
            let (read, now) = fixture.store.session(bad[0]).await.unwrap();
            assert!(read.is_some_and(|row| row.is_unreadable() && row.ends_at() < now), "{change}");
            assert!(fixture.store.session_and_user(bad[0]).await.unwrap().0.is_some(), "{change}");
            fixture.begin(&ada).await;
            let found = fixture.store.unreadable_rows().await.unwrap();
            assert_eq!(found.len(), 3, "{change}: {found:?}");
            assert!(found.iter().all(|row| row.table == "sessions"));

            let end =
                async |which| fixture.store.end_sessions(which, event("session.revoked")).await.unwrap();
            assert_eq!(end(SessionEnd::One(bad[0])).await, [bad[0]], "{change}");
            assert!(fixture.list.denies(bad[0]), "{change}");
            shell.run(&fixture.store.unreadable_rows().await.unwrap()[0].repair_statement());
            assert_eq!(fixture.store.unreadable_rows().await.unwrap().len(), 1, "{change}");
            let all = end(SessionEnd::All).await;
            assert_eq!(all.len(), 3, "{change}");
            assert!(fixture.hears(bad[1]).await && fixture.hears(bad[2]).await, "{change}");
        }
    }

    async fn an_unreadable_user_or_client_has_no_rights_and_blocks_no_other() {
        let fixture = Fixture::new().await;
        let (ada, bob) =
            (fixture.user_with("ada", &["admin"]).await, fixture.user_with("bob", &["admin"]).await);
        let carol = fixture.user_with("carol", &["admin"]).await;
        let row = fixture.begin(&bob.id).await;
        let shell = fixture.installation.shell();
        shell.run(
            "INSERT INTO clients (id, name, created_at) VALUES ('a', 'A', 1), ('b', 'B', 1), ('c', 'C', 1)",
        );
        without_checks(&shell);
        shell.run(&format!(
            "UPDATE users SET roles = '[\"admin\", 7]' WHERE id <> {} AND id <> {}",
            ada.id, carol.id
        ));
        shell.run("UPDATE clients SET scopes = 'read' WHERE id <> 'c'");
        assert_eq!(fixture.store.users(None, 1).await.unwrap(), std::slice::from_ref(&ada));
        assert_eq!(
            fixture.store.users(Some(&ada.id), 1).await.unwrap(),
            std::slice::from_ref(&carol),
            "no page looks like the end"
        );
        let shut = fixture.store.user(&bob.id).await.unwrap().unwrap();
        assert!(shut.disabled && shut.roles.is_empty() && shut.is_unreadable());
        let changed = fixture.change(&bob.id, disabled(false)).await;
        assert!(
            matches!(&changed, Err(StoreError::Conflict(why)) if why.contains("`bulla doctor`")),
            "{changed:?}"
        );
        assert_eq!(fixture.store.user_by_name("bob").await.unwrap(), None);
        assert!(fixture.store.session_and_user(row.sid).await.unwrap().0.unwrap().1.unwrap().disabled);
        assert_eq!(fixture.store.clients(None, 1).await.unwrap()[0].id.as_str(), "c");
        assert_eq!(fixture.store.client(&"a".parse().unwrap()).await.unwrap().0, None);
        // Two of three administrators are readable, and the last readable one cannot lose the role.
        fixture.change(&ada.id, roles(&[])).await.unwrap();
        assert!(matches!(fixture.change(&carol.id, roles(&[])).await, Err(StoreError::LastAdmin)));
        assert_eq!(fixture.store.unreadable_rows().await.unwrap().len(), 3);
        mend(&fixture).await;
        assert_eq!(fixture.store.user(&bob.id).await.unwrap().unwrap().roles, [""; 0]);
    }

    async fn an_unreadable_row_does_not_break_a_list() {
        let fixture = Fixture::new().await;
        let row = one(&fixture).await;
        fixture.store.report_node("one", 1, "1").await.unwrap();
        let shell = fixture.installation.shell();
        if kind() == Kind::Sqlite {
            without_checks(&shell);
            for sql in [
                "INSERT INTO audit (at, event, actor, subject) VALUES ('x', 'x', '', '')",
                "INSERT INTO audit (at, event, actor, subject, detail) VALUES (1, 'x', '', '', x'ff')",
                "INSERT INTO nodes (name, ring_generation, version, seen_at) VALUES ('bad', 'x', '1', 99999999999999)",
                "INSERT INTO revocations (target, revoked_at, expires_at) VALUES (x'ff', 1, 99999999999999)",
                "INSERT INTO identities (issuer, subject, user_id) VALUES (x'ff', x'ff', '1')",
            ] {
                shell.run(sql);
            }
            // A revocation with unreadable times is in force for its target.
            let sid = Sid::generate().unwrap();
            shell.run(&format!(
                "INSERT INTO revocations (target, revoked_at, expires_at) VALUES ('{sid}', 'now', 'later')"
            ));
            assert!(fixture.hears(sid).await && fixture.another().await.list.denies(sid));
        }
        assert!(fixture.store.audit(None, 100).await.unwrap().iter().all(|row| row.event != "x"));
        assert_eq!(fixture.store.audit(Some(0), 2).await.unwrap().len(), 2);
        assert_eq!(fixture.store.nodes().await.unwrap().len(), 1);
        assert_eq!(fixture.store.identities(&row.user_id).await.unwrap(), []);
        fixture.store.end_sessions(SessionEnd::One(row.sid), event("logout")).await.unwrap();
        assert!(fixture.list.denies(row.sid), "the feed goes on");
        mend(&fixture).await;
    }
}

mod guards {
    use super::*;

    every_store![
        serializable;
        a_changed_trigger_is_reported_and_restored,
        with_a_newer_schema_only_the_names_of_triggers_are_checked,
        a_node_that_reported_a_future_time_is_ignored,
        a_clock_that_jumps_ahead_causes_no_sweep,
    ];

    async fn a_changed_trigger_is_reported_and_restored() {
        let fixture = Fixture::new().await;
        let shell = fixture.installation.shell();
        let changes: &[(&str, &str)] = match kind() {
            Kind::Sqlite => &[
                ("session_deleted", "DROP TRIGGER session_deleted"),
                ("session_deleted", "DROP TRIGGER session_deleted; CREATE TRIGGER session_deleted AFTER DELETE ON sessions BEGIN SELECT 1; END"),
                ("client_changed", "DROP TRIGGER client_changed; CREATE TRIGGER client_changed AFTER UPDATE OF name ON clients BEGIN SELECT 1; END"),
                ("session_unreadable", "DROP TRIGGER session_unreadable"),
                ("users_spelled", "DROP INDEX users_spelled"),
                ("users_named", "DROP INDEX users_named"),
            ],
            _ => &[
                ("session_deleted", "DROP TRIGGER session_deleted ON sessions"),
                ("session_deleted", "CREATE OR REPLACE FUNCTION bulla_session_deleted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"),
                ("session_deleted", "ALTER FUNCTION bulla_session_deleted() SECURITY INVOKER"),
                ("user_disabled", "ALTER TABLE users DISABLE TRIGGER user_disabled"),
                ("session_changed", "DROP TRIGGER session_changed ON sessions; CREATE TRIGGER session_changed AFTER UPDATE ON sessions
                   FOR EACH ROW WHEN (false) EXECUTE FUNCTION bulla_session_changed()"),
                ("client_changed", "DROP TRIGGER client_changed ON clients; CREATE TRIGGER client_changed AFTER UPDATE OF name ON clients
                   FOR EACH ROW EXECUTE FUNCTION bulla_client_changed()"),
                ("bulla_may_truncate", "CREATE OR REPLACE FUNCTION bulla_may_truncate() RETURNS void LANGUAGE plpgsql AS 'BEGIN END'"),
            ],
        };
        for (name, change) in changes {
            shell.run(change);
            assert_eq!(fixture.store.missing_triggers().await.unwrap(), [*name], "{change}");
            assert_eq!(fixture.store.restore_triggers().await.unwrap(), [*name], "{change}");
            assert_eq!(fixture.store.missing_triggers().await.unwrap(), [""; 0], "{change}");
        }
        assert_eq!(fixture.store.restore_triggers().await.unwrap(), [""; 0]);
        let row = one(&fixture).await;
        shell.run("DELETE FROM sessions");
        assert!(fixture.hears(row.sid).await, "and they act");
    }

    async fn with_a_newer_schema_only_the_names_of_triggers_are_checked() {
        let fixture = Fixture::new().await;
        let shell = fixture.installation.shell();
        let history = if kind() == Kind::Sqlite { "refinery_schema_history" } else { "bulla_schema_history" };
        shell.run(&format!(
            "INSERT INTO {history} (version, name, applied_on, checksum) VALUES (99, 'newer', '', '0')"
        ));
        shell.run(match kind() {
            Kind::Sqlite => "DROP TRIGGER session_deleted; CREATE TRIGGER session_deleted AFTER DELETE ON sessions BEGIN SELECT 1; END",
            _ => "CREATE OR REPLACE FUNCTION bulla_session_deleted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        });
        assert_eq!(fixture.store.missing_triggers().await.unwrap(), [""; 0]);
        shell.run(if kind() == Kind::Sqlite {
            "DROP TRIGGER user_deleted"
        } else {
            "DROP TRIGGER user_deleted ON users"
        });
        assert_eq!(fixture.store.missing_triggers().await.unwrap(), ["user_deleted"]);
    }

    async fn a_clock_that_jumps_ahead_causes_no_sweep() {
        const DECADE: Duration = Duration::from_secs(10 * 365 * 86_400);
        let fixture = Fixture::new().await;
        let (row, gone) = (one(&fixture).await, fixture.begin(&"1".parse().unwrap()).await);
        fixture.store.end_sessions(SessionEnd::One(gone.sid), event("logout")).await.unwrap();
        fixture.store.mark_used([7; 32], fixture.now().await.plus(secs(600))).await.unwrap();
        let shell = fixture.installation.shell();
        let counts = || {
            ["sessions", "audit", "used", "revocations"]
                .map(|table| shell.number(&format!("SELECT count(*) FROM {table}")))
        };
        let (before, year) = (counts(), secs(365 * 86_400));
        let node = fixture.installation.node().await.sessions;
        assert_eq!(node.check_clock().await.unwrap(), None);
        for ahead in [DECADE, secs(86_400), secs(3600)] {
            fixture.installation.clock.advance(ahead);
            assert_eq!(node.sweep(year).await.unwrap(), 0, "{ahead:?}");
            assert!(node.leap().is_some(), "{ahead:?}");
            let restarted = fixture.installation.node().await.sessions;
            assert_eq!((restarted.sweep(year).await.unwrap(), counts()), (0, before), "{ahead:?}");
            fixture.installation.clock.set_back(ahead);
            assert_eq!((node.sweep(year).await.unwrap(), node.leap()), (0, None), "{ahead:?}");
        }
        assert_eq!(counts(), before);
        assert!(fixture.row(row.sid).await.unwrap().ends_at() > fixture.now().await);
        assert!(
            !fixture.store.mark_used([7; 32], fixture.now().await).await.unwrap(),
            "a nonce is still spent"
        );
        // An operator who knows that the new time is correct does not need to wait.
        fixture.installation.clock.advance(DECADE);
        assert_eq!(node.sweep(year).await.unwrap(), 0);
        shell.run("DELETE FROM clock");
        assert!(node.sweep(year).await.unwrap() >= 4);
    }

    async fn a_node_that_reported_a_future_time_is_ignored() {
        let fixture = Fixture::new().await;
        fixture.installation.clock.advance(secs(10 * 365 * 86_400));
        fixture.store.report_node("one", 1, "1").await.unwrap();
        fixture.installation.clock.set_back(secs(10 * 365 * 86_400));
        assert_eq!(fixture.store.nodes().await.unwrap(), []);
    }
}
