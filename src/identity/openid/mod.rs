//! OpenID Connect: people log in with an account at another provider (OpenID Connect Core 1.0, RFC 6749, RFC 7636).
//!
//! A [`Provider`] sends a person to the provider ([`Provider::begin_login`]) and checks the answer ([`Provider::redeem`]), or
//! checks an ID token that a client presents ([`Provider::check`]). The result is a proven identity (issuer, subject).
//! [`Providers::user`] finds its user by the policy of that provider. The crate `oauth2` implements the protocol, `jws` verifies
//! signatures, and the pure functions in `claims` check the claims of an ID token.

mod accounts;
mod answer;
mod claims;
mod endpoints;
mod examine;
mod facebook;
mod fields;
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
pub(crate) use fields::{Field, Fields, check_name};
pub use fields::{PROVIDER_FIELDS, ProviderError};
pub(crate) use preset::{ClientAuth, Preset};
pub use provider::{BegunLogin, Freshness, Provider};
pub use settings::ProviderSettings;
pub use settings::RoleMap;
pub(crate) use settings::{ClientSecret, Create};

/// Returns the nonce in an ID token. The token is not verified here.
pub(crate) fn claimed_nonce(id_token: &str) -> Option<String> {
    Some(Signed::read(id_token).ok()?.claims.get("nonce")?.as_str()?.to_owned())
}

/// The reason why a person was not recognised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenIdError {
    /// The presented token or code is invalid. The word is only for logs; clients get the same answer in all cases.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// The identity is valid, but no user has it, and the policy creates no user for it.
    #[error("no user has this identity")]
    NoAccount,
    /// The identity can't be checked: the provider is unreachable, or its published data can't be used. The text is for an
    /// operator.
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

/// The reason why no user was found for an identity.
#[derive(Debug, thiserror::Error)]
pub enum NoUser {
    /// The identity was refused or could not be checked.
    #[error(transparent)]
    OpenId(#[from] OpenIdError),
    /// The store failed, or the identity belongs to another user.
    #[error(transparent)]
    Store(#[from] StoreError),
}
