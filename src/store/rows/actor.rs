//! The actors of audit events.

use std::{convert::Infallible, fmt, str::FromStr};

use crate::ids::{ClientId, UserId};

/// The person or program that caused an audit event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Actor {
    /// A user.
    User(UserId),
    /// An OAuth client.
    Client(ClientId),
    /// A system user who ran a command, with the user who called `sudo` if there is one: `root(sudo:ada)`.
    Command(String),
    /// A provider that people log in with, by its name.
    Provider(String),
    /// The server.
    System,
    /// An unauthenticated person or program.
    Unknown,
    /// A text that this version can't read: a newer version has written it, or a person.
    Other(String),
}

impl Actor {
    /// Reads the text in the database. A text that can't be read is kept as [`Self::Other`].
    pub fn read(text: &str) -> Self {
        let other = || Self::Other(text.to_owned());
        match text.split_once(':') {
            Some(("cli", user)) => Self::Command(user.to_owned()),
            Some(("provider", name)) => Self::Provider(name.to_owned()),
            Some(("client", id)) => ClientId::new(id).map_or_else(|_| other(), Self::Client),
            _ if text.is_empty() => Self::Unknown,
            _ if text == "system" => Self::System,
            _ => UserId::new(text).map_or_else(|_| other(), Self::User),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Client(id) => write!(f, "client:{id}"),
            Self::Command(user) => write!(f, "cli:{user}"),
            Self::Provider(name) => write!(f, "provider:{name}"),
            Self::System => f.write_str("system"),
            Self::Unknown => Ok(()),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl FromStr for Actor {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::read(text))
    }
}

impl From<&UserId> for Actor {
    fn from(id: &UserId) -> Self {
        Self::User(id.clone())
    }
}

impl From<&ClientId> for Actor {
    fn from(id: &ClientId) -> Self {
        Self::Client(id.clone())
    }
}

impl serde::Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialEq<str> for Actor {
    fn eq(&self, other: &str) -> bool {
        let text = self.to_string();
        text == other
    }
}

impl PartialEq<&str> for Actor {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_actor_is_read_back_and_a_text_that_is_no_actor_is_kept() {
        let long = "x".repeat(256);
        for (text, actor) in [
            ("7", Actor::User(UserId::new("7").unwrap())),
            ("client:app", Actor::Client(ClientId::new("app").unwrap())),
            ("cli:root(sudo:ada)", Actor::Command("root(sudo:ada)".into())),
            ("provider:google", Actor::Provider("google".into())),
            ("system", Actor::System),
            ("", Actor::Unknown),
            (&*long, Actor::Other(long.clone())),
            ("client:", Actor::Other("client:".into())),
        ] {
            assert_eq!(Actor::read(text), actor);
            assert_eq!(actor.to_string(), text);
        }
    }
}
