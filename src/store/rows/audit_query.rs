//! Which rows of the audit log a query asks for, and how the filters are written as text.

use super::{AuditRow, Event};
use crate::{clock::Timestamp, ids::UserId};

/// The most rows of one page of the audit log.
pub const AUDIT_PAGE_MAX: u32 = 1000;

/// Which rows of the audit log are read. A filter that is `None` accepts every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    /// The earliest time of an event; this time is included.
    pub since: Option<Timestamp>,
    /// The time before which an event must have happened; this time is not included.
    pub until: Option<Timestamp>,
    /// The user who is the actor or the subject of an event.
    pub user: Option<UserId>,
    /// The kind of event.
    pub event: Option<Event>,
    /// With the `seq` of a row: the rows after this row, from the oldest; with 0, from the start. Without: the newest rows.
    pub after: Option<i64>,
    /// The most rows that are returned.
    pub limit: u32,
}

impl AuditQuery {
    /// The newest `limit` rows.
    pub const fn newest(limit: u32) -> Self {
        Self { since: None, until: None, user: None, event: None, after: None, limit }
    }

    /// Whether the query has a filter.
    pub const fn is_filtered(&self) -> bool {
        self.since.is_some() || self.until.is_some() || self.user.is_some() || self.event.is_some()
    }

    /// Whether a row passes the filters.
    pub fn matches(&self, row: &AuditRow) -> bool {
        let is_about = |id: &UserId| row.subject == id.as_str() || row.actor == *id.as_str();
        self.since.is_none_or(|since| row.at >= since)
            && self.until.is_none_or(|until| row.at < until)
            && self.user.as_ref().is_none_or(is_about)
            && self.event.as_ref().is_none_or(|event| row.event == *event)
    }

    /// The first `limit` rows with a `seq` greater than `after`.
    pub const fn after(after: i64, limit: u32) -> Self {
        Self { since: None, until: None, user: None, event: None, after: Some(after), limit }
    }
}

/// Reads a time as a filter of the audit log gives it: in the form `2026-11-20T19:00:00Z`, or as Unix milliseconds.
pub fn read_audit_time(text: &str) -> Option<Timestamp> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match is_number {
        true => text.parse().ok().filter(|millis| *millis < 1 << 53).map(Timestamp::from_millis),
        false => text.parse().ok(),
    }
}

/// Reads a kind of event as a filter of the audit log gives it. Kinds that this version does not know are accepted, because a
/// newer version or an embedding program writes them.
pub fn read_audit_event(text: &str) -> Option<Event> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
    };
    (text.len() <= 64 && text.split('.').all(is_word)).then(|| Event::read(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_filter_is_rfc_3339_or_unix_milliseconds() {
        let time = Timestamp::from_millis(1_790_000_000_000);
        assert_eq!(read_audit_time("2026-09-21T14:13:20Z"), Some(time));
        assert_eq!(read_audit_time("1790000000000"), Some(time));
        for bad in ["", "yesterday", "-5", "2026-09-21", "99999999999999999999", "9007199254740992", "1.5"] {
            assert_eq!(read_audit_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_event_filter_is_words_with_dots_and_may_be_an_unknown_kind() {
        assert_eq!(read_audit_event("login.failed"), Some(Event::LoginFailed));
        assert_eq!(read_audit_event("key.not_before"), Some(Event::KeyNotBefore));
        assert_eq!(read_audit_event("order.paid"), Some(Event::read("order.paid")));
        let long = "x".repeat(65);
        for bad in ["", "login.", "Login", "login failed", "login.*", &*long] {
            assert_eq!(read_audit_event(bad), None, "{bad}");
        }
    }
}
