//! Audit events, and the rows that the store makes of them.

use super::{Actor, Caller, Event};
use crate::clock::Timestamp;

/// An audit event, before the store adds number and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// The kind of event.
    pub event: Event,
    /// The person or program that caused the event.
    pub actor: Actor,
    /// The object of the event: a sid, a user id, a kid.
    pub subject: String,
    /// The evidence, a JSON object. Contains no secrets.
    pub detail: serde_json::Value,
    /// The caller of the change. The methods that change users, clients and identities, or end sessions, check in their
    /// transaction that the caller still has the right to make the change. Otherwise they write nothing and fail with
    /// [`StoreError::CallerEnded`](crate::store::StoreError::CallerEnded). This field is not stored.
    pub by: Option<Caller>,
}

impl AuditEvent {
    /// Creates an event without evidence.
    pub fn new(event: Event, actor: impl Into<Actor>, subject: impl Into<String>) -> Self {
        let (actor, subject) = (actor.into(), subject.into());
        Self { event, actor, subject, detail: serde_json::json!({}), by: None }
    }

    /// Sets the caller, whose right to make the change the store checks.
    #[must_use]
    pub fn by(mut self, caller: Caller) -> Self {
        self.by = Some(caller);
        self
    }

    /// Sets the evidence.
    #[must_use]
    pub fn with(mut self, detail: serde_json::Value) -> Self {
        self.detail = detail;
        self
    }

    /// Returns the same event with another subject.
    pub(in crate::store) fn about(&self, subject: impl std::fmt::Display) -> Self {
        Self { subject: subject.to_string(), ..self.clone() }
    }
}

/// A row of `audit`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct AuditRow {
    /// The number of the row, never used twice.
    pub seq: i64,
    /// The time of the event.
    pub at: Timestamp,
    /// The kind of event.
    pub event: Event,
    /// The actor.
    pub actor: Actor,
    /// The object of the event.
    pub subject: String,
    /// The evidence.
    pub detail: serde_json::Value,
}

/// Returns the address in the `detail` of a `login` event. `None` for a client's session, because that event has the client's
/// address, not the person's.
pub(in crate::store) fn login_address(detail: &str) -> Option<String> {
    let detail: serde_json::Value = serde_json::from_str(detail).ok()?;
    detail["client"].is_null().then(|| detail["ip"].as_str().map(str::to_owned)).flatten()
}
