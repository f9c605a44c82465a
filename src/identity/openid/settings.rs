//! A provider as the settings describe it, with nothing left to interpret.

use std::{collections::BTreeMap, path::PathBuf};

use oauth2::url::Url;

use super::{OpenIdError, Preset};
use crate::{fetch::is_loopback, secret::SecretText};

/// One provider, checked.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Its name in the settings and in our URLs: `[a-z][a-z0-9]{0,31}`.
    pub name: String,
    /// What its button says.
    pub label: String,
    /// Its kind.
    pub preset: Preset,
    /// Our name at the provider; the audience of its ID tokens.
    pub client_id: String,
    /// Our secret there.
    pub secret: ClientSecret,
    /// Every legal spelling of its issuer, at least one; the first names identities.
    pub issuers: Vec<String>,
    /// Where people are sent; none: discovered. The next three likewise.
    pub authorization_endpoint: Option<Url>,
    /// Where codes are redeemed.
    pub token_endpoint: Option<Url>,
    /// Where its keys are.
    pub jwks_uri: Option<Url>,
    /// Where claims are that aren't in its ID tokens.
    pub userinfo_endpoint: Option<Url>,
    /// Facebook's Graph: access tokens can be presented there.
    pub graph: Option<Url>,
    /// What people are asked to share; `openid` among it.
    pub scopes: Vec<String>,
    /// Other client ids of ours (apps on phones) that may stand as `azp`.
    pub parties: Vec<String>,
    /// How the secret travels; none: as discovery says.
    pub auth: Option<ClientAuth>,
    /// Whether its ID tokens always say `token_use` (Cognito).
    pub needs_token_use: bool,
    /// Which new identities become users.
    pub create: Create,
    /// Which of our roles its claims give.
    pub roles: Option<RoleMap>,
}

/// Where our secret at a provider is.
#[derive(Clone, Debug)]
pub enum ClientSecret {
    /// There is none: a public client, which PKCE alone protects.
    None,
    /// In a file, read at each use, so that it can be replaced.
    File(PathBuf),
    /// From the environment.
    Text(SecretText),
}

impl ClientSecret {
    /// The secret, or nothing for a public client.
    pub fn read(&self) -> Result<Option<SecretText>, OpenIdError> {
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

/// How a client's secret travels to the token endpoint (OpenID Connect Core, 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In an `Authorization` header: `client_secret_basic`.
    Basic,
    /// In the body: `client_secret_post`.
    Post,
}

/// Which new identities become users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Create {
    /// None: identities are linked by users who are signed in.
    Never,
    /// Those of these domains: of a verified mail address, at Google of the Workspace (`hd`).
    Domains(Vec<String>),
    /// All that the provider knows.
    Always,
}

/// Roles from a claim. The provider governs the roles named here, and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleMap {
    /// The claim's name, or a JSON pointer to it.
    pub claim: String,
    /// Our role for one of its values.
    pub roles: BTreeMap<String, String>,
}

impl ProviderSettings {
    /// The issuer, as identities have it.
    pub fn issuer(&self) -> &str {
        self.issuers.first().map_or("", String::as_str)
    }
}

/// An address at a provider whose issuer is `issuer`: HTTPS; plain HTTP on loopback only where the issuer itself is that.
pub fn endpoint(text: &str, issuer: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("{text:?} is not a URL"))?;
    let local = |url: &Url| url.scheme() == "http" && url.host_str().is_some_and(is_loopback);
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let safe =
        url.scheme() == "https" || local(&url) && Url::parse(issuer).is_ok_and(|issuer| local(&issuer));
    match url.host_str() {
        Some(_) if safe && plain => Ok(url),
        _ => Err(format!("{text:?} must be https, without a name or a fragment")),
    }
}
