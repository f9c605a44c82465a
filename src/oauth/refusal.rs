//! The reasons why a client's request fails, with the error codes of RFC 6749, section 5.2.

use crate::{session::Denied, store::StoreError, token::SealError};

/// A refusal. Its text is for the developer of the client and contains no cause, token or secret.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is malformed; the text says how.
    #[error("{0}")]
    Request(&'static str),
    /// The parameter with this name is given more than once.
    #[error("the parameter {0} is given more than once")]
    Twice(&'static str),
    /// The client is unknown or disabled, or its secret is wrong. All cases have the same answer.
    #[error(
        "the client is not recognised: client_id is missing or unknown, or the secret or signature is wrong"
    )]
    Client,
    /// The code, refresh token or subject token is invalid, has expired or was revoked, or belongs to another client. All cases
    /// have the same answer.
    #[error("the grant is not valid")]
    Grant,
    /// This client may not use this grant; the text says why.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The grant type is not supported.
    #[error("the grant type is not supported")]
    GrantType,
    /// The scope is wider than that of the client or of the token it presents.
    #[error("the scope is malformed, or contains more than the client may request")]
    Scope,
    /// The client has no such audience (RFC 8693, section 2.2.2).
    #[error("the audience is not registered for this client")]
    Target,
    /// The answer is unknown: the store is unavailable.
    #[error("the server can't answer this request at the moment")]
    CannotTell(#[from] StoreError),
    /// A token could not be sealed.
    #[error("the server can't answer this request at the moment")]
    Seal(#[from] SealError),
}

impl Refusal {
    /// The error code of the protocol.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Request(_) | Self::Twice(_) => "invalid_request",
            Self::Client => "invalid_client",
            Self::Grant => "invalid_grant",
            Self::Unauthorized(_) => "unauthorized_client",
            Self::GrantType => "unsupported_grant_type",
            Self::Scope => "invalid_scope",
            Self::Target => "invalid_target",
            Self::CannotTell(_) | Self::Seal(_) => "temporarily_unavailable",
        }
    }
}

impl From<Denied> for Refusal {
    /// A token that is no longer valid becomes an invalid grant.
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Token(_) | Denied::Session | Denied::Reuse => Self::Grant,
            Denied::CannotTell(error) => Self::CannotTell(error),
            Denied::Seal(error) => Self::Seal(error),
        }
    }
}
