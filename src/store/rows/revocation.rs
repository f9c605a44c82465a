//! Revocations: the rows of `revocations`.

use std::{fmt, str::FromStr};

use crate::{clock::Timestamp, ids::Sid};

/// The object of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RevocationTarget {
    /// One session or one service token, by its `sid`.
    Session(Sid),
    /// All tokens of a client that were issued until `revoked_at`.
    Client(String),
}

impl fmt::Display for RevocationTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(sid) => sid.fmt(f),
            Self::Client(id) => write!(f, "client:{id}"),
        }
    }
}

impl FromStr for RevocationTarget {
    type Err = crate::ids::BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("client:") {
            Some(id) => Ok(Self::Client(id.into())),
            None => text.parse().map(Self::Session),
        }
    }
}

/// One row of `revocations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The number of the row, never used twice.
    pub seq: i64,
    /// The object of the revocation.
    pub target: RevocationTarget,
    /// The time of the revocation.
    pub revoked_at: Timestamp,
    /// The time after which no token can exist to which the revocation applies.
    pub expires_at: Timestamp,
}
