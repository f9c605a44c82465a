//! The keys of a provider, or of a client, and the one question they answer: did it sign this?

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    JsonWebKey as _,
    core::{CoreJsonWebKey, CoreJwsSigningAlgorithm},
};
use serde_json::{Map, Value};

use super::{
    OpenIdError,
    jwk::{is_for, usable},
};
use crate::token::strict_json;

/// Signatures that are made with a private key. Neither `none` in any spelling nor a shared secret.
pub(crate) const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
/// What a header may not say: where to find another key, that the body is something else, or what must be understood.
const FOREIGN: [&str; 10] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty", "epk"];
/// Bytes of the longest token that is looked at.
pub(crate) const LONGEST: usize = 64 << 10;
/// Keys that are tried for one signature.
const MOST_TRIED: usize = 4;
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
        if token.len() > LONGEST {
            return Err(OpenIdError::Refused("length"));
        }
        Self::parse(token).ok_or(OpenIdError::Refused("form"))?
    }

    /// Nothing where it isn't even a token.
    fn parse(token: &str) -> Option<Result<Self, OpenIdError>> {
        let (message, signature) = token.rsplit_once('.')?;
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
    /// Reads a JSON Web Key Set (RFC 7517). A key that can't verify, for whatever reason, is passed over.
    pub(crate) fn read(json: &[u8]) -> Result<Self, OpenIdError> {
        let away = |why: String| OpenIdError::Away(format!("the key set: {why}"));
        let set: Value = serde_json::from_slice(json).map_err(|_| away("it is not JSON".into()))?;
        let all = set.get("keys").and_then(Value::as_array);
        let all = all.ok_or_else(|| away("`keys` is missing or not a list".into()))?;
        let (mut keys, mut refused) = (Vec::new(), None);
        for key in all.iter().take(MOST_KEYS) {
            match usable(key) {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => keys.push(key),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        if keys.is_empty() {
            let why = refused.unwrap_or("`keys` is empty");
            return Err(away(format!("it has no key that can be used: {why}")));
        }
        Ok(Self(keys))
    }

    /// How many keys can be used.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Verifies by the keys that the token may mean: of the id that it names, else those without an id; if it names none, all
    /// of them. Of these the ones for its algorithm: several may share an id, and [`MOST_TRIED`] of them are tried.
    pub(crate) fn verify(&self, token: &Signed) -> Verdict {
        let has_id = |key: &CoreJsonWebKey, id: &str| key.key_id().is_some_and(|kid| kid.as_str() == id);
        let id = token.key_id.as_deref();
        let is_known = id.is_some_and(|id| self.0.iter().any(|key| has_id(key, id)));
        let named = |key: &&CoreJsonWebKey| match id {
            Some(id) if is_known => has_id(key, id),
            Some(_) => key.key_id().is_none(),
            None => true,
        };
        let holds = |key: &CoreJsonWebKey| {
            key.verify_signature(&token.algorithm, token.message.as_bytes(), &token.signature).is_ok()
        };
        if !self.0.iter().any(|key| named(&key)) {
            return Verdict::UnknownKey;
        }
        let mut meant = self.0.iter().filter(named).filter(|key| is_for(key, &token.algorithm));
        match meant.by_ref().take(MOST_TRIED).any(holds) {
            true => Verdict::Holds,
            false => Verdict::Fails,
        }
    }

    /// Whether a set of keys will do for a client: one to `most`, every one of them usable, no key and no id twice.
    pub(crate) fn check(set: &Value, most: usize) -> Result<(), String> {
        let all = set.get("keys").and_then(Value::as_array);
        let all = all.ok_or("`keys` is not a list")?;
        if !(1..=most).contains(&all.len()) {
            return Err(format!("{} keys; one to {most} are allowed", all.len()));
        }
        let mut ids = std::collections::BTreeSet::new();
        let mut keys = Vec::new();
        for (at, key) in all.iter().enumerate() {
            let refused = |why: &str| format!("key {} of {}: {why}", at + 1, all.len());
            let read = usable(key).map_err(refused)?;
            if read.key_id().is_some_and(|id| !ids.insert(id.as_str().to_owned())) {
                return Err(refused("an earlier key has the same `kid`"));
            }
            if keys.contains(&read) {
                return Err(refused("it is there twice"));
            }
            keys.push(read);
        }
        Ok(())
    }
}
