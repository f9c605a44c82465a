//! Registers clients: the same rules for the command line and for `/admin`.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    ids::{Audience, ClientId, Scope},
    oauth::{assertion, redirect},
    secret::{Digest, NoRandomness, Secret, SecretText},
    store::{CLIENT_NAME_RULE, ClientRow, NewClient, is_plain_name},
};

/// The number of redirect URIs that a client can have.
const MOST_ADDRESSES: usize = 20;
/// The number of audiences that a client can have. Introspection tries each of them.
const MOST_AUDIENCES: usize = 16;

/// The reason why a client can't be registered: the wrong part, and its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadClient(String);

/// A client as an administrator describes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The name that people see.
    pub name: String,
    /// The scopes that it may ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The audiences for which it may exchange tokens.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The addresses to which it may have people sent back.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// The public keys with which it signs instead of showing a secret: a JSON Web Key, or a set of them.
    pub jwks: Option<Value>,
    /// Whether the client is public: an app on a person's device, which can't keep a secret.
    #[serde(default)]
    pub public: bool,
}

impl Registration {
    /// Makes the client with a new id. Also returns its secret, if it has one; the secret is shown only once.
    ///
    /// # Errors
    ///
    /// The text names the invalid part and its rule, or says that the system gives no random bytes.
    pub fn client(self) -> Result<(NewClient, Option<SecretText>), BadClient> {
        let name = self.name;
        if !is_plain_name(&name) {
            return Err(BadClient(CLIENT_NAME_RULE.into()));
        }
        let jwks = self.jwks.map(jwks).transpose()?;
        if self.public && jwks.is_some() {
            return Err(BadClient("a public client has no keys; give either public or jwks".into()));
        }
        let unavailable = |error: NoRandomness| BadClient(error.to_string());
        let secret = match self.public || jwks.is_some() {
            true => None,
            false => Some(generate_secret().map_err(unavailable)?),
        };
        let client = NewClient {
            id: ClientId::generate().map_err(unavailable)?,
            name,
            secret_hash: secret.as_ref().map(|(_, hash)| *hash),
            jwks,
            public: self.public,
            scopes: scopes(self.scopes)?,
            audiences: audiences(self.audiences)?,
            redirect_uris: redirect_uris(self.redirect_uris)?,
        };
        Ok((client, secret.map(|(secret, _)| secret)))
    }
}

/// The description of a client. Contains no secret.
pub fn describe(row: &ClientRow) -> Value {
    serde_json::json!({
        "id": row.id.as_str(), "name": row.name, "public": row.is_public(), "secret": row.secret_hash.is_some(),
        "former_secret_until": row.former.map(|former| former.until),
        "jwks": row.jwks.as_deref().and_then(|jwks| serde_json::from_str::<Value>(jwks).ok()),
        "scopes": row.scopes.words(), "audiences": row.audiences.iter().map(Audience::as_str).collect::<Vec<_>>(),
        "redirect_uris": row.redirect_uris, "disabled": row.disabled, "created_at": row.created_at,
    })
}

/// Draws a secret of 256 random bits. Returns it as text, with the hash that is stored.
pub fn generate_secret() -> Result<(SecretText, Digest), NoRandomness> {
    let secret = Secret::<32>::generate()?;
    Ok((SecretText::new(secret.to_base64url().to_string()), secret.sha256()))
}

/// Checks the scopes of a client.
pub fn scopes(words: Vec<String>) -> Result<Scope, BadClient> {
    Scope::new(words).map_err(|bad| BadClient(bad.to_string()))
}

/// Checks the audiences of a client.
pub fn audiences(names: Vec<String>) -> Result<Vec<Audience>, BadClient> {
    if names.len() > MOST_AUDIENCES {
        return Err(BadClient(format!("a client can have at most {MOST_AUDIENCES} audiences")));
    }
    let names = names.into_iter().map(|name| match Audience::new(name) {
        Ok(audience) if audience == Audience::own() => Err(BadClient("an audience must not be empty".into())),
        checked => checked.map_err(|bad| BadClient(bad.to_string())),
    });
    names.collect()
}

/// Checks the redirect URIs of a client.
pub fn redirect_uris(uris: Vec<String>) -> Result<Vec<String>, BadClient> {
    if uris.len() > MOST_ADDRESSES {
        return Err(BadClient(format!("a client can have at most {MOST_ADDRESSES} redirect URIs")));
    }
    uris.iter().try_for_each(|uri| redirect::check(uri)).map_err(|bad| BadClient(bad.to_string()))?;
    Ok(uris)
}

/// Checks a key or a set of keys, and returns it as a set.
pub fn jwks(keys: Value) -> Result<String, BadClient> {
    let set = if keys.get("keys").is_some() { keys } else { serde_json::json!({ "keys": [keys] }) };
    match assertion::check_keys(&set) {
        Ok(()) => Ok(set.to_string()),
        Err(why) => Err(BadClient(format!(
            "jwks: {why}. Supported are public keys for signatures: RSA of 2048 to 4096 bits (RS256 to PS512), P-256 (ES256), \
             P-384 (ES384) and Ed25519 (EdDSA)"
        ))),
    }
}
