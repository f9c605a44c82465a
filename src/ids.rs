//! Types for names: ids of keys, sessions, users and clients, purposes and audiences. Each type holds valid values only.

mod scope;
pub(crate) mod shell;

use std::{fmt, str::FromStr};

pub use scope::Scope;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use base64_simd::Out;

use crate::secret::{self, NoRandomness};

/// The text is not a valid name of this type. `Display` states the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {rule}")]
pub struct BadName {
    what: &'static str,
    rule: &'static str,
}

/// Key id: the public name of a root key; 4 bytes, written as 8 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid(pub [u8; 4]);

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kid({self})")
    }
}

impl FromStr for Kid {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let digits = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u32::from_str_radix(text, 16) {
            Ok(number) if digits => Ok(Self(number.to_be_bytes())),
            _ => Err(BadName { what: "key id", rule: "8 lower-case hex digits" }),
        }
    }
}

/// Session id: 16 random bytes, written as 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid(pub [u8; 16]);

impl Sid {
    /// A new random id, from the operating system's generator.
    ///
    /// # Errors
    ///
    /// The operating system's random generator failed.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 16];
        secret::random(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 22];
        match URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map(|_| std::str::from_utf8(&text)) {
            Ok(Ok(text)) => f.write_str(text),
            _ => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({self})")
    }
}

impl FromStr for Sid {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = BadName { what: "session id", rule: "22 characters of base64url" };
        let mut bytes = [0; 16];
        if text.len() != 22 {
            return Err(bad);
        }
        // Every access token is parsed here. This decoder is as strict as `base64` and takes a third of its time.
        base64_simd::URL_SAFE_NO_PAD.decode(text.as_bytes(), Out::from_slice(&mut bytes)).map_err(|_| bad)?;
        Ok(Self(bytes))
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// A name from its text.
            ///
            /// # Errors
            ///
            /// [`BadName`] if the text breaks the rule of this type.
            pub fn new(text: impl Into<String>) -> Result<Self, BadName> {
                let text = text.into();
                let valid: fn(&[u8]) -> bool = $valid;
                if valid(text.as_bytes()) { Ok(Self(text)) } else { Err(BadName { what: $what, rule: $rule }) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::new(text)
            }
        }
    };
}

text_id!(
    /// The user of a session: `users.id` as text, or the id of a user in an embedding program.
    UserId, "user id", "1 to 255 bytes", |b| (1..=255).contains(&b.len())
);

impl UserId {
    /// Reads the id of a row in `users`: a positive number without leading zeros.
    #[cfg(feature = "actix")]
    pub(crate) fn of_row(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &i64| *number > 0 && number.to_string() == text)?;
        Self::new(text).ok()
    }

    /// A placeholder for the user of a row that can't be read. No token contains it.
    #[cfg(feature = "sessions")]
    pub(crate) fn unknown() -> Self {
        Self(String::from("\u{fffd}"))
    }
}

text_id!(
    /// The purpose of a token; selects the key. `[a-z][a-z0-9-]{0,31}`.
    Purpose, "purpose", "a lower-case letter, then at most 31 lower-case letters, digits or hyphens",
    |b| b.len() <= 32
        && b.first().is_some_and(u8::is_ascii_lowercase)
        && b.iter().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-'))
);

impl Purpose {
    /// Access tokens of persons and apps: `access`.
    pub fn access() -> Self {
        Self("access".into())
    }
    /// Refresh tokens: `refresh`.
    pub fn refresh() -> Self {
        Self("refresh".into())
    }
    /// Access tokens of machines: `service`.
    pub fn service() -> Self {
        Self("service".into())
    }
    /// The state of a login at a provider: `login`.
    pub fn login() -> Self {
        Self("login".into())
    }
    /// Authorization codes of OAuth: `code`.
    pub fn code() -> Self {
        Self("code".into())
    }
}

text_id!(
    /// The audience of a token; selects the key. Empty (the server itself) or `[a-z0-9][a-z0-9.-]{0,63}`.
    Audience, "audience", "empty, or a lower-case letter or digit, then at most 63 lower-case letters, digits, dots or hyphens",
    |b| b.is_empty()
        || b.len() <= 64
            && !matches!(b[0], b'.' | b'-')
            && b.iter().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
);

text_id!(
    /// The id of an OAuth client. An id is never assigned twice.
    ClientId, "client id", "a letter or digit, then at most 63 letters, digits, dots, hyphens or underscores",
    |b| b.len() <= 64
        && b.first().is_some_and(u8::is_ascii_alphanumeric)
        && b.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'))
);

impl ClientId {
    /// A new random id: 16 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// The operating system's random generator failed.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 8];
        secret::random(&mut bytes)?;
        Ok(Self(format!("{:016x}", u64::from_be_bytes(bytes))))
    }
}

impl Audience {
    /// The server itself: the empty audience.
    pub fn own() -> Self {
        Self(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_were_written() {
        assert_eq!("d3e3dad3".parse(), Ok(Kid([0xd3, 0xe3, 0xda, 0xd3])));
        assert_eq!(Kid([0, 0, 0, 1]).to_string(), "00000001");
        let sid = Sid::generate().unwrap();
        assert_eq!(sid.to_string().parse(), Ok(sid));
        assert_eq!(sid.to_string().len(), 22);
    }

    #[test]
    fn each_id_has_only_one_accepted_spelling() {
        for bad in ["", "D3E3DAD3", "d3e3dad", "d3e3dad33", "+3e3dad3", "d3e3dadg"] {
            assert!(bad.parse::<Kid>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAA+A",
        ] {
            assert!(bad.parse::<Sid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn purposes_and_audiences_accept_only_their_alphabets() {
        for good in ["access", "a", "my-own-2"] {
            assert!(Purpose::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Access", "2a", "-a", "a.b", "a\0b", &"a".repeat(33)] {
            assert!(Purpose::new(bad).is_err(), "{bad}");
        }
        for good in ["", "billing", "shop.example", "4"] {
            assert!(Audience::new(good).is_ok(), "{good}");
        }
        for bad in [".a", "-a", "A", "a b", "a\0", &"a".repeat(65)] {
            assert!(Audience::new(bad).is_err(), "{bad}");
        }
        let fresh = ClientId::generate().unwrap();
        for good in ["a", "My_app-2.x", fresh.as_str()] {
            assert!(ClientId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_", "a:b", "a b", "é", &"a".repeat(65)] {
            assert!(ClientId::new(bad).is_err(), "{bad}");
        }
    }
}
