//! The keys of a provider, or of a client, and the one question they answer: did it sign this?

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    JsonWebKey as _,
    core::{CoreJsonWebKey, CoreJwsSigningAlgorithm},
};
use serde_json::{Map, Value};

use super::OpenIdError;
use crate::token::strict_json;

/// Signatures that are made with a private key. Neither `none` in any spelling nor a shared secret.
pub(crate) const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
/// What a header may not say: where to find another key, that the body is something else, or what must be understood.
const FOREIGN: [&str; 10] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty", "epk"];
/// Bytes of the longest token that is looked at.
const LONGEST: usize = 16 << 10;
/// The least bits of an RSA modulus.
const RSA_BITS: usize = 2048;
/// Keys of a set that are looked at; nobody publishes so many.
const MOST_KEYS: usize = 64;

/// A JWS in compact form (RFC 7515, 7.1), taken apart and read strictly. Nothing in it is to be believed yet.
#[derive(Debug)]
pub(crate) struct Signed {
    message: String,
    signature: Vec<u8>,
    algorithm: CoreJwsSigningAlgorithm,
    key_id: Option<String>,
    /// What it claims.
    pub(crate) claims: Map<String, Value>,
}

impl Signed {
    pub(crate) fn read(token: &str) -> Result<Self, OpenIdError> {
        Self::parse(token).ok_or(OpenIdError::Refused("form"))?
    }

    /// Nothing where it isn't even a token.
    fn parse(token: &str) -> Option<Result<Self, OpenIdError>> {
        let (message, signature) = token.rsplit_once('.').filter(|_| token.len() <= LONGEST)?;
        let (header, payload) = message.split_once('.')?;
        let header = object(header)?;
        let claims = object(payload)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let text = |name: &str| header.get(name).map(|value| value.as_str().map(str::to_owned));
        let key_id = text("kid").map_or(Some(None), |kid| kid.map(Some))?;
        // A type that says what it is must say that it is a JWT: RFC 9068's access tokens are `at+jwt`.
        if !text("typ").is_none_or(|typ| typ.is_some_and(|typ| typ.eq_ignore_ascii_case("jwt"))) {
            return Some(Err(OpenIdError::Refused("typ")));
        }
        if FOREIGN.iter().any(|name| header.contains_key(*name)) {
            return Some(Err(OpenIdError::Refused("header")));
        }
        let algorithm = header.get("alg").filter(|alg| ALGORITHMS.iter().any(|known| *alg == known));
        let algorithm = algorithm.and_then(|alg| serde_json::from_value(alg.clone()).ok());
        let Some(algorithm) = algorithm else { return Some(Err(OpenIdError::Refused("alg"))) };
        Some(Ok(Self { message: message.to_owned(), signature, algorithm, key_id, claims }))
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_str(strict_json(&bytes)?).ok()
}

/// The keys a provider signs with, as far as they are any good.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<CoreJsonWebKey>);

/// What became of a signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The keys' owner made it.
    Holds,
    /// It did not.
    Fails,
    /// None of these keys has that name: there may be newer ones.
    UnknownKey,
}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517), without what signs nothing, is too short, secret, or not understood.
    pub(crate) fn read(json: &[u8]) -> Result<Self, OpenIdError> {
        let set: Value = serde_json::from_slice(json).unwrap_or_default();
        let all = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let good = all.iter().take(MOST_KEYS).filter(|key| is_good(key));
        let keys: Vec<_> = good.filter_map(|key| serde_json::from_value(key.clone()).ok()).collect();
        if keys.is_empty() {
            return Err(OpenIdError::Away("the key set has no key that can be used".into()));
        }
        Ok(Self(keys))
    }

    /// How many keys can be used.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Verifies by the one key that the token names, and that is for its algorithm; never tries a second.
    pub(crate) fn verify(&self, token: &Signed) -> Verdict {
        let named = |key: &&CoreJsonWebKey| match &token.key_id {
            Some(id) => key.key_id().is_some_and(|kid| kid.as_str() == id),
            None => true,
        };
        let holds = |key: &CoreJsonWebKey| {
            key.verify_signature(&token.algorithm, token.message.as_bytes(), &token.signature).is_ok()
        };
        let mut keys = self.0.iter().filter(named);
        match (keys.next(), keys.next()) {
            (None, _) => Verdict::UnknownKey,
            (Some(key), None) if holds(key) => Verdict::Holds,
            _ => Verdict::Fails,
        }
    }
}

/// Whether a key may sign ID tokens at all. Its `use`, and that it fits a token's algorithm, is asked when it verifies.
fn is_good(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let verifies = |operations: &Value| {
        operations.as_array().is_some_and(|list| list.iter().any(|operation| operation == "verify"))
    };
    let signs = key.get("key_ops").is_none_or(verifies);
    // A private key that everybody can read signs for everybody.
    let is_public = key.get("d").is_none() && key.get("k").is_none();
    let is_long = match text("kty") {
        Some("RSA") => text("n").is_some_and(|n| bits(n) >= RSA_BITS),
        Some("EC" | "OKP") => true,
        _ => false,
    };
    signs && is_public && is_long
}

/// Bits of a number in base64url.
fn bits(number: &str) -> usize {
    let bytes = URL_SAFE_NO_PAD.decode(number).unwrap_or_default();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let top = bytes.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    ((bytes.len() - zeros) * 8).saturating_sub(top)
}
