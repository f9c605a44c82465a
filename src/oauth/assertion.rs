//! A client that signs instead of showing a secret: `private_key_jwt` (RFC 7523, section 3).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    JsonWebKey as _,
    core::{CoreJsonWebKey, CoreJwsSigningAlgorithm},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{clock::Timestamp, session::SKEW};

/// What a form calls an assertion.
pub(super) const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Signatures that are made with a private key. Neither `none` in any spelling nor a shared secret.
pub(super) const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
/// An assertion is remembered until it ends, and so may not be made for ever: seconds.
const LONGEST_LIFE: i64 = 3600;
/// Bytes of the longest.
const LONGEST: usize = 8 << 10;
/// The least bytes of an RSA modulus: 2048 bits.
const RSA_BYTES: usize = 256;
/// Keys a client may have.
const MOST_KEYS: usize = 8;

/// An assertion, taken apart. Nothing in it is to be believed yet.
pub(super) struct Assertion {
    message: String,
    signature: Vec<u8>,
    algorithm: CoreJwsSigningAlgorithm,
    key_id: Option<String>,
    claims: Claims,
}

/// Where another key might be found, or what else must be understood, stands in other members: there are none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audiences,
    exp: i64,
    nbf: Option<i64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Assertion {
    pub(super) fn read(text: &str) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.').filter(|_| text.len() <= LONGEST)?;
        let (header, claims) = message.split_once('.')?;
        let header: Header = parse(header)?;
        let known = ALGORITHMS.contains(&header.alg.as_str())
            && header.typ.is_none_or(|typ| {
                typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("client-authentication+jwt")
            });
        Some(Self {
            message: message.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok().filter(|_| known)?,
            algorithm: serde_json::from_value(header.alg.into()).ok()?,
            key_id: header.kid,
            claims: parse(claims)?,
        })
    }

    /// Who it says it is from.
    pub(super) fn client(&self) -> &str {
        &self.claims.sub
    }

    /// Whether it is from that client, for this server, of this time, and signed by the one key it names. What it must be
    /// remembered by, so that it is taken once, and until when.
    pub(super) fn holds(&self, jwks: &str, here: &[String], now: Timestamp) -> Option<(String, Timestamp)> {
        let claims = &self.claims;
        let audience = match &claims.aud {
            Audiences::One(one) => one,
            Audiences::Many(many) => many.first().filter(|_| many.len() == 1)?,
        };
        let seconds = now.millis().div_euclid(1000);
        let skew = i64::try_from(SKEW.as_secs()).ok()?;
        let in_time = seconds < claims.exp.saturating_add(skew)
            && claims.exp <= seconds + LONGEST_LIFE + skew
            && claims.nbf.is_none_or(|from| from <= seconds + skew);
        let meant = claims.iss == claims.sub && here.contains(audience) && !claims.jti.is_empty();
        let keys = keys(&serde_json::from_str(jwks).ok()?)?;
        let named = |key: &&CoreJsonWebKey| {
            self.key_id.as_ref().is_none_or(|id| key.key_id().is_none_or(|own| own.as_str() == id))
        };
        let mut named = keys.iter().filter(named);
        let key = named.next().filter(|_| named.next().is_none())?;
        let signed = key.verify_signature(&self.algorithm, self.message.as_bytes(), &self.signature).is_ok();
        let until = Timestamp::from_millis(claims.exp.saturating_mul(1000)).plus(SKEW * 2);
        (in_time && meant && signed).then(|| (format!("assertion {} {}", claims.sub, claims.jti), until))
    }
}

fn parse<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The keys of a set, if all of them are any good: public, for signatures, RSA of 2048 bits at least.
pub(super) fn keys(set: &Value) -> Option<Vec<CoreJsonWebKey>> {
    let all = set.get("keys")?.as_array().filter(|all| (1..=MOST_KEYS).contains(&all.len()))?;
    all.iter().map(|key| serde_json::from_value(key.clone()).ok().filter(|_| is_good(key))).collect()
}

fn is_good(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let is_public = ["d", "k", "p", "q"].iter().all(|secret| key.get(secret).is_none());
    let is_long = match text("kty") {
        Some("RSA") => {
            text("n").and_then(|n| URL_SAFE_NO_PAD.decode(n).ok()).is_some_and(|n| n.len() >= RSA_BYTES)
        }
        Some("EC" | "OKP") => true,
        _ => false,
    };
    is_public && is_long && text("use").is_none_or(|what| what == "sig")
}
