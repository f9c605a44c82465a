//! Presets for large providers, so that a client id and a secret are enough to configure them.

/// The version of Facebook's Graph. Facebook serves a version for two years, and after that its oldest available version instead.
const GRAPH: &str = "v23.0";

/// The preset of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    /// Google, personal accounts and Workspace.
    Google,
    /// Facebook.
    Facebook,
    /// A user pool of Amazon Cognito.
    Cognito,
    /// Okta: the authorization server of an organisation, or a custom one.
    Okta,
    /// JumpCloud.
    JumpCloud,
    /// Any other provider, given by its issuer: Keycloak, Auth0, Entra, GitLab, …
    Oidc,
}

/// The values that a preset provides. All others are discovered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// All valid spellings of the issuer. The first one is stored in identities.
    pub(crate) issuers: Vec<String>,
    /// The authorization endpoint.
    pub(crate) authorization_endpoint: Option<String>,
    /// The token endpoint.
    pub(crate) token_endpoint: Option<String>,
    /// The URL of the key set.
    pub(crate) jwks_uri: Option<String>,
    /// The URL of Facebook's Graph.
    pub(crate) graph: Option<String>,
}

/// How a client's secret is sent to the token endpoint (OpenID Connect Core, 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// In the header `Authorization`: `client_secret_basic`.
    Basic,
    /// In the body: `client_secret_post`.
    Post,
}

impl Preset {
    /// All presets, by name.
    pub(crate) const ALL: [(&str, Self); 6] = [
        ("google", Self::Google),
        ("facebook", Self::Facebook),
        ("cognito", Self::Cognito),
        ("okta", Self::Okta),
        ("jumpcloud", Self::JumpCloud),
        ("oidc", Self::Oidc),
    ];

    /// The name in `bulla.toml`.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, preset)| *preset == self).map_or("oidc", |(name, _)| name)
    }

    /// The name for people; `None` if the preset stands for many different providers.
    pub(crate) fn label(self) -> Option<&'static str> {
        match self {
            Self::Google => Some("Google"),
            Self::Facebook => Some("Facebook"),
            Self::Okta => Some("Okta"),
            Self::JumpCloud => Some("JumpCloud"),
            Self::Cognito | Self::Oidc => None,
        }
    }

    /// The settings that identify a tenant of the provider.
    pub(crate) fn tenant(self) -> &'static [&'static str] {
        match self {
            Self::Cognito => &["region", "pool", "domain"],
            Self::Okta => &["domain", "server"],
            Self::Google | Self::Facebook | Self::JumpCloud | Self::Oidc => &[],
        }
    }

    /// The scopes to request.
    pub(crate) fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::Facebook => &["openid", "public_profile", "email"],
            _ => &["openid", "profile", "email"],
        }
    }

    /// The parameters that make the provider authenticate a person again, even if they are logged in there. With `max_age` the ID
    /// token must contain the time of the login. Google does not support `prompt=login`.
    pub(crate) fn reauthentication_parameters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Google => &[("max_age", "0")],
            Self::Facebook => &[("auth_type", "reauthenticate")],
            Self::Cognito | Self::Okta | Self::JumpCloud | Self::Oidc => {
                &[("max_age", "0"), ("prompt", "login")]
            }
        }
    }

    /// Whether the ID tokens can contain the time of the login. Facebook's never do.
    pub(crate) fn states_auth_time(self) -> bool {
        self != Self::Facebook
    }

    /// How the token endpoint expects the client secret, if discovery does not say it.
    pub(crate) fn client_auth(self) -> Option<ClientAuth> {
        (self == Self::Facebook).then_some(ClientAuth::Post)
    }

    /// Returns the values for a tenant. The error says which setting is missing.
    pub(crate) fn known(self, tenant: impl Fn(&str) -> Option<String>) -> Result<Known, String> {
        let known = |issuers: &[&str]| Known {
            issuers: issuers.iter().map(|&issuer| issuer.into()).collect(),
            ..Known::default()
        };
        match self {
            // Both spellings are valid ("OpenID Connect", Google Identity, ID token's `iss`).
            Self::Google => Ok(known(&["https://accounts.google.com", "accounts.google.com"])),
            Self::JumpCloud => Ok(known(&["https://oauth.id.jumpcloud.com/"])),
            // Facebook's discovery document has no token endpoint, and a login dialog without a version.
            Self::Facebook => Ok(Known {
                authorization_endpoint: Some(format!("https://www.facebook.com/{GRAPH}/dialog/oauth")),
                token_endpoint: Some(format!("https://graph.facebook.com/{GRAPH}/oauth/access_token")),
                jwks_uri: Some("https://www.facebook.com/.well-known/oauth/openid/jwks/".into()),
                graph: Some(format!("https://graph.facebook.com/{GRAPH}")),
                ..known(&["https://www.facebook.com"])
            }),
            Self::Cognito => cognito(tenant("region"), tenant("pool"), tenant("domain")),
            Self::Okta => {
                let domain = tenant("domain").ok_or(
                    "domain is missing: the domain of your organisation, for example dev-1234.okta.com",
                )?;
                let issuer = match tenant("server") {
                    Some(server) => format!("https://{domain}/oauth2/{server}"),
                    None => format!("https://{domain}"),
                };
                Ok(known(&[&issuer]))
            }
            Self::Oidc => Ok(Known::default()),
        }
    }
}

fn cognito(region: Option<String>, pool: Option<String>, domain: Option<String>) -> Result<Known, String> {
    let pool = pool.ok_or("pool is missing: the id of the user pool, for example eu-central-1_Ab12Cd34E")?;
    let said = pool.split_once('_').map(|(region, _)| region.to_owned());
    let region = region.or(said.clone()).unwrap_or_default();
    if said.as_ref() != Some(&region) {
        return Err(format!(
            "pool {pool:?} is not of the region {region:?}: the id of a pool begins with its region and _"
        ));
    }
    let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{pool}");
    // A name without a dot is a subdomain of Amazon's own domain.
    let host = domain.map(|domain| match domain.contains('.') {
        true => domain,
        false => format!("{domain}.auth.{region}.amazoncognito.com"),
    });
    Ok(Known {
        authorization_endpoint: host.as_ref().map(|host| format!("https://{host}/oauth2/authorize")),
        token_endpoint: host.as_ref().map(|host| format!("https://{host}/oauth2/token")),
        jwks_uri: Some(format!("{issuer}/.well-known/jwks.json")),
        issuers: vec![issuer],
        graph: None,
    })
}
