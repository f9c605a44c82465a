//! The settings of a provider, checked and complete.

use std::{collections::BTreeMap, path::PathBuf};

use oauth2::url::Url;

use super::{ClientAuth, OpenIdError, Preset};
use crate::{fetch::is_loopback, secret::SecretText};

/// The settings of one OpenID provider, checked. [`new`](Self::new) makes them.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// The name in the settings and in our URLs: `[a-z][a-z0-9]{0,31}`.
    #[doc(hidden)]
    pub name: String,
    /// The text on the login button.
    pub(crate) label: String,
    /// The preset of the provider.
    pub(crate) preset: Preset,
    /// Our client id at the provider, which is the audience of its ID tokens.
    pub(crate) client_id: String,
    /// Our client secret at the provider.
    pub(crate) secret: ClientSecret,
    /// All valid spellings of the issuer, at least one. The first one is stored in identities.
    pub(crate) issuers: Vec<String>,
    /// The authorization endpoint. If it is `None`, it is discovered. The same holds for the next three fields.
    pub(crate) authorization_endpoint: Option<Url>,
    /// The token endpoint.
    pub(crate) token_endpoint: Option<Url>,
    /// The URL of the key set.
    pub(crate) jwks_uri: Option<Url>,
    /// The userinfo endpoint, which has claims that are not in the ID tokens.
    pub(crate) userinfo_endpoint: Option<Url>,
    /// The URL of Facebook's Graph, which checks presented access tokens.
    pub(crate) graph: Option<Url>,
    /// The scopes to request, including `openid`.
    pub(crate) scopes: Vec<String>,
    /// Other client ids of ours (mobile apps) that are accepted as `azp`.
    pub(crate) parties: Vec<String>,
    /// How the client secret is sent. If it is `None`, discovery decides.
    pub(crate) auth: Option<ClientAuth>,
    /// Whether every ID token contains `token_use` (Cognito).
    pub(crate) needs_token_use: bool,
    /// The identities for which users are created.
    pub(crate) create: Create,
    /// The roles that claims give.
    #[doc(hidden)]
    pub roles: Option<RoleMap>,
}

/// The source of our client secret at a provider.
#[derive(Clone, Debug)]
pub(crate) enum ClientSecret {
    /// There is no secret: a public client, protected only by PKCE (Proof Key for Code Exchange, RFC 7636).
    None,
    /// A file, read at each use, so that the secret can be replaced.
    File(PathBuf),
    /// The secret itself, from the environment.
    Text(SecretText),
}

impl ClientSecret {
    /// Returns the secret, or `None` for a public client.
    ///
    /// # Errors
    ///
    /// `Away` if the file can't be used.
    pub(crate) fn read(&self) -> Result<Option<SecretText>, OpenIdError> {
        match self {
            Self::None => Ok(None),
            Self::Text(secret) => Ok(Some(secret.clone())),
            Self::File(path) => {
                let unusable = |why: &dyn std::fmt::Display| {
                    OpenIdError::Away(format!("the client secret in {}: {why}", path.display()))
                };
                let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
                let text = zeroize::Zeroizing::new(text);
                match text.trim() {
                    "" => Err(unusable(&"the file is empty")),
                    secret => Ok(Some(SecretText::new(secret.to_owned()))),
                }
            }
        }
    }
}

/// The new identities for which users are created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Create {
    /// No users are created. Users who are logged in can link identities.
    Never,
    /// Users are created for identities of these domains: the domain of a verified email address, at Google the Workspace (`hd`).
    Domains(Vec<String>),
    /// Users are created for all identities of the provider.
    Always,
}

/// A mapping from the values of a claim to roles. The provider controls the roles in this mapping, and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleMap {
    /// The name of the claim, or a JSON pointer to it.
    pub(crate) claim: String,
    /// The role for each value of the claim.
    pub(crate) roles: BTreeMap<String, String>,
}

impl ProviderSettings {
    /// Returns the issuer in the spelling that is stored in identities.
    pub(crate) fn issuer(&self) -> &str {
        self.issuers.first().map_or("", String::as_str)
    }
}

/// Parses an address at a provider whose issuer is `issuer`. It must be HTTPS. Plain HTTP on loopback is accepted only if the
/// issuer is plain HTTP on loopback as well.
pub(crate) fn endpoint(text: &str, issuer: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("{text:?} is not a URL"))?;
    let local = |url: &Url| url.scheme() == "http" && url.host_str().is_some_and(is_loopback);
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let safe =
        url.scheme() == "https" || local(&url) && Url::parse(issuer).is_ok_and(|issuer| local(&issuer));
    match url.host_str() {
        Some(_) if safe && plain => Ok(url),
        _ => Err(format!("{text:?} must be https, without a user name or a fragment")),
    }
}
