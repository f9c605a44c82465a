//! The SQL statement for a query of the audit log, for both databases.
//!
//! Without filters, rows come in the order of `seq`. With filters, they come in the order of `at`, then `seq`: this is the order of
//! the index of each filter, so a page is read along one index. The `+` before a column keeps SQLite from using another index.

use std::fmt::Write as _;

use crate::{clock::Timestamp, store::AuditQuery};

/// The columns of a row of the audit log, in order.
pub(in crate::store) const AUDIT_COLUMNS: &str = "seq, at, event, actor, subject, detail";

/// A value of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Value {
    Number(i64),
    Text(String),
}

/// How a database writes the parts in which the two differ.
pub(in crate::store) struct Dialect {
    /// The character before the number of a value.
    pub(in crate::store) sign: char,
    /// The operator that keeps the database from using an index of a text column.
    pub(in crate::store) plus: &'static str,
    /// The condition on the column `event`. `{}` is the place of the value.
    pub(in crate::store) event: &'static str,
    /// The condition on the column `actor`.
    pub(in crate::store) actor: &'static str,
    /// The condition on the column `subject`.
    pub(in crate::store) subject: &'static str,
}

/// A statement without its limit, and its values. Without [`AuditQuery::after`], the newest row comes first.
pub(in crate::store) struct Select {
    pub(in crate::store) sql: String,
    pub(in crate::store) values: Vec<Value>,
    sign: char,
}

impl Select {
    /// Builds the statement. `settled` is one more condition that every row must meet.
    pub(in crate::store) fn new(query: &AuditQuery, dialect: &Dialect, settled: Option<&str>) -> Self {
        let mut select = Self { sql: String::new(), values: Vec::new(), sign: dialect.sign };
        let mut common = settled.map(|settled| format!(" AND {settled}")).unwrap_or_default();
        if let Some(after) = query.after {
            let after = select.place(Value::Number(after));
            match query.is_filtered() {
                true => {
                    // The row can be gone: then the sweep has deleted it and all earlier rows, and the page starts at `since`.
                    let at = format!("(SELECT at FROM audit WHERE seq = {after})");
                    let start = query.since.map_or(i64::MIN + 1, Timestamp::millis);
                    let start = select.place(Value::Number(start));
                    let _ = write!(common, " AND (at, seq) > (coalesce({at}, {start}), {after})");
                }
                false => {
                    let _ = write!(common, " AND seq > {after}");
                }
            }
        }
        for (sign, time) in [(">=", query.since), ("<", query.until)] {
            if let Some(time) = time {
                let time = select.place(Value::Number(time.millis()));
                let _ = write!(common, " AND at {sign} {time}");
            }
        }
        select.sql = select.kinds_and_users(query, dialect, common);
        let direction = if query.after.is_some() { "" } else { " DESC" };
        let time = if query.is_filtered() { format!("at{direction}, ") } else { String::new() };
        let _ = write!(select.sql, " ORDER BY {time}seq{direction}");
        select
    }

    /// Adds a value and returns its place in the statement.
    pub(in crate::store) fn place(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("{}{}", self.sign, self.values.len())
    }

    /// The statement without its order. The rows in which a user is the actor and those in which the user is only the subject come
    /// from two indexes; the database merges them.
    fn kinds_and_users(&mut self, query: &AuditQuery, dialect: &Dialect, mut common: String) -> String {
        let event = query.event.as_ref().map(|event| self.place(Value::Text(event.to_string())));
        let (first, plus) = (format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE"), dialect.plus);
        let Some(user) = &query.user else {
            let event = event.map_or("true".into(), |event| dialect.event.replace("{}", &event));
            return format!("{first} {event}{common}");
        };
        if let Some(event) = event {
            let _ = write!(common, " AND {plus}event = {event}");
        }
        let user = self.place(Value::Text(user.to_string()));
        let (actor, subject) = (dialect.actor.replace("{}", &user), dialect.subject.replace("{}", &user));
        format!("{first} {actor}{common} UNION ALL {first} {subject} AND {plus}actor <> {user}{common}")
    }
}
