//! Writes an audit event with the field names of the Elastic Common Schema (ECS), so that a SIEM can read it.
//!
//! The names and the values of `event.*` are those of ECS 8.11 (<https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html>).
//! `event.severity` is a severity of syslog (RFC 5424): 1 is the most severe here, 6 the least. Fields that ECS does not have are
//! under `bulla`.

use serde_json::{Value, json};

use crate::store::{Actor, AuditRow, Event};

/// The version of ECS that the fields follow.
const VERSION: &str = "8.11.0";

/// The names of the users in an event, if they are known.
#[derive(Default)]
pub(super) struct Names {
    /// The name of the actor.
    pub(super) actor: Option<String>,
    /// The name of the subject.
    pub(super) subject: Option<String>,
}

/// Returns an event as an ECS document.
pub(super) fn document(row: &AuditRow, names: Names) -> Value {
    let (categories, types) = kind(&row.event);
    let mut document = json!({
        "@timestamp": time(row),
        "ecs": {"version": VERSION},
        "event": {
            "module": "bulla", "dataset": "bulla.audit", "kind": "event", "action": row.event.as_str(), "sequence": row.seq,
            "severity": severity(&row.event), "category": categories, "type": types, "outcome": outcome(&row.event),
        },
        "bulla": {"actor": row.actor, "subject": row.subject, "detail": row.detail},
    });
    if let Actor::User(id) = &row.actor {
        document["user"]["id"] = id.as_str().into();
        if let Some(name) = names.actor {
            document["user"]["name"] = name.into();
        }
    }
    if is_about_user(&row.event) && !row.subject.is_empty() {
        document["user"]["target"]["id"] = row.subject.as_str().into();
        if let Some(name) = names.subject {
            document["user"]["target"]["name"] = name.into();
        }
    }
    let detail = |field: &str| row.detail[field].as_str().filter(|text| !text.is_empty());
    if let Some(address) = detail("ip") {
        document["source"] = json!({"address": address});
        if address.parse::<std::net::IpAddr>().is_ok() {
            document["source"]["ip"] = address.into();
        }
    }
    if let Some(agent) = detail("user_agent") {
        document["user_agent"] = json!({"original": agent});
    }
    document
}

/// The time with milliseconds, in RFC 3339.
fn time(row: &AuditRow) -> String {
    let seconds = row.at.to_string();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), row.at.millis().rem_euclid(1000))
}

/// Whether the subject of the event is the id of a user.
pub(super) const fn is_about_user(event: &Event) -> bool {
    matches!(
        event,
        Event::PasswordChanged
            | Event::UserAdded
            | Event::UserChanged
            | Event::UserEnabled
            | Event::UserDisabled
            | Event::UserDeleted
            | Event::IdentityLinked
            | Event::IdentityUnlinked
    )
}

const fn severity(event: &Event) -> u8 {
    match event {
        Event::RefreshReuse => 1,
        Event::LoginThrottled
        | Event::ClientThrottled
        | Event::RefreshForward
        | Event::KeyRevoked
        | Event::KeyExported => 4,
        Event::Login
        | Event::Logout
        | Event::LogoutEverywhere
        | Event::RefreshPardon
        | Event::StreamsCut
        | Event::ServiceIssued
        | Event::Other(_) => 6,
        _ => 5,
    }
}

const fn outcome(event: &Event) -> &'static str {
    match event {
        Event::LoginFailed
        | Event::LoginThrottled
        | Event::ClientFailed
        | Event::ClientThrottled
        | Event::RefreshReuse => "failure",
        Event::Other(_) => "unknown",
        _ => "success",
    }
}

/// The values of `event.category` and `event.type`.
const fn kind(event: &Event) -> (&'static [&'static str], &'static [&'static str]) {
    match event {
        Event::Login => (&["authentication", "session"], &["start"]),
        Event::LoginFailed
        | Event::LoginThrottled
        | Event::ClientFailed
        | Event::ClientThrottled
        | Event::ServiceIssued => (&["authentication"], &["start"]),
        Event::Logout
        | Event::LogoutEverywhere
        | Event::SessionRevoked
        | Event::RefreshReuse
        | Event::ServiceRevoked => (&["session"], &["end"]),
        Event::RefreshForward | Event::RefreshPardon | Event::RefreshMoved | Event::StreamsCut => {
            (&["session"], &["info"])
        }
        Event::UserAdded => (&["iam"], &["user", "creation"]),
        Event::UserDeleted => (&["iam"], &["user", "deletion"]),
        Event::PasswordChanged
        | Event::UserChanged
        | Event::UserEnabled
        | Event::UserDisabled
        | Event::IdentityLinked
        | Event::IdentityUnlinked => (&["iam"], &["user", "change"]),
        Event::ClientAdded => (&["iam"], &["creation"]),
        Event::ClientDeleted => (&["iam"], &["deletion"]),
        Event::ClientChanged | Event::ClientSecret | Event::ClientEnabled | Event::ClientDisabled => {
            (&["iam"], &["change"])
        }
        Event::KeyRotated
        | Event::KeyRevoked
        | Event::KeyNotBefore
        | Event::KeyExported
        | Event::DatabaseMigrated => (&["configuration"], &["change"]),
        Event::Other(_) => (&[], &["info"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn row(event: Event, actor: &str, subject: &str, detail: Value) -> AuditRow {
        let at = Timestamp::from_millis(1_790_000_000_007);
        AuditRow { seq: 12, at, event, actor: Actor::read(actor), subject: subject.into(), detail }
    }

    #[test]
    fn a_login_names_the_person_the_address_and_the_agent() {
        let detail = json!({"ip": "192.0.2.7", "user_agent": "Firefox"});
        let names = Names { actor: Some("ada".into()), subject: None };
        let document = document(&row(Event::Login, "7", "sid", detail.clone()), names);
        let expected = json!({
            "@timestamp": "2026-09-21T14:13:20.007Z",
            "ecs": {"version": "8.11.0"},
            "event": {
                "module": "bulla", "dataset": "bulla.audit", "kind": "event", "action": "login", "sequence": 12,
                "severity": 6, "category": ["authentication", "session"], "type": ["start"], "outcome": "success",
            },
            "user": {"id": "7", "name": "ada"},
            "source": {"address": "192.0.2.7", "ip": "192.0.2.7"},
            "user_agent": {"original": "Firefox"},
            "bulla": {"actor": "7", "subject": "sid", "detail": detail},
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn the_user_that_an_event_is_about_is_the_target() {
        let names = Names { actor: None, subject: Some("bob".into()) };
        let document = document(&row(Event::UserDeleted, "cli:root", "9", json!({"ip": "unix:"})), names);
        assert_eq!(document["user"], json!({"target": {"id": "9", "name": "bob"}}));
        assert_eq!(document["source"], json!({"address": "unix:"}), "source.ip is an address of IP only");
        assert_eq!(document["bulla"]["actor"], "cli:root");
    }

    #[test]
    fn every_known_event_has_a_category_and_only_known_events_have_an_outcome() {
        for event in Event::ALL {
            assert!(!kind(event).0.is_empty(), "{event}");
            assert_ne!(outcome(event), "unknown", "{event}");
        }
        assert_eq!(outcome(&Event::read("order.paid")), "unknown");
    }
}
