//! Tests sessions with real tokens and a real database (docs/design/sessions.md).
//!
//! The tests cover the first two steps of the ladder, refresh and revocation.

use std::sync::Arc;

use bulla::{
    clock::Clock as _,
    ids::UserId,
    keyring::{KeyState, Ring},
    secret::SecretText,
    session::{Denied, OnStale, Policy, Renewed},
    store::{AuditEvent, Device, StoreError, Transport, User, UserChange},
    token::Refused,
};

use crate::support::installation::{ManualClock, Node, Town, device, millis, secs};
use crate::support::stores::every_store;

/// A town with one node and one user.
async fn small_town() -> (Town, Node, User) {
    let town = Town::new();
    let node = town.node().await;
    let user = node.user("ada").await;
    (town, node, user)
}

fn generation(node: &Node, renewed: &Renewed) -> Option<u64> {
    renewed.refresh.as_ref().map(|token| node.opened(token)["gen"].as_u64().unwrap())
}

mod beginning {
    use super::*;

    every_store![
        access_alone_passes_and_says_who,
        a_row_is_read_with_its_user_as_each_is_read_alone,
        an_access_token_ends_with_its_age,
        the_tokens_of_one_purpose_are_nothing_for_the_other,
        the_cap_ends_the_oldest_session,
        a_login_ends_the_session_its_own_request_presents,
        basic_from_the_same_place_takes_its_own_row_over_and_revokes_nothing,
        nobody_begins_who_is_disabled_or_deleted_meanwhile,
        claims_too_long_for_a_cookie_begin_nothing_and_use_up_no_rotation,
        a_new_password_ends_every_session_but_the_callers_new_one,
    ];

    async fn access_alone_passes_and_says_who() {
        let (_town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let principal = node.sessions.authenticate(issued.access.as_str()).unwrap();
        assert_eq!(principal, issued.principal);
        assert_eq!((principal.id(), principal.sid()), (user.id.as_str(), issued.row.sid));
        assert!(principal.has_role("reader"));
        assert_eq!(node.events("login").await.len(), 1);
    }

    async fn a_row_is_read_with_its_user_as_each_is_read_alone() {
        let (town, node, user) = small_town().await;
        let sid = node.begin(&user).await.row.sid;
        let both = async || node.store.session_and_user(sid).await.unwrap().0;
        let (row, with) = both().await.unwrap();
        assert_eq!(Some(row), node.row(sid).await);
        assert!(with.is_some() && with == node.store.user(&user.id).await.unwrap());
        // As in an installation whose users belong to another program.
        town.shell().run("UPDATE sessions SET user_id = 'theirs'");
        let (row, with) = both().await.unwrap();
        assert!(row.user_id.as_str() == "theirs" && with.is_none());
        node.log_out(sid).await;
        assert_eq!(both().await, None);
    }

    async fn an_access_token_ends_with_its_age() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(millis(119_999));
        assert!(node.sessions.authenticate(issued.access.as_str()).is_ok());
        town.clock.advance(millis(1));
        let denied = node.sessions.authenticate(issued.access.as_str());
        assert!(matches!(denied, Err(Denied::Token(Refused::Expired))), "{denied:?}");
    }

    async fn the_tokens_of_one_purpose_are_nothing_for_the_other() {
        let (_town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let denied = node.sessions.authenticate(issued.refresh.as_str());
        assert!(matches!(denied, Err(Denied::Token(Refused::Tag))), "{denied:?}");
        let denied = node.renew(&issued.access).await;
        assert!(matches!(denied, Err(Denied::Token(Refused::Tag))), "{denied:?}");
    }

    async fn the_cap_ends_the_oldest_session() {
        let town = Town::with(Policy { session_cap: 3, ..Policy::default() });
        let node = town.node().await;
        let user = node.user("ada").await;
        let mut all = vec![];
        for expected in [0, 1, 2, 2] {
            let issued = node.begin(&user).await;
            assert_eq!(issued.others, expected);
            all.push(issued);
            town.clock.advance(secs(1));
        }
        assert!(matches!(node.sessions.authenticate(all[0].access.as_str()), Err(Denied::Session)));
        assert!(matches!(node.renew(&all[0].refresh).await, Err(Denied::Session)));
        for kept in &all[1..] {
            assert!(node.sessions.authenticate(kept.access.as_str()).is_ok());
            assert!(node.renew(&kept.refresh).await.is_ok());
        }
    }

    async fn a_login_ends_the_session_its_own_request_presents() {
        let (_town, node, user) = small_town().await;
        let first = node.begin(&user).await;
        let presented = Some(first.refresh.as_str());
        let second = node.sessions.begin(&user, Transport::Cookie, device(), presented).await.unwrap();
        assert_eq!(second.others, 0);
        assert!(matches!(node.sessions.authenticate(first.access.as_str()), Err(Denied::Session)));
        assert!(node.sessions.authenticate(second.access.as_str()).is_ok());
        let third = node.sessions.begin(&user, Transport::Cookie, device(), Some("garbage")).await.unwrap();
        assert_eq!(third.others, 1);
    }

    async fn basic_from_the_same_place_takes_its_own_row_over_and_revokes_nothing() {
        let (_town, node, user) = small_town().await;
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

    async fn nobody_begins_who_is_disabled_or_deleted_meanwhile() {
        let (_town, node, user) = small_town().await;
        let gone = node.user("bob").await;
        let disabled = UserChange { disabled: Some(true), ..UserChange::default() };
        let event = || AuditEvent::new("user.changed", "tests", "");
        node.store.change_user(&user.id, disabled, event()).await.unwrap();
        assert!(node.store.delete_user(&gone.id, event()).await.unwrap());
        for user in [user, gone] {
            let denied = node.sessions.begin(&user, Transport::Cookie, device(), None).await;
            assert!(matches!(denied, Err(Denied::Session)), "{denied:?}");
            assert!(node.store.sessions(Some(&user.id), 10).await.unwrap().0.is_empty());
        }
    }

    async fn claims_too_long_for_a_cookie_begin_nothing_and_use_up_no_rotation() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let long = serde_json::json!({"note": "x".repeat(2900)});
        let claims = long.as_object().cloned();
        let change = UserChange { claims, ..UserChange::default() };
        let event = AuditEvent::new("user.changed", "tests", "");
        let row = node.store.change_user(&user.id, change, event).await.unwrap().unwrap();
        let user = User { claims: row.claims, ..user };
        let denied = node.sessions.begin(&user, Transport::Cookie, device(), None).await;
        assert!(matches!(denied, Err(Denied::Seal(_))), "{denied:?}");
        town.clock.advance(secs(60));
        let before = town.stored(issued.row.sid);
        assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Seal(_))));
        assert_eq!(town.stored(issued.row.sid), before);
    }

    async fn a_new_password_ends_every_session_but_the_callers_new_one() {
        let (_town, node, user) = small_town().await;
        let event = AuditEvent::new("password.changed", "tests", "");
        node.store.change_password(&user.id, "$old".into(), None, event).await.unwrap();
        let (first, second) = (node.begin(&user).await, node.begin(&user).await);
        let change = |verified: &str| {
            let verified = SecretText::new(verified.into());
            node.sessions.change_password(&user, &first.row, verified, "$argon2id$…".into(), device())
        };
        assert!(matches!(change("$older").await, Err(Denied::CannotTell(StoreError::Moved))));
        assert!(node.renew(&second.refresh).await.is_ok(), "nothing was written");
        let changed = change("$old").await.unwrap();
        assert!(matches!(change("$argon2id$…").await, Err(Denied::CannotTell(StoreError::Ended))));
        for old in [first, second] {
            assert!(matches!(node.sessions.authenticate(old.access.as_str()), Err(Denied::Session)));
            assert!(matches!(node.renew(&old.refresh).await, Err(Denied::Session)));
        }
        assert!(node.sessions.authenticate(changed.access.as_str()).is_ok());
        assert!(node.renew(&changed.refresh).await.is_ok());
    }
}

mod refreshing {
    use super::*;

    every_store![
        sooner_than_r_gives_an_access_token_only_and_writes_nothing,
        from_r_on_the_token_rotates_and_the_session_slides,
        a_lost_answer_is_given_again_within_the_window_and_nothing_is_written,
        a_late_parent_is_pardoned_once_and_the_same_one_again_without_a_write,
        a_late_parent_of_another_generation_within_the_hour_ends_the_session,
        a_grandparent_ends_the_session_at_once,
        a_parent_as_old_as_two_idle_times_is_still_pardoned,
        a_token_ahead_of_its_row_goes_on_and_raises_an_alarm,
        a_wrong_key_or_name_leaves_the_row_untouched,
        sixty_four_renewals_at_once_on_three_nodes_are_one_rotation,
        present_roles_go_into_the_new_access_token,
        another_agent_is_a_pardon_where_agents_are_bound,
        a_renewal_from_elsewhere_is_written_down_once_per_change,
        a_bound_agent_stays_bound_when_another_renews,
    ];

    async fn sooner_than_r_gives_an_access_token_only_and_writes_nothing() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(millis(59_999));
        let before = town.stored(issued.row.sid);
        let renewed = node.renew(&issued.refresh).await.unwrap();
        assert!(renewed.refresh.is_none());
        let access = renewed.access;
        assert!(node.sessions.authenticate(access.as_str()).is_ok());
        assert_eq!(town.stored(issued.row.sid), before);
    }

    async fn from_r_on_the_token_rotates_and_the_session_slides() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(60));
        let renewed = node.renew(&issued.refresh).await.unwrap();
        assert_eq!((renewed.outcome, generation(&node, &renewed)), ("rotate", Some(1)));
        assert_eq!(renewed.refresh_max_age, secs(1800));
        let row = node.row(issued.row.sid).await.unwrap();
        assert_eq!((row.generation, row.rotated_at), (1, town.clock.now()));
        assert_eq!(row.idle_expires_at, town.clock.now().plus(secs(1800)));
        assert_eq!(row.expires_at, issued.row.expires_at, "the absolute end never moves");
    }

    #[tokio::test]
    async fn the_key_stays_and_the_secret_is_never_stored() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(60));
        let next = node.renew(&issued.refresh).await.unwrap().refresh.unwrap();
        let (first, second) = (node.opened(&issued.refresh), node.opened(&next));
        assert_eq!(first["key"], second["key"]);
        let key = first["key"].as_str().unwrap().to_owned();
        let mut raw = std::fs::read(town.file()).unwrap();
        raw.extend(std::fs::read(town.file().with_extension("db-wal")).unwrap());
        let holds = |text: &[u8]| raw.windows(text.len()).any(|window| window == text);
        assert!(holds(issued.row.sid.to_string().as_bytes()) && !holds(key.as_bytes()));
    }

    async fn a_lost_answer_is_given_again_within_the_window_and_nothing_is_written() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(60));
        node.renew(&issued.refresh).await.unwrap();
        let before = town.stored(issued.row.sid);
        for step in [0, 5000, 4999] {
            town.clock.advance(millis(step));
            let again = node.renew(&issued.refresh).await.unwrap();
            assert_eq!((again.outcome, generation(&node, &again)), ("repeat", Some(1)));
        }
        assert_eq!(town.stored(issued.row.sid), before);
        assert!(node.events("refresh.pardon").await.is_empty());
    }

    async fn a_late_parent_is_pardoned_once_and_the_same_one_again_without_a_write() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(60));
        node.renew(&issued.refresh).await.unwrap();
        town.clock.advance(secs(10));
        let pardoned = node.renew(&issued.refresh).await.unwrap();
        assert_eq!((pardoned.outcome, generation(&node, &pardoned)), ("pardon", Some(1)));
        let row = node.row(issued.row.sid).await.unwrap();
        assert_eq!((row.pardoned_gen, row.pardoned_at), (Some(0), Some(town.clock.now())));
        assert_eq!(row.rotated_at, town.clock.now());
        town.clock.advance(secs(30));
        let before = town.stored(issued.row.sid);
        let again = node.renew(&issued.refresh).await.unwrap();
        assert_eq!(generation(&node, &again), Some(1));
        assert_eq!(town.stored(issued.row.sid), before);
        assert_eq!(node.events("refresh.pardon").await.len(), 1);
    }

    async fn a_late_parent_of_another_generation_within_the_hour_ends_the_session() {
        let (town, node, user) = small_town().await;
        let other = town.node().await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(60));
        node.renew(&issued.refresh).await.unwrap();
        town.clock.advance(secs(10));
        let first = node.renew(&issued.refresh).await.unwrap().refresh.unwrap();
        town.clock.advance(secs(60));
        let rotated = node.renew(&first).await.unwrap();
        let access = rotated.access.clone();
        assert!(other.sessions.authenticate(access.as_str()).is_ok());
        town.clock.advance(secs(10));
        let thief = Device { user_agent: "thief/1".into(), ip: "198.51.100.9".into() };
        let denied = node.sessions.renew(first.as_str(), &thief).await;
        assert!(matches!(denied, Err(Denied::Reuse)), "{denied:?}");

        assert!(node.row(issued.row.sid).await.is_none());
        assert!(matches!(node.sessions.authenticate(access.as_str()), Err(Denied::Session)), "at once here");
        assert!(other.hears_of(&access).await, "and soon elsewhere");
        assert!(matches!(node.renew(&rotated.refresh.unwrap()).await, Err(Denied::Session)));

        let events = node.events("refresh.reuse").await;
        assert_eq!(events.len(), 1);
        let detail = &events[0].detail;
        assert_eq!(events[0].subject, issued.row.sid.to_string());
        assert_eq!((&detail["presented_generation"], &detail["generation"]), (&1.into(), &2.into()));
        assert_eq!(detail["age_ms"], 10_000);
        assert_eq!(
            detail["presented_by"],
            serde_json::json!({"user_agent": "thief/1", "ip": "198.51.100.9"})
        );
        assert_eq!(detail["began_by"], serde_json::json!({"user_agent": "tests/1", "ip": "192.0.2.7"}));
    }

    async fn a_grandparent_ends_the_session_at_once() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let mut token = issued.refresh.clone();
        for _ in 0..2 {
            town.clock.advance(secs(60));
            token = node.renew(&token).await.unwrap().refresh.unwrap();
        }
        assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Reuse)));
        assert!(matches!(node.renew(&token).await, Err(Denied::Session)));
        assert_eq!(node.events("refresh.reuse").await.len(), 1);
    }

    async fn a_parent_as_old_as_two_idle_times_is_still_pardoned() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(millis(1_799_999));
        node.renew(&issued.refresh).await.unwrap();
        town.clock.advance(millis(1_799_999));
        assert_eq!(node.renew(&issued.refresh).await.unwrap().outcome, "pardon");
    }

    #[tokio::test]
    async fn a_grandparent_ends_the_session_on_its_last_day_too() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let mut token = issued.refresh.clone();
        for _ in 0..6 * 24 * 3 {
            town.clock.advance(secs(1200));
            token = node.renew(&token).await.unwrap().refresh.unwrap();
        }
        assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Reuse)));
        assert!(node.row(issued.row.sid).await.is_none());
    }

    async fn a_token_ahead_of_its_row_goes_on_and_raises_an_alarm() {
        let (_town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let ahead = node.forged(&issued.refresh, |payload| payload["gen"] = 7.into());
        let renewed = node.renew(&ahead).await.unwrap();
        assert_eq!((renewed.outcome, generation(&node, &renewed)), ("forward", Some(8)));
        assert_eq!(node.row(issued.row.sid).await.unwrap().generation, 8);
        assert_eq!(node.events("refresh.forward").await.len(), 1);
        let absurd = node.forged(&issued.refresh, |payload| payload["gen"] = u64::MAX.into());
        assert!(matches!(node.renew(&absurd).await, Err(Denied::Token(Refused::Payload))));
    }

    async fn a_wrong_key_or_name_leaves_the_row_untouched() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let stranger = node.user("eve").await;
        town.clock.advance(secs(60));
        let before = town.stored(issued.row.sid);
        for forged in [
            node.forged(&issued.refresh, |p| p["key"] = "A".repeat(43).into()),
            node.forged(&issued.refresh, |p| {
                p["key"] = "A".repeat(43).into();
                p["gen"] = 9.into();
            }),
            node.forged(&issued.refresh, |p| p["id"] = stranger.id.as_str().into()),
        ] {
            let denied = node.renew(&forged).await;
            assert!(matches!(denied, Err(Denied::Session)), "{denied:?}");
        }
        for shapeless in [
            node.forged(&issued.refresh, |p| p["key"] = "A".repeat(42).into()),
            node.forged(&issued.refresh, |p| p["gen"] = "0".into()),
            node.forged(&issued.refresh, |p| p["gen"] = (-1).into()),
            node.forged(&issued.refresh, |p| p["sid"] = "nobody".into()),
            node.forged(&issued.refresh, |p| p["id"] = 1.into()),
        ] {
            let denied = node.renew(&shapeless).await;
            assert!(matches!(denied, Err(Denied::Token(Refused::Payload))), "{denied:?}");
        }
        assert_eq!(town.stored(issued.row.sid), before);
        assert!(node.renew(&issued.refresh).await.is_ok());
    }

    #[tokio::test]
    async fn a_chain_of_1000_holds() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let mut token = issued.refresh;
        for expected in 1..=1000 {
            town.clock.advance(secs(60));
            let renewed = node.renew(&token).await.unwrap();
            assert_eq!(generation(&node, &renewed), Some(expected));
            token = renewed.refresh.unwrap();
        }
    }

    async fn sixty_four_renewals_at_once_on_three_nodes_are_one_rotation() {
        let (town, node, user) = small_town().await;
        let nodes = [node.clone(), town.node().await, town.node().await];
        let issued = node.begin(&user).await;
        town.clock.advance(secs(90));
        let renewals: Vec<_> = (0..64)
            .map(|n| {
                let (node, token) = (nodes[n % 3].clone(), issued.refresh.clone());
                tokio::spawn(async move {
                    let renewed = node.renew(&token).await.unwrap();
                    (renewed.outcome, generation(&node, &renewed), renewed.access)
                })
            })
            .collect();
        let mut rotations = 0;
        for renewal in renewals {
            let (outcome, generation, access) = renewal.await.unwrap();
            rotations += usize::from(outcome == "rotate");
            assert_eq!(generation, Some(1));
            assert!(nodes.iter().all(|node| node.sessions.authenticate(access.as_str()).is_ok()));
        }
        assert_eq!(rotations, 1);
        assert_eq!(node.row(issued.row.sid).await.unwrap().generation, 1);
    }

    async fn present_roles_go_into_the_new_access_token() {
        let (_town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let roles = Some(vec!["admin".into()]);
        let change = UserChange { roles, ..UserChange::default() };
        node.store.change_user(&user.id, change, AuditEvent::new("user.role", "tests", "")).await.unwrap();
        let renewed = node.renew(&issued.refresh).await.unwrap();
        let principal = node.sessions.authenticate(renewed.access.as_str()).unwrap();
        assert_eq!(principal.roles(), ["admin"]);
        assert_eq!(principal, renewed.principal);
    }

    async fn a_renewal_from_elsewhere_is_written_down_once_per_change() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let elsewhere = Device { ip: "198.51.100.9".into(), ..device() };
        let mut refresh = issued.refresh;
        // The first renewal is too early to rotate and only records the event.
        for (wait, outcome) in [(0, "repeat"), (60, "rotate"), (60, "rotate"), (1, "repeat")] {
            town.clock.advance(secs(wait));
            let renewed = node.sessions.renew(refresh.as_str(), &elsewhere).await.unwrap();
            assert_eq!(renewed.outcome, outcome);
            refresh = renewed.refresh.unwrap_or(refresh);
            assert_eq!(node.events("refresh.moved").await.len(), 1, "{outcome}");
        }
        let event = node.events("refresh.moved").await.remove(0);
        assert_eq!(event.subject, issued.row.sid.to_string());
        assert_eq!(event.detail["from"], serde_json::json!(device()));
        assert_eq!(event.detail["to"], serde_json::json!(elsewhere));
        assert_eq!(node.row(issued.row.sid).await.unwrap().device, elsewhere);
        // Another agent is a change as well, even at the rotation itself; an unknown address is no change.
        town.clock.advance(secs(60));
        let unknown = Device { ip: String::new(), ..elsewhere.clone() };
        refresh = node.sessions.renew(refresh.as_str(), &unknown).await.unwrap().refresh.unwrap();
        assert_eq!(node.events("refresh.moved").await.len(), 1);
        town.clock.advance(secs(60));
        let agent = Device { user_agent: "thief/1".into(), ..elsewhere };
        let renewed = node.sessions.renew(refresh.as_str(), &agent).await.unwrap();
        assert_eq!((renewed.outcome, node.events("refresh.moved").await.len()), ("rotate", 2));
        assert_eq!(node.row(issued.row.sid).await.unwrap().device, agent);
        // A client that changes its agent with every request can't fill the table.
        let refresh = renewed.refresh.unwrap();
        for n in 0..100 {
            let agent = Device { user_agent: format!("thief/{n}"), ..agent.clone() };
            node.sessions.renew(refresh.as_str(), &agent).await.unwrap();
        }
        assert!(node.events("refresh.moved").await.len() < 10);
    }

    async fn a_bound_agent_stays_bound_when_another_renews() {
        let town = Town::with(Policy { bind_agent: true, ..Policy::default() });
        let node = town.node().await;
        let user = node.user("ada").await;
        let issued = node.begin(&user).await;
        let other = Device { user_agent: "other/2".into(), ..device() };
        for _ in 0..3 {
            node.sessions.renew(issued.refresh.as_str(), &other).await.unwrap();
        }
        assert_eq!(node.events("refresh.moved").await.len(), 1);
        assert_eq!(node.row(issued.row.sid).await.unwrap().device, device());
        town.clock.advance(secs(60));
        node.renew(&issued.refresh).await.unwrap();
        let renewed = node.sessions.renew(issued.refresh.as_str(), &other).await.unwrap();
        assert_eq!(renewed.outcome, "pardon");
    }

    async fn another_agent_is_a_pardon_where_agents_are_bound() {
        let town = Town::with(Policy { bind_agent: true, ..Policy::default() });
        let node = town.node().await;
        let user = node.user("ada").await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(60));
        node.renew(&issued.refresh).await.unwrap();
        let other = Device { user_agent: "other/2".into(), ..device() };
        let renewed = node.sessions.renew(issued.refresh.as_str(), &other).await.unwrap();
        assert_eq!(renewed.outcome, "pardon");
    }
}

mod ending {
    use super::*;

    every_store![
        idleness_ends_a_session_to_the_millisecond,
        no_renewal_moves_the_absolute_end,
        a_logout_is_in_force_here_at_once_and_soon_on_the_other_node,
        a_delete_in_a_database_shell_revokes,
        a_disabled_users_sessions_are_over,
        a_logout_by_refresh_token_finds_its_session_at_any_generation,
        all_of_a_users_sessions_end_and_nobody_elses,
        what_changes_something_asks_the_row_and_not_the_token,
        a_refresh_racing_a_logout_leaves_nothing_alive,
        a_refresh_racing_a_disabling_leaves_nothing_alive,
    ];

    async fn idleness_ends_a_session_to_the_millisecond() {
        let (town, node, user) = small_town().await;
        let (kept, lost) = (node.begin(&user).await, node.begin(&user).await);
        town.clock.advance(millis(1_799_999));
        assert!(node.renew(&kept.refresh).await.is_ok());
        town.clock.advance(millis(1));
        let denied = node.renew(&lost.refresh).await;
        assert!(matches!(denied, Err(Denied::Session)), "{denied:?}");
    }

    async fn no_renewal_moves_the_absolute_end() {
        let town = Town::with(Policy { session_max_age: secs(1900), ..Policy::default() });
        let node = town.node().await;
        let user = node.user("ada").await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(1000));
        let next = node.renew(&issued.refresh).await.unwrap();
        assert_eq!(next.refresh_max_age, secs(900), "what is left");
        town.clock.advance(secs(899));
        let last = node.renew(next.refresh.as_ref().unwrap()).await.unwrap();
        assert_eq!(last.refresh_max_age, secs(1));
        town.clock.advance(secs(1));
        assert!(matches!(node.renew(last.refresh.as_ref().unwrap()).await, Err(Denied::Session)));
    }

    async fn a_logout_is_in_force_here_at_once_and_soon_on_the_other_node() {
        let (town, node, user) = small_town().await;
        let other = town.node().await;
        let issued = node.begin(&user).await;
        assert!(other.sessions.authenticate(issued.access.as_str()).is_ok());
        assert!(node.log_out(issued.row.sid).await);
        assert!(!node.log_out(issued.row.sid).await, "nothing left to end");
        assert!(matches!(node.sessions.authenticate(issued.access.as_str()), Err(Denied::Session)));
        assert!(matches!(other.renew(&issued.refresh).await, Err(Denied::Session)));
        assert!(other.hears_of(&issued.access).await);
        let later = town.node().await;
        assert!(matches!(later.sessions.authenticate(issued.access.as_str()), Err(Denied::Session)));
    }

    async fn a_delete_in_a_database_shell_revokes() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let kept = node.begin(&user).await;
        town.shell().run(&format!("DELETE FROM sessions WHERE sid = '{}'", issued.row.sid));
        assert!(node.hears_of(&issued.access).await);
        assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Session)));
        assert!(node.sessions.authenticate(kept.access.as_str()).is_ok());
    }

    async fn a_disabled_users_sessions_are_over() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.shell().run("UPDATE users SET disabled = 1 WHERE name = 'ada'");
        assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Session)));
        assert!(node.hears_of(&issued.access).await);
        assert!(matches!(node.sessions.confirm(&issued.principal).await, Err(Denied::Session)));
    }

    async fn a_logout_by_refresh_token_finds_its_session_at_any_generation() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(60));
        node.renew(&issued.refresh).await.unwrap();
        let found = node.sessions.identify(issued.refresh.as_str()).await.unwrap();
        assert_eq!(found.map(|row| row.sid), Some(issued.row.sid));
        let forged = node.forged(&issued.refresh, |p| p["key"] = "A".repeat(43).into());
        assert!(node.sessions.identify(forged.as_str()).await.unwrap().is_none());
    }

    async fn all_of_a_users_sessions_end_and_nobody_elses() {
        let (_town, node, user) = small_town().await;
        let other = node.user("bob").await;
        let (one, two, kept) = (node.begin(&user).await, node.begin(&user).await, node.begin(&other).await);
        let event = AuditEvent::new("logout", user.id.to_string(), "");
        assert_eq!(node.sessions.end_all(&user.id, event).await.unwrap(), 2);
        for ended in [one, two] {
            assert!(matches!(node.sessions.authenticate(ended.access.as_str()), Err(Denied::Session)));
        }
        assert!(node.sessions.authenticate(kept.access.as_str()).is_ok());
        let nobody = UserId::new("nobody").unwrap();
        let event = AuditEvent::new("logout", "tests", "");
        assert_eq!(node.sessions.end_all(&nobody, event).await.unwrap(), 0);
    }

    async fn what_changes_something_asks_the_row_and_not_the_token() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let change = UserChange { roles: Some(vec![]), ..UserChange::default() };
        node.store.change_user(&user.id, change, AuditEvent::new("user.role", "tests", "")).await.unwrap();
        assert!(issued.principal.has_role("reader"), "the token still says so");
        let (row, now) = node.sessions.confirm(&issued.principal).await.unwrap();
        assert_eq!((row.sid, now.roles), (issued.row.sid, vec![]));
        town.clock.advance(secs(1800));
        assert!(matches!(node.sessions.confirm(&issued.principal).await, Err(Denied::Session)));
    }

    /// Starts a renewal and an operation that ends the session at the same time, many times.
    async fn race<F: Future<Output = ()> + Send + 'static>(end: impl Fn(Node, User, bulla::ids::Sid) -> F) {
        let town = Town::new();
        let nodes = [town.node().await, town.node().await];
        for round in 0..40 {
            let user = nodes[0].user(&format!("user{round}")).await;
            let issued = nodes[0].begin(&user).await;
            town.clock.advance(secs(60));
            let renewals: Vec<_> = nodes
                .iter()
                .map(|node| {
                    let (node, token) = (node.clone(), issued.refresh.clone());
                    tokio::spawn(async move { node.renew(&token).await })
                })
                .collect();
            let ending = tokio::spawn(end(nodes[round % 2].clone(), user, issued.row.sid));
            ending.await.unwrap();
            assert!(town.stored(issued.row.sid).is_empty(), "round {round}");
            for renewal in renewals {
                match renewal.await.unwrap() {
                    Ok(renewed) => {
                        let token = renewed.refresh.unwrap_or_else(|| issued.refresh.clone());
                        assert!(matches!(nodes[0].renew(&token).await, Err(Denied::Session)));
                        let access = renewed.access;
                        assert!(nodes[0].hears_of(&access).await && nodes[1].hears_of(&access).await);
                    }
                    Err(denied) => assert!(matches!(denied, Denied::Session), "{denied:?}"),
                }
            }
            assert!(town.stored(issued.row.sid).is_empty(), "round {round}");
        }
    }

    async fn a_refresh_racing_a_logout_leaves_nothing_alive() {
        race(async |node, _, sid| assert!(node.log_out(sid).await)).await;
    }

    async fn a_refresh_racing_a_disabling_leaves_nothing_alive() {
        race(async |node, user, _| {
            let change = UserChange { disabled: Some(true), ..UserChange::default() };
            let event = AuditEvent::new("user.disabled", "tests", "");
            node.store.change_user(&user.id, change, event).await.unwrap().unwrap();
        })
        .await;
    }
}

mod keys {
    use super::*;

    /// The ring after a rollover: the staged key is active, the active key is retired.
    fn rolled_over(ring: &Ring) -> Ring {
        let mut next = ring.clone();
        next.generation += 1;
        for key in &mut next.keys {
            key.state = match key.state {
                KeyState::Staged => KeyState::Active,
                KeyState::Active => KeyState::Retired,
                other => other,
            };
        }
        next
    }

    #[tokio::test]
    async fn a_rollover_fails_nobody() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let tokens = &node.sessions.parts().tokens;
        let sealed = |tokens: &bulla::session::Tokens| tokens.sealed().iter().map(|(_, n)| n).sum::<u64>();
        let before = sealed(tokens);
        tokens.install(rolled_over(&town.ring));
        assert!(node.sessions.authenticate(issued.access.as_str()).is_ok());
        town.clock.advance(secs(60));
        let renewed = node.renew(&issued.refresh).await.unwrap();
        let (old, new) = (&issued.refresh.as_str()[..9], renewed.refresh.as_ref().unwrap());
        assert_ne!(old, &new.as_str()[..9], "sealed under the new key");
        assert!(sealed(tokens) > before && before > 0, "counts survive the rollover");
        assert!(
            town.node().await.renew(new).await.is_ok(),
            "a node still behind opens the staged key's tokens"
        );
    }

    #[tokio::test]
    async fn a_revoked_key_takes_its_tokens_along() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        let mut ring = rolled_over(&town.ring);
        ring.keys[0].state = KeyState::Revoked;
        ring.keys[0].root = None;
        node.sessions.parts().tokens.install(ring);
        let denied = node.sessions.authenticate(issued.access.as_str());
        assert!(matches!(denied, Err(Denied::Token(Refused::UnknownKey))), "{denied:?}");
        assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Token(Refused::UnknownKey))));
        let fresh = node.begin(&user).await;
        assert!(node.sessions.authenticate(fresh.access.as_str()).is_ok());
    }

    #[tokio::test]
    async fn nothing_sealed_before_not_before_is_opened() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(1));
        let ring = Ring { not_before: town.clock.now(), generation: 2, ..town.ring.clone() };
        node.sessions.parts().tokens.install(ring);
        let denied = node.sessions.authenticate(issued.access.as_str());
        assert!(matches!(denied, Err(Denied::Token(Refused::NotBefore))), "{denied:?}");
        assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Token(Refused::NotBefore))));
        let fresh = node.begin(&user).await;
        assert!(node.sessions.authenticate(fresh.access.as_str()).is_ok());
        assert!(node.renew(&fresh.refresh).await.is_ok());
    }

    #[tokio::test]
    async fn an_access_token_without_a_session_is_refused() {
        let (town, node, _) = small_town().await;
        for payload in
            [r#"{"id":"42"}"#, r#"{"sid":"AAAAAAAAAAAAAAAAAAAAAA"}"#, r#"{"id":"42","sid":"x"}"#, "{}"]
        {
            let token =
                node.sessions.parts().tokens.access(|keys| keys.seal_at(payload, town.clock.now())).unwrap();
            let denied = node.sessions.authenticate(token.as_str());
            assert!(matches!(denied, Err(Denied::Token(Refused::Payload))), "{payload}: {denied:?}");
        }
    }
}

mod trouble {
    use super::*;

    #[tokio::test]
    async fn ten_minutes_of_the_stores_clock_set_back_end_nobodys_session() {
        let town = Town::new();
        let own = ManualClock::new();
        let node = town.node_with_clock(own.clone()).await;
        let user = node.user("ada").await;
        let issued = node.begin(&user).await;
        let advance = |by| {
            town.clock.advance(by);
            own.advance(by);
        };
        advance(secs(60));
        let next = node.renew(&issued.refresh).await.unwrap().refresh.unwrap();
        town.clock.set_back(secs(600));
        let renewed = node.renew(&next).await.unwrap();
        assert_eq!((renewed.outcome, generation(&node, &renewed)), ("repeat", None));
        let parent = node.renew(&issued.refresh).await.unwrap();
        assert_eq!((parent.outcome, generation(&node, &parent)), ("repeat", Some(1)));
        advance(secs(660));
        let rotated = node.renew(&next).await.unwrap();
        assert_eq!((rotated.outcome, generation(&node, &rotated)), ("rotate", Some(2)));
    }

    #[tokio::test]
    async fn a_nodes_clock_set_back_refuses_for_a_while_and_ends_nothing() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.set_back(secs(600));
        let before = town.stored(issued.row.sid);
        assert!(matches!(node.renew(&issued.refresh).await, Err(Denied::Token(Refused::Future))));
        assert_eq!(town.stored(issued.row.sid), before);
        town.clock.advance(secs(540));
        assert!(node.renew(&issued.refresh).await.is_ok());
    }

    #[tokio::test]
    async fn while_the_store_is_away_nobody_is_judged_and_later_the_token_still_holds() {
        let (town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        town.clock.advance(secs(60));
        let locker = town.shell();
        locker.run("BEGIN IMMEDIATE");
        let denied = node.renew(&issued.refresh).await;
        assert!(matches!(denied, Err(Denied::CannotTell(StoreError::Unavailable(_)))), "{denied:?}");
        assert!(node.sessions.authenticate(issued.access.as_str()).is_ok(), "access needs no store");
        locker.run("ROLLBACK");
        let renewed = node.renew(&issued.refresh).await.unwrap();
        assert_eq!(generation(&node, &renewed), Some(1));
    }

    #[tokio::test]
    async fn a_stale_feed_refuses_or_serves_as_the_policy_says() {
        for (on_stale, refuses) in [(OnStale::Refuse, true), (OnStale::Serve, false)] {
            let town = Town::with(Policy { on_stale, max_staleness: millis(300), ..Policy::default() });
            let node = town.node().await;
            let user = node.user("ada").await;
            let issued = node.begin(&user).await;
            assert!(node.sessions.authenticate(issued.access.as_str()).is_ok());
            // The database file is replaced while it is open, so the follower can no longer guarantee that it knows all
            // revocations.
            std::fs::rename(town.file(), town.file().with_extension("old")).unwrap();
            let mut denied = Ok(issued.principal);
            for _ in 0..100 {
                tokio::time::sleep(millis(20)).await;
                denied = node.sessions.authenticate(issued.access.as_str());
                if denied.is_err() {
                    break;
                }
            }
            assert_eq!(matches!(denied, Err(Denied::CannotTell(_))), refuses, "{denied:?}");
            assert!(node.sessions.denylist().age() > millis(300));
        }
    }

    #[tokio::test]
    async fn what_happens_is_counted() {
        let (_town, node, user) = small_town().await;
        let issued = node.begin(&user).await;
        node.sessions.authenticate(issued.access.as_str()).unwrap();
        node.sessions.authenticate("garbage").unwrap_err();
        node.renew(&issued.refresh).await.unwrap();
        let count = |name| node.sessions.counters().all().find(|(n, _)| *n == name).unwrap().1;
        for name in ["session.begun", "access.valid", "token.length", "refresh.repeat"] {
            assert_eq!(count(name), 1, "{name}");
        }
    }

    #[test]
    fn sessions_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Arc<bulla::session::Sessions>>();
    }
}

/// Compares random lives of a session with a second, simple implementation of the table in docs/design/sessions.md.
mod lives {
    use proptest::{
        prelude::*,
        test_runner::{Config, TestRunner},
    };

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Wait(u64),
        /// Presents the token that is this many generations older than the newest.
        Present(u64),
        LogOut,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => prop::sample::select(vec![1, 4_999, 5_000, 9_999, 10_000, 30_000, 59_999, 60_000, 300_000, 1_500_000])
                .prop_map(Step::Wait),
            8 => prop_oneof![5 => Just(0), 4 => Just(1), 1 => Just(2)].prop_map(Step::Present),
            1 => Just(Step::LogOut),
        ]
    }

    /// The second implementation of the table, in milliseconds since the session began.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Account {
        alive: bool,
        newest: u64,
        rotated: u64,
        pardon: Option<(u64, u64)>,
        idle_end: u64,
    }

    impl Account {
        /// The expected answer: the name of an error, or the generation handed out.
        fn present(&mut self, generation: u64, now: u64) -> Result<Option<u64>, &'static str> {
            if !self.alive || now >= self.idle_end {
                return Err("session");
            }
            let (age, behind) = (now - self.rotated, self.newest - generation);
            let recent = self.pardon.filter(|(_, at)| now - at < 3_600_000);
            match (behind, recent) {
                (0, _) if age < 60_000 => Ok(None),
                (0, _) => {
                    (self.newest, self.rotated, self.idle_end) = (self.newest + 1, now, now + 1_800_000);
                    Ok(Some(self.newest))
                }
                (1, _) if age < 10_000 => Ok(Some(self.newest)),
                (1, None) => {
                    (self.rotated, self.pardon) = (now, Some((generation, now)));
                    Ok(Some(self.newest))
                }
                (1, Some((pardoned, _))) if pardoned == generation => Ok(Some(self.newest)),
                _ => {
                    self.alive = false;
                    Err("reuse")
                }
            }
        }
    }

    async fn live(town: &Town, node: &Node, user: &User, steps: &[Step]) -> Result<(), TestCaseError> {
        let issued = node.begin(user).await;
        let began = issued.row.created_at;
        let mut account = Account { alive: true, newest: 0, rotated: 0, pardon: None, idle_end: 1_800_000 };
        let mut tokens = vec![issued.refresh.clone()];
        for step in steps {
            let now = town.clock.now().since(began).as_millis() as u64;
            match *step {
                Step::Wait(by) => town.clock.advance(millis(by)),
                Step::LogOut => {
                    let had = account.alive;
                    account.alive = false;
                    prop_assert_eq!(node.log_out(issued.row.sid).await, had);
                }
                Step::Present(back) => {
                    let generation = (tokens.len() as u64 - 1).saturating_sub(back);
                    let expected = account.present(generation, now);
                    let answer = match node.renew(&tokens[generation as usize]).await {
                        Ok(renewed) => {
                            let handed = super::generation(node, &renewed);
                            if let (Some(handed), Some(token)) = (handed, renewed.refresh) {
                                if handed as usize == tokens.len() {
                                    tokens.push(token);
                                } else {
                                    tokens[handed as usize] = token;
                                }
                            }
                            Ok(handed)
                        }
                        Err(Denied::Reuse) => Err("reuse"),
                        Err(Denied::Session) => Err("session"),
                        Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
                    };
                    prop_assert_eq!(answer, expected);
                }
            }
            let row = node.row(issued.row.sid).await;
            prop_assert_eq!(row.is_some(), account.alive);
            if let Some(row) = row {
                let since = |time: bulla::clock::Timestamp| time.since(began).as_millis() as u64;
                let kept = Account {
                    alive: true,
                    newest: row.generation,
                    rotated: since(row.rotated_at),
                    pardon: row.pardoned_gen.zip(row.pardoned_at.map(since)),
                    idle_end: since(row.idle_expires_at),
                };
                prop_assert_eq!(kept, account);
            }
        }
        Ok(())
    }

    #[test]
    fn any_life_of_a_session_goes_by_the_table() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (town, node, user) = runtime.block_on(small_town());
        let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&prop::collection::vec(step(), 1..40), |steps| {
                runtime.block_on(live(&town, &node, &user, &steps))
            })
            .unwrap();
    }
}
