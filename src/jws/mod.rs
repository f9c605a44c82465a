//! JSON Web Signatures (JWS, RFC 7515) of other parties: ID tokens of providers and assertions of OAuth clients. Verification only.
//!
//! [`Signed::read`] splits and parses a token strictly, [`KeySet::read`] reads the keys of its issuer, and [`KeySet::verify`] says
//! whether one of them made the signature. Signatures are verified by `ring`. The type of a key decides which algorithms it may be
//! used with, before the token's `alg` is looked at.

mod key;
mod set;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

pub(crate) use set::{KeySet, Verdict};

use crate::token::strict_json;

/// The length of the longest token that is read, in bytes.
pub(crate) const LONGEST: usize = 64 << 10;

/// Header members that are refused: they name another key, declare another encoding of the body, or must be understood.
const REFUSED_MEMBERS: [&str; 10] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty", "epk"];

/// The algorithms that are supported: signatures by a private key (RFC 7518, section 3.1; RFC 8037). Not `none`, and no shared
/// secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name of the algorithm in the header member `alg`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Why a token or a key set can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwsError {
    /// The token is refused. The word is for logs.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// The key set can't be used. The text says why.
    #[error("the key set: {0}")]
    KeySet(String),
}

/// A token in compact form (RFC 7515, section 7.1), split and parsed strictly. Nothing in it is verified yet.
#[derive(Debug)]
pub(crate) struct Signed {
    message: String,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<String>,
    /// The claims, which are not verified.
    pub(crate) claims: Map<String, Value>,
}

impl Signed {
    /// Reads a token of at most [`LONGEST`] bytes whose header and payload are strict JSON objects.
    pub(crate) fn read(token: &str) -> Result<Self, JwsError> {
        if token.len() > LONGEST {
            return Err(JwsError::Refused("length"));
        }
        let parts = Parts::of(token).ok_or(JwsError::Refused("form"))?;
        let claims = object(&parts.payload).ok_or(JwsError::Refused("form"))?;
        let (algorithm, key_id) = parts.header()?;
        Ok(Self { message: parts.message.to_owned(), signature: parts.signature, algorithm, key_id, claims })
    }
}

/// The decoded parts of a token.
struct Parts<'a> {
    message: &'a str,
    header: Map<String, Value>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Splits and decodes a token. `None` if it is not a JWS.
    fn of(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header = object(&URL_SAFE_NO_PAD.decode(header).ok()?)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { message, header, payload, signature })
    }

    /// The algorithm and the id of the key. A header with members that change the meaning of the token is refused.
    fn header(&self) -> Result<(Algorithm, Option<String>), JwsError> {
        let text = |name: &str| self.header.get(name).map(Value::as_str);
        let Some(key_id) = text("kid").map_or(Some(None), |id| id.map(Some)) else {
            return Err(JwsError::Refused("form"));
        };
        // A `typ` must say that this is a JWT: access tokens of RFC 9068 have `at+jwt`.
        if !text("typ").is_none_or(|typ| typ.is_some_and(|typ| typ.eq_ignore_ascii_case("jwt"))) {
            return Err(JwsError::Refused("typ"));
        }
        if REFUSED_MEMBERS.iter().any(|name| self.header.contains_key(*name)) {
            return Err(JwsError::Refused("header"));
        }
        let algorithm = text("alg").flatten().and_then(Algorithm::named).ok_or(JwsError::Refused("alg"))?;
        Ok((algorithm, key_id.map(str::to_owned)))
    }
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_str(strict_json(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{key::Key, *};

    /// Published tests that are valid there and refused here: the key is for PS256, and the token's `alg` is PS384.
    const STRICTER: [u64; 2] = [346, 350];

    #[test]
    fn the_wycheproof_vectors_have_the_published_results() {
        let file: Value = serde_json::from_str(include_str!("../../tests/jws/wycheproof.json")).unwrap();
        let (mut valid, mut invalid, mut unsupported) = (0, 0, 0);
        for group in file["groups"].as_array().unwrap() {
            let key = Key::read(&group["key"]);
            for test in group["tests"].as_array().unwrap() {
                let verified = key.as_ref().is_ok_and(|key| {
                    let parts = Parts::of(test["jws"].as_str().unwrap());
                    parts.is_some_and(|parts| {
                        parts.header().is_ok_and(|(algorithm, _)| {
                            key.verifies(algorithm, parts.message.as_bytes(), &parts.signature)
                        })
                    })
                });
                let comment = test["comment"].as_str().unwrap();
                match (test["result"] == "valid", verified) {
                    (true, true) => valid += 1,
                    (false, false) => invalid += 1,
                    // Shared secrets and P-521 are not supported.
                    (true, false) if key.is_err() => unsupported += 1,
                    (published, _) => {
                        let known = STRICTER.iter().any(|known| test["id"] == *known);
                        assert!(published && known, "test {}: {comment}", test["id"]);
                    }
                }
            }
        }
        println!(
            "{valid} valid, {invalid} invalid, {unsupported} valid ones with keys that are not supported"
        );
        assert!(valid >= 30 && invalid >= 300, "{valid} valid, {invalid} invalid");
    }
}
