//! OpenID Connect: people who have an account elsewhere (OpenID Connect Core 1.0, RFC 6749, RFC 7636).
//!
//! A [`Provider`] sends somebody there ([`Provider::invite`]) and checks what comes back ([`Provider::redeem`]), or checks an
//! ID token that is presented ([`Provider::check`]). What it proves is an identity, (issuer, subject); [`Providers::user`] says
//! whose it is, by the policy of that provider. `oauth2` speaks the protocol, `jws` verifies signatures, and the pure rule
//! in `claims` says what an ID token must claim.

mod accounts;
mod answer;
mod claims;
mod endpoints;
mod examine;
mod facebook;
mod preset;
mod provider;
mod published;
mod settings;

use crate::{
    jws::{JwsError, Signed},
    store::StoreError,
};

pub use accounts::Providers;
pub use claims::Proven;
pub use examine::{Finding, examine};
pub use preset::{Known, Preset};
pub use provider::{Freshness, Invitation, Provider};
pub use settings::{ClientAuth, ClientSecret, Create, ProviderSettings, RoleMap, endpoint};

/// The nonce that an ID token claims. Nothing it says is believed before it is checked.
pub(crate) fn claimed_nonce(id_token: &str) -> Option<String> {
    Some(Signed::read(id_token).ok()?.claims.get("nonce")?.as_str()?.to_owned())
}

/// Why nobody was recognised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenIdError {
    /// What was presented proves nothing. The word is for logs; outward there is one refusal.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// It proves an identity that nobody here has, and the policy makes no user of it.
    #[error("nobody here has this identity")]
    NoAccount,
    /// It can't be told: the provider can't be asked, or what it publishes is of no use. Says what, for an operator.
    #[error("{0}")]
    Away(String),
}

impl From<JwsError> for OpenIdError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Refused(why) => Self::Refused(why),
            JwsError::KeySet(_) => Self::Away(error.to_string()),
        }
    }
}

/// Why an identity led to no user.
#[derive(Debug, thiserror::Error)]
pub enum NoUser {
    /// By the identity itself.
    #[error(transparent)]
    OpenId(#[from] OpenIdError),
    /// The store can't tell, or an identity is another's.
    #[error(transparent)]
    Store(#[from] StoreError),
}
