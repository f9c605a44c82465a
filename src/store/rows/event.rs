//! The kinds of audit events.

use std::{convert::Infallible, fmt, str::FromStr};

/// The kind of an audit event. Its text is words with dots: `login`, `refresh.reuse`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// A session began after a person authenticated.
    Login,
    /// A person or a provider failed to authenticate.
    LoginFailed,
    /// The throttle refused a login.
    LoginThrottled,
    /// A person ended their session.
    Logout,
    /// A person ended all their sessions.
    LogoutEverywhere,
    /// A session was ended by another action than a logout.
    SessionRevoked,
    /// An outdated refresh token was used again, and its session ended.
    RefreshReuse,
    /// A refresh token was ahead of its row.
    RefreshForward,
    /// An outdated refresh token was accepted once more.
    RefreshPardon,
    /// A session was renewed from another address or agent than before.
    RefreshMoved,
    /// The gateway ended streams because their session had ended.
    StreamsCut,
    /// A password was set.
    PasswordChanged,
    /// A user was added.
    UserAdded,
    /// The roles or claims of a user were changed.
    UserChanged,
    /// A user was enabled.
    UserEnabled,
    /// A user was disabled.
    UserDisabled,
    /// A user was deleted.
    UserDeleted,
    /// An identity at a provider was linked to a user.
    IdentityLinked,
    /// An identity at a provider was unlinked from a user.
    IdentityUnlinked,
    /// An OAuth client was added.
    ClientAdded,
    /// An OAuth client was changed.
    ClientChanged,
    /// An OAuth client got a new secret.
    ClientSecret,
    /// An OAuth client was enabled.
    ClientEnabled,
    /// An OAuth client was disabled.
    ClientDisabled,
    /// An OAuth client was deleted.
    ClientDeleted,
    /// An OAuth client failed to authenticate.
    ClientFailed,
    /// The throttle refused an OAuth client.
    ClientThrottled,
    /// A client got a service token.
    ServiceIssued,
    /// A service token was revoked.
    ServiceRevoked,
    /// The root keys were rotated.
    KeyRotated,
    /// One root key or all of them were revoked.
    KeyRevoked,
    /// The time before which no token is accepted was set.
    KeyNotBefore,
    /// A derived key was exported.
    KeyExported,
    /// The data of another database was imported.
    DatabaseMigrated,
    /// A kind that this version does not know: a newer version has written it, or a person.
    Other(Box<str>),
}

impl Event {
    /// The kinds that this version writes.
    const KNOWN: [Self; 34] = [
        Self::Login,
        Self::LoginFailed,
        Self::LoginThrottled,
        Self::Logout,
        Self::LogoutEverywhere,
        Self::SessionRevoked,
        Self::RefreshReuse,
        Self::RefreshForward,
        Self::RefreshPardon,
        Self::RefreshMoved,
        Self::StreamsCut,
        Self::PasswordChanged,
        Self::UserAdded,
        Self::UserChanged,
        Self::UserEnabled,
        Self::UserDisabled,
        Self::UserDeleted,
        Self::IdentityLinked,
        Self::IdentityUnlinked,
        Self::ClientAdded,
        Self::ClientChanged,
        Self::ClientSecret,
        Self::ClientEnabled,
        Self::ClientDisabled,
        Self::ClientDeleted,
        Self::ClientFailed,
        Self::ClientThrottled,
        Self::ServiceIssued,
        Self::ServiceRevoked,
        Self::KeyRotated,
        Self::KeyRevoked,
        Self::KeyNotBefore,
        Self::KeyExported,
        Self::DatabaseMigrated,
    ];

    /// Returns the text in the database.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Login => "login",
            Self::LoginFailed => "login.failed",
            Self::LoginThrottled => "login.throttled",
            Self::Logout => "logout",
            Self::LogoutEverywhere => "logout.everywhere",
            Self::SessionRevoked => "session.revoked",
            Self::RefreshReuse => "refresh.reuse",
            Self::RefreshForward => "refresh.forward",
            Self::RefreshPardon => "refresh.pardon",
            Self::RefreshMoved => "refresh.moved",
            Self::StreamsCut => "streams.cut",
            Self::PasswordChanged => "password.changed",
            Self::UserAdded => "user.added",
            Self::UserChanged => "user.changed",
            Self::UserEnabled => "user.enabled",
            Self::UserDisabled => "user.disabled",
            Self::UserDeleted => "user.deleted",
            Self::IdentityLinked => "identity.linked",
            Self::IdentityUnlinked => "identity.unlinked",
            Self::ClientAdded => "client.added",
            Self::ClientChanged => "client.changed",
            Self::ClientSecret => "client.secret",
            Self::ClientEnabled => "client.enabled",
            Self::ClientDisabled => "client.disabled",
            Self::ClientDeleted => "client.deleted",
            Self::ClientFailed => "client.failed",
            Self::ClientThrottled => "client.throttled",
            Self::ServiceIssued => "service.issued",
            Self::ServiceRevoked => "service.revoked",
            Self::KeyRotated => "key.rotated",
            Self::KeyRevoked => "key.revoked",
            Self::KeyNotBefore => "key.not_before",
            Self::KeyExported => "key.exported",
            Self::DatabaseMigrated => "database.migrated",
            Self::Other(text) => text,
        }
    }

    /// Reads the text in the database. An unknown text is kept as [`Self::Other`].
    pub fn read(text: &str) -> Self {
        let known = Self::KNOWN.into_iter().find(|known| known.as_str() == text);
        known.unwrap_or_else(|| Self::Other(text.into()))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Event {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::read(text))
    }
}

impl serde::Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl PartialEq<str> for Event {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Event {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_event_is_read_back_and_an_unknown_text_is_kept() {
        for known in Event::KNOWN {
            assert_eq!(Event::read(known.as_str()), known);
        }
        assert_eq!(Event::read("user.renamed"), Event::Other("user.renamed".into()));
        assert_eq!(Event::read("user.renamed").to_string(), "user.renamed");
        assert_eq!(format!("{:<8}|", Event::Login), "login   |");
    }
}
