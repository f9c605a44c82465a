//! Makes the settings of a provider from the values of its preset and the given fields.

use std::collections::BTreeMap;

use super::{
    preset::{ClientAuth, Known, Preset},
    settings::{ClientSecret, Create, ProviderSettings, RoleMap, endpoint},
};
use crate::secret::SecretText;

/// The fields of a provider's table: name and description.
pub const PROVIDER_FIELDS: [(&str, &str); 22] = [
    (
        "preset",
        "google, facebook, cognito, okta, jumpcloud or oidc; by default the name of the table if it is one of these, else oidc",
    ),
    ("label", "the name on its button on the sign-in page"),
    ("client_id", "the client id that the provider gave this server"),
    (
        "client_secret_file",
        "the file that contains the client secret; BULLA_PROVIDER_NAME_CLIENT_SECRET contains the secret itself",
    ),
    (
        "issuer",
        "the issuer, exactly as the provider states it; required for oidc, known for the other presets",
    ),
    (
        "domain",
        "okta: the domain of the organisation; cognito: the domain of the user pool, only if discovery \
        doesn't name the endpoints",
    ),
    ("server", "okta: the id of a custom authorization server, for example default"),
    ("region", "cognito: the region of the user pool; by default taken from the pool's id"),
    ("pool", "cognito: the id of the user pool"),
    ("create", "which unknown identities become users: never, allowed-domains or always; by default never"),
    (
        "allowed_domains",
        "the domains for create = \"allowed-domains\": domains of verified mail addresses, for google domains of Workspaces",
    ),
    (
        "roles_claim",
        "the claim that contains roles: its name, or a JSON pointer, for example /realm_access/roles",
    ),
    ("roles", "a table that maps values of that claim to roles"),
    ("authorized_parties", "further client ids that are accepted as azp in ID tokens"),
    ("scopes", "the scopes to request"),
    ("client_auth", "how the client secret is sent: basic or post; by default as discovery states"),
    ("authorization_endpoint", "overrides the discovered URL"),
    ("token_endpoint", "overrides the discovered URL"),
    ("jwks_uri", "overrides the discovered URL"),
    ("userinfo_endpoint", "overrides the discovered URL"),
    ("graph", "facebook: the URL of the Graph API with its version"),
    ("client_secret", "only in the environment, as BULLA_PROVIDER_NAME_CLIENT_SECRET"),
];

/// The value of a field. It may be a secret, so `Debug` does not print it.
#[derive(Clone)]
pub(crate) enum Field {
    Text(String),
    Map(BTreeMap<String, String>),
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Field(…)")
    }
}

/// The fields of one provider.
pub(crate) struct Fields<'a> {
    pub(crate) name: &'a str,
    pub(crate) fields: BTreeMap<&'a str, &'a Field>,
}

/// The settings of a provider are incomplete or contradict each other. The text names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProviderError(String);

impl ProviderSettings {
    /// Makes the settings of the provider `name` (`[a-z][a-z0-9]{0,31}`). The fields are those of a table `[provider.NAME]` in
    /// `bulla.toml` (docs/sign-in.md), and `client_secret`. A field `roles.VALUE` gives the role for a value of `roles_claim`. Does
    /// no I/O.
    ///
    /// ```
    /// # use bulla::ProviderSettings;
    /// let google = ProviderSettings::new("google", [("client_id", "1234"), ("client_secret", "…")])?;
    /// # Ok::<(), bulla::ProviderError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProviderError`] if the name is not valid, a field is unknown or missing, or two fields contradict each other.
    pub fn new<'a>(
        name: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ProviderError> {
        check_name(name).map_err(ProviderError)?;
        let (mut given, mut roles) = (BTreeMap::new(), BTreeMap::new());
        for (field, value) in fields {
            match field.strip_prefix("roles.") {
                Some(claim) => drop(roles.insert(claim.to_owned(), value.to_owned())),
                None if PROVIDER_FIELDS.iter().any(|(known, _)| *known == field) && field != "roles" => {
                    given.insert(field, Field::Text(value.to_owned()));
                }
                None => {
                    return Err(ProviderError(format!("provider.{name}.{field}: there is no such field")));
                }
            }
        }
        if !roles.is_empty() {
            given.insert("roles", Field::Map(roles));
        }
        let fields = given.iter().map(|(field, value)| (*field, value)).collect();
        Fields { name, fields }.resolve().map_err(ProviderError)
    }
}

/// Checks the name of a provider.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good =
        name.len() <= 32 && name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_lowercase());
    if good {
        return Ok(());
    }
    Err("the name must be a lower-case letter, then at most 31 lower-case letters or digits".into())
}

impl Fields<'_> {
    fn text(&self, field: &str) -> Option<String> {
        match self.fields.get(field)? {
            Field::Text(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Field::Map(_) => None,
        }
    }

    fn list(&self, field: &str) -> Option<Vec<String>> {
        let text = self.text(field)?;
        Some(text.split([',', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn bad<T>(&self, field: &str, why: impl std::fmt::Display) -> Result<T, String> {
        Err(format!("provider.{}.{field}: {why}", self.name))
    }

    fn choice<T: Copy>(&self, field: &str, choices: &[(&str, T)]) -> Result<Option<T>, String> {
        let Some(text) = self.text(field) else { return Ok(None) };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                self.bad(field, format_args!("{text:?} must be {}", names.join(", ")))
            }
        }
    }

    pub(crate) fn resolve(&self) -> Result<ProviderSettings, String> {
        let preset = match self.choice("preset", &Preset::ALL)? {
            Some(preset) => preset,
            None => Preset::ALL.iter().find(|(name, _)| *name == self.name).map_or(Preset::Oidc, |(_, p)| *p),
        };
        let known = self.known(preset)?;
        let issuer = known.issuers.first().cloned().unwrap_or_default();
        let address = |field: &str, known: Option<String>| match self.text(field).or(known) {
            Some(text) => endpoint(&text, &issuer).map(Some).or_else(|why| self.bad(field, why)),
            None => Ok(None),
        };
        let Some(client_id) = self.text("client_id") else {
            return self.bad("client_id", "is missing: the client id that the provider gave this server");
        };
        let preset_scopes = || preset.scopes().iter().map(|&scope| scope.into()).collect();
        let mut scopes: Vec<String> = self.list("scopes").unwrap_or_else(preset_scopes);
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".into());
        }
        Ok(ProviderSettings {
            name: self.name.into(),
            label: self
                .text("label")
                .or(preset.label().map(Into::into))
                .unwrap_or_else(|| capitalised(self.name)),
            preset,
            client_id,
            secret: self.secret(preset)?,
            authorization_endpoint: address("authorization_endpoint", known.authorization_endpoint)?,
            token_endpoint: address("token_endpoint", known.token_endpoint)?,
            jwks_uri: address("jwks_uri", known.jwks_uri)?,
            userinfo_endpoint: address("userinfo_endpoint", None)?,
            graph: address("graph", known.graph)?,
            scopes,
            parties: self.list("authorized_parties").unwrap_or_default(),
            auth: self
                .choice("client_auth", &[("basic", ClientAuth::Basic), ("post", ClientAuth::Post)])?
                .or(preset.client_auth()),
            needs_token_use: preset == Preset::Cognito,
            create: self.create()?,
            roles: self.roles()?,
            issuers: known.issuers,
        })
    }

    /// Returns the preset's values for this tenant. A given issuer overrides the preset's issuer.
    fn known(&self, preset: Preset) -> Result<Known, String> {
        let others = Preset::ALL.iter().flat_map(|(_, preset)| preset.tenant());
        if let Some(field) = others.chain(&["graph"]).find(|field| {
            let fits = preset.tenant().contains(field) || **field == "graph" && preset == Preset::Facebook;
            self.fields.contains_key(**field) && !fits
        }) {
            return self.bad(field, format_args!("does not apply to the preset {}", preset.name()));
        }
        let given = self.text("issuer");
        let known = match (preset.known(|field| self.text(field)), &given) {
            (Ok(known), _) => known,
            // If the issuer is given, the fields from which it would be built may be missing.
            (Err(_), Some(_)) => Known::default(),
            (Err(why), None) => return Err(format!("provider.{}: {why}", self.name)),
        };
        let known = match given {
            Some(issuer) => Known { issuers: vec![issuer], ..known },
            None => known,
        };
        let Some(issuer) = known.issuers.first() else {
            return self.bad(
                "issuer",
                "is missing: the issuer, exactly as the provider states it, for example https://login.example.org/realms/main",
            );
        };
        match endpoint(issuer, issuer) {
            Ok(url) if url.query().is_none() => Ok(known),
            Ok(_) => self.bad("issuer", format_args!("{issuer:?} must not contain a query")),
            Err(why) => self.bad("issuer", why),
        }
    }

    fn secret(&self, preset: Preset) -> Result<ClientSecret, String> {
        match (self.text("client_secret"), self.text("client_secret_file")) {
            (Some(secret), _) => Ok(ClientSecret::Text(SecretText::new(secret))),
            (None, Some(path)) => Ok(ClientSecret::File(path.into())),
            // Keycloak and similar servers may know this server as a public client. The large providers give every client a
            // secret.
            (None, None) if matches!(preset, Preset::Oidc | Preset::Okta | Preset::Cognito) => {
                Ok(ClientSecret::None)
            }
            (None, None) => {
                self.bad("client_secret_file", "is missing: the file that contains the client secret")
            }
        }
    }

    fn create(&self) -> Result<Create, String> {
        let domains = self.list("allowed_domains");
        match self.choice("create", &[("never", 0), ("allowed-domains", 1), ("always", 2)])? {
            Some(1) => match domains {
                Some(domains) => Ok(Create::Domains(domains)),
                None => {
                    self.bad("allowed_domains", "is missing, but create = \"allowed-domains\" requires it")
                }
            },
            // Without `create = "allowed-domains"` this field has no effect. The operator would expect a limit that does not
            // exist.
            _ if domains.is_some() => {
                self.bad("allowed_domains", "has an effect only with create = \"allowed-domains\"")
            }
            Some(2) => Ok(Create::Always),
            _ => Ok(Create::Never),
        }
    }

    fn roles(&self) -> Result<Option<RoleMap>, String> {
        match (self.text("roles_claim"), self.fields.get("roles")) {
            (None, None) => Ok(None),
            (Some(claim), Some(Field::Map(roles))) if !roles.is_empty() => {
                Ok(Some(RoleMap { claim, roles: roles.clone() }))
            }
            (Some(_), _) => self.bad(
                "roles",
                format_args!(
                    "is missing: a table [provider.{}.roles] that maps values of roles_claim to roles",
                    self.name
                ),
            ),
            (None, Some(_)) => {
                self.bad("roles_claim", "is missing: the claim whose values the table roles maps")
            }
        }
    }
}

fn capitalised(name: &str) -> String {
    let mut rest = name.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}
