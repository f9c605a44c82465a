//! The filtered lists of sessions and users. A list is read page by page: the key of the last row of a page is where the next page
//! begins, so rows that are added or removed meanwhile shift no page.

use std::{fmt, str::FromStr};

use crate::{
    clock::Timestamp,
    ids::{Sid, UserId},
    store::{SessionRow, UserRow},
};

/// Selects one page of the live sessions, newest first. A filter that is `None` admits every session. In `agent` the case of the
/// letters A to Z makes no difference.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    /// Only the sessions of this user.
    pub user: Option<UserId>,
    /// Only the sessions with this address.
    pub ip: Option<String>,
    /// Only the sessions whose user agent contains this text.
    pub agent: Option<String>,
    /// The key of the last row of the page before.
    pub after: Option<SessionKey>,
    /// The largest number of rows.
    pub limit: u32,
}

/// The position of a session in the list of sessions, also after the session has ended. Its text is the time at which the session
/// began, in Unix milliseconds, a dot, and the sid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionKey {
    /// The time at which the session began.
    pub created_at: Timestamp,
    /// The id of the session.
    pub sid: Sid,
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_at.millis(), self.sid)
    }
}

/// The text is not the key of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the key that the page before gave for the next page")]
pub struct BadSessionKey;

impl FromStr for SessionKey {
    type Err = BadSessionKey;

    fn from_str(text: &str) -> Result<Self, BadSessionKey> {
        let (time, sid) = text.split_once('.').ok_or(BadSessionKey)?;
        let created_at = Timestamp::from_millis(time.parse().map_err(|_| BadSessionKey)?);
        let key = Self { created_at, sid: sid.parse().map_err(|_| BadSessionKey)? };
        if key.to_string() == text { Ok(key) } else { Err(BadSessionKey) }
    }
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// The row of the session.
    pub row: SessionRow,
    /// The name of the user. `None` if the user has no row in `users`, as the users of an embedding program.
    pub user_name: Option<String>,
}

impl ListedSession {
    /// The position of the session in the list.
    pub fn key(&self) -> SessionKey {
        SessionKey { created_at: self.row.created_at, sid: self.row.sid }
    }

    /// Returns the JSON view for programs: that of the row, and `user_name`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut shown = self.row.to_json();
        shown["user_name"] = self.user_name.as_deref().into();
        shown
    }
}

/// One page of the list of sessions.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// The sessions of the page, newest first.
    pub sessions: Vec<ListedSession>,
    /// The key for the next page. `None` if this is the last page.
    pub next: Option<SessionKey>,
    /// The number of rows among them that can't be read and are skipped.
    pub skipped: usize,
    /// The store's time of the read.
    pub now: Timestamp,
}

impl SessionPage {
    /// Makes a page of rows that were read with one row more than `limit`.
    pub(in crate::store) fn new(
        (mut sessions, skipped): (Vec<ListedSession>, usize),
        limit: u32,
        now: Timestamp,
    ) -> Self {
        let more = cut(&mut sessions, limit);
        let next = sessions.last().filter(|_| more).map(ListedSession::key);
        Self { sessions, next, skipped, now }
    }
}

/// Selects one page of the users, in the order of their ids. A filter that is `None` admits every user. In `name` the case of the
/// letters A to Z makes no difference.
#[derive(Clone, Debug, Default)]
pub struct UserQuery {
    /// Only the users with this role.
    pub role: Option<String>,
    /// Only the users whose name contains this text.
    pub name: Option<String>,
    /// Only the users that are disabled, or only those that are not.
    pub disabled: Option<bool>,
    /// The id of the last row of the page before.
    pub after: Option<UserId>,
    /// The largest number of rows.
    pub limit: u32,
}

impl UserQuery {
    /// The text that `users.roles` contains if the user has the role. Other rows may contain it too.
    pub(in crate::store) fn role_text(&self) -> Option<String> {
        self.role.as_ref().map(|role| serde_json::Value::from(role.as_str()).to_string())
    }

    /// Makes a page of rows that were read with one row more than the limit.
    pub(in crate::store) fn page(&self, (mut users, skipped): (Vec<UserRow>, usize)) -> UserPage {
        let more = cut(&mut users, self.limit);
        let next = users.last().filter(|_| more).map(|row| row.id.clone());
        if let Some(role) = &self.role {
            users.retain(|row| row.roles.contains(role));
        }
        UserPage { users, next, skipped }
    }
}

/// One page of the list of users.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The users of the page, in the order of their ids.
    pub users: Vec<UserRow>,
    /// The id after which the next page begins. `None` if this is the last page.
    pub next: Option<UserId>,
    /// The number of rows among them that can't be read and are skipped.
    pub skipped: usize,
}

/// Cuts rows to the limit. Returns whether there were more.
fn cut<T>(rows: &mut Vec<T>, limit: u32) -> bool {
    let limit = limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_key_is_read_back_and_no_other_text_is_a_key() {
        let key = SessionKey { created_at: Timestamp::from_millis(1_764_339_000_123), sid: Sid([7; 16]) };
        assert_eq!(key.to_string().parse(), Ok(key));
        let sid = key.sid;
        for bad in [
            String::new(),
            sid.to_string(),
            format!(".{sid}"),
            format!("+1.{sid}"),
            format!("01.{sid}"),
            format!("1.{sid} "),
            format!("1,{sid}"),
            "1.short".to_owned(),
        ] {
            assert_eq!(bad.parse::<SessionKey>(), Err(BadSessionKey), "{bad}");
        }
    }
}
