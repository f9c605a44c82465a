//! Why a client gets nothing, in the words of RFC 6749, section 5.2.

use crate::{session::Denied, store::StoreError, token::SealError};

/// A refusal. What it says is for the developer of the client; nothing of a cause, a token or a secret.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is malformed: what about it.
    #[error("{0}")]
    Request(&'static str),
    /// A parameter is given more than once: which.
    #[error("the parameter {0} is given more than once")]
    Twice(&'static str),
    /// Unknown, disabled, or the wrong secret: one answer for all.
    #[error(
        "the client is not recognised: client_id is missing or names no client here, or its secret or signature is wrong"
    )]
    Client,
    /// The code, refresh token or subject token isn't good (any more), or is another client's. One answer for all.
    #[error("the grant is not valid")]
    Grant,
    /// This client may not use this grant: why.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// No such grant here.
    #[error("the grant type is not supported")]
    GrantType,
    /// More than the client, or the token it shows, has.
    #[error("the scope is malformed, or more than may be asked for")]
    Scope,
    /// No such audience for this client (RFC 8693, section 2.2.2).
    #[error("the audience is not one of this client's")]
    Target,
    /// It can't be told at present.
    #[error("this can't be answered at the moment")]
    CannotTell(#[from] StoreError),
    /// Nothing could be sealed.
    #[error("this can't be answered at the moment")]
    Seal(#[from] SealError),
}

impl Refusal {
    /// The protocol's word.
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
    /// A token of a session or a client that isn't good any more is a grant that isn't.
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Token(_) | Denied::Session | Denied::Reuse => Self::Grant,
            Denied::CannotTell(error) => Self::CannotTell(error),
            Denied::Seal(error) => Self::Seal(error),
        }
    }
}
