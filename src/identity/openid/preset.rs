//! What is known of the large providers, so that a client's id and secret are enough.

use super::ClientAuth;

/// Which version of Facebook's Graph is asked; Facebook serves one for two years, and after that its oldest.
const GRAPH: &str = "v23.0";

/// A provider of a known kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Google, personal accounts and Workspace.
    Google,
    /// Facebook.
    Facebook,
    /// A user pool of Amazon Cognito.
    Cognito,
    /// Okta: an organisation's own authorization server, or a custom one.
    Okta,
    /// JumpCloud.
    JumpCloud,
    /// Any other, by its issuer: Keycloak, Auth0, Entra, GitLab, …
    Oidc,
}

/// What a preset knows; the rest is discovered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Every legal spelling of the issuer; the first names identities.
    pub issuers: Vec<String>,
    /// Where people are sent.
    pub authorization_endpoint: Option<String>,
    /// Where codes are redeemed.
    pub token_endpoint: Option<String>,
    /// Where the keys are.
    pub jwks_uri: Option<String>,
    /// Facebook's Graph.
    pub graph: Option<String>,
}

impl Preset {
    /// All of them, by name.
    pub const ALL: [(&str, Self); 6] = [
        ("google", Self::Google),
        ("facebook", Self::Facebook),
        ("cognito", Self::Cognito),
        ("okta", Self::Okta),
        ("jumpcloud", Self::JumpCloud),
        ("oidc", Self::Oidc),
    ];

    /// As it is called in `bulla.toml`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, preset)| *preset == self).map_or("oidc", |(name, _)| name)
    }

    /// As people call it; nothing for a kind.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::Google => Some("Google"),
            Self::Facebook => Some("Facebook"),
            Self::Okta => Some("Okta"),
            Self::JumpCloud => Some("JumpCloud"),
            Self::Cognito | Self::Oidc => None,
        }
    }

    /// The settings that say which of its tenants is meant.
    pub fn tenant(self) -> &'static [&'static str] {
        match self {
            Self::Cognito => &["region", "pool", "domain"],
            Self::Okta => &["domain", "server"],
            Self::Google | Self::Facebook | Self::JumpCloud | Self::Oidc => &[],
        }
    }

    /// What people are asked to share.
    pub fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::Facebook => &["openid", "public_profile", "email"],
            _ => &["openid", "profile", "email"],
        }
    }

    /// The parameters that make it ask people who they are, though they are signed in there. With `max_age` its ID token
    /// must say when they signed in. Google knows no `prompt=login`.
    pub fn asks_anew(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Google => &[("max_age", "0")],
            Self::Facebook => &[("auth_type", "reauthenticate")],
            Self::Cognito | Self::Okta | Self::JumpCloud | Self::Oidc => {
                &[("max_age", "0"), ("prompt", "login")]
            }
        }
    }

    /// Whether its ID tokens can say when people signed in: Facebook's never do.
    pub fn says_when(self) -> bool {
        self != Self::Facebook
    }

    /// How its token endpoint wants the secret, where discovery won't say.
    pub fn client_auth(self) -> Option<ClientAuth> {
        (self == Self::Facebook).then_some(ClientAuth::Post)
    }

    /// What is known of a tenant. The error says what is missing.
    pub fn known(self, tenant: impl Fn(&str) -> Option<String>) -> Result<Known, String> {
        let known = |issuers: &[&str]| Known {
            issuers: issuers.iter().map(|&issuer| issuer.into()).collect(),
            ..Known::default()
        };
        match self {
            // Both spellings are legal ("OpenID Connect", Google Identity, ID token's `iss`).
            Self::Google => Ok(known(&["https://accounts.google.com", "accounts.google.com"])),
            Self::JumpCloud => Ok(known(&["https://oauth.id.jumpcloud.com/"])),
            // What it publishes for discovery has no token endpoint, and a login dialog without a version.
            Self::Facebook => Ok(Known {
                authorization_endpoint: Some(format!("https://www.facebook.com/{GRAPH}/dialog/oauth")),
                token_endpoint: Some(format!("https://graph.facebook.com/{GRAPH}/oauth/access_token")),
                jwks_uri: Some("https://www.facebook.com/.well-known/oauth/openid/jwks/".into()),
                graph: Some(format!("https://graph.facebook.com/{GRAPH}")),
                ..known(&["https://www.facebook.com"])
            }),
            Self::Cognito => cognito(tenant("region"), tenant("pool"), tenant("domain")),
            Self::Okta => {
                let domain =
                    tenant("domain").ok_or("domain is missing: your organisation's, as dev-1234.okta.com")?;
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
    let pool = pool.ok_or("pool is missing: the user pool's id, as eu-central-1_Ab12Cd34E")?;
    let said = pool.split_once('_').map(|(region, _)| region.to_owned());
    let region = region.or(said.clone()).unwrap_or_default();
    if said.as_ref() != Some(&region) {
        return Err(format!(
            "pool {pool:?} is not of the region {region:?}: it begins with its region's name and _"
        ));
    }
    let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{pool}");
    // A name alone is one of Amazon's own domains.
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
