//! Seal and open.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    ids::{Audience, Kid, Purpose},
    keyring::Ring,
};

/// A token's text as it came from outside or goes there: untrusted until opened. `Debug` doesn't print it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedToken(String);

impl SealedToken {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, taken out.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedToken(…)")
    }
}

/// What a verified token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<T> {
    /// The key it was sealed under.
    pub kid: Kid,
    /// When it was sealed.
    pub issued_at: Timestamp,
    /// Its payload.
    pub payload: T,
}

impl<'b> Opened<&'b str> {
    /// Reads the JSON payload as a `T`; a payload of another shape is refused.
    pub fn parse<T: serde::Deserialize<'b>>(self) -> Result<Opened<T>, Refused> {
        todo!()
    }
}

/// Why a token was refused. For metrics and `trace` logs only: `Display` says one thing for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("token refused")]
#[non_exhaustive]
pub enum Refused {
    /// Not 58 to 4096 characters.
    Length,
    /// Not exact base64url.
    Encoding,
    /// Not one of the three magics.
    Magic,
    /// No such key, or one that doesn't open.
    UnknownKey,
    /// Another suite's letter than the key's.
    Suite,
    /// The tag doesn't fit.
    Tag,
    /// Sealed more than the skew ahead.
    Future,
    /// `max_age` or older.
    Expired,
    /// Sealed before the ring's `not_before`.
    NotBefore,
    /// Not one strict JSON object, or not of the shape asked for.
    Payload,
}

impl Refused {
    /// A word for a metric's label: `length`, `encoding`, `magic`, `unknown_key`, `suite`, `tag`, `future`, `expired`, `not_before`, `payload`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Encoding => "encoding",
            Self::Magic => "magic",
            Self::UnknownKey => "unknown_key",
            Self::Suite => "suite",
            Self::Tag => "tag",
            Self::Future => "future",
            Self::Expired => "expired",
            Self::NotBefore => "not_before",
            Self::Payload => "payload",
        }
    }
}

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The payload isn't one strict JSON object (RFC 7493, depth at most 8).
    #[error("the payload is not one strict JSON object (RFC 7493, at most 8 deep)")]
    Payload,
    /// The token would be longer than 4096 characters.
    #[error("the payload is too long: the token would exceed 4096 characters")]
    TooLong,
    /// This process has sealed 2^32 tokens under an AES-256-GCM key.
    #[error("this AES-256-GCM key has sealed 2^32 tokens; roll over with `bulla keys rotate`")]
    Exhausted,
    /// The system's generator failed.
    #[error(transparent)]
    NoRandomness(#[from] crate::secret::NoRandomness),
}

/// Room for one token being opened; reuse it to open without allocating. Wiped on drop.
pub struct OpenBuffer([u8; 3072]);

impl OpenBuffer {
    /// An empty one.
    pub const fn new() -> Self {
        Self([0; 3072])
    }
}

/// How many tokens this process has sealed under each key; outlives a ring's reload.
#[derive(Debug, Default)]
pub struct SealCounts {}

impl SealCounts {
    /// (kid, tokens sealed) for every key that was in a ring of this process.
    pub fn all(&self) -> Vec<(Kid, u64)> {
        todo!()
    }
}

/// The derived keys of one purpose and audience, ready to seal and open. Immutable; made anew from a reloaded ring.
#[derive(Debug)]
pub struct TokenKeys {}

impl TokenKeys {
    /// Derives from every key of the ring that opens.
    pub fn derive(ring: &Ring, purpose: &Purpose, audience: &Audience, counts: &Arc<SealCounts>) -> Self {
        let _ = (ring, purpose, audience, counts);
        todo!()
    }

    /// Seals a JSON object under the active key.
    pub fn seal(&self, payload: &str, issued_at: Timestamp) -> Result<SealedToken, SealError> {
        let _ = (payload, issued_at);
        todo!()
    }

    /// Opens a token younger than `max_age`. Allocates nothing.
    pub fn open<'b>(
        &self,
        token: &str,
        now: Timestamp,
        max_age: Duration,
        buffer: &'b mut OpenBuffer,
    ) -> Result<Opened<&'b str>, Refused> {
        let _ = (token, now, max_age, buffer);
        todo!()
    }
}
