//! The kinds of audit events.

use crate::text_names::text_names;

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

text_names!(Event {
    Login = "login",
    LoginFailed = "login.failed",
    LoginThrottled = "login.throttled",
    Logout = "logout",
    LogoutEverywhere = "logout.everywhere",
    SessionRevoked = "session.revoked",
    RefreshReuse = "refresh.reuse",
    RefreshForward = "refresh.forward",
    RefreshPardon = "refresh.pardon",
    RefreshMoved = "refresh.moved",
    StreamsCut = "streams.cut",
    PasswordChanged = "password.changed",
    UserAdded = "user.added",
    UserChanged = "user.changed",
    UserEnabled = "user.enabled",
    UserDisabled = "user.disabled",
    UserDeleted = "user.deleted",
    IdentityLinked = "identity.linked",
    IdentityUnlinked = "identity.unlinked",
    ClientAdded = "client.added",
    ClientChanged = "client.changed",
    ClientSecret = "client.secret",
    ClientEnabled = "client.enabled",
    ClientDisabled = "client.disabled",
    ClientDeleted = "client.deleted",
    ClientFailed = "client.failed",
    ClientThrottled = "client.throttled",
    ServiceIssued = "service.issued",
    ServiceRevoked = "service.revoked",
    KeyRotated = "key.rotated",
    KeyRevoked = "key.revoked",
    KeyNotBefore = "key.not_before",
    KeyExported = "key.exported",
    DatabaseMigrated = "database.migrated",
} or Other);

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
        for known in Event::ALL {
            assert_eq!(Event::read(known.as_str()), *known);
        }
        assert_eq!(Event::read("user.renamed"), Event::Other("user.renamed".into()));
        assert_eq!(Event::read("user.renamed").to_string(), "user.renamed");
        assert_eq!(format!("{:<8}|", Event::Login), "login   |");
    }
}
