//! Client authentication by a signed assertion instead of a secret: `private_key_jwt` (RFC 7523, section 3).

use serde::Deserialize;
use serde_json::Value;

use crate::{
    clock::{SKEW, Timestamp},
    jws::{KeySet, Signed, Verdict},
};

/// The value of `client_assertion_type` in a form.
pub(super) const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The longest life of an assertion, in seconds. The server remembers an assertion until it expires, so its life needs a bound.
const LONGEST_LIFE: i64 = 3600;
/// The number of keys that a client can have.
const MOST_KEYS: usize = 8;

/// A parsed assertion. Its content is not verified yet.
pub(super) struct Assertion {
    signed: Signed,
    claims: Claims,
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
        let mut signed = Signed::read(text).ok()?;
        let claims = serde_json::from_value(Value::Object(std::mem::take(&mut signed.claims))).ok()?;
        Some(Self { signed, claims })
    }

    /// The client that the assertion names.
    pub(super) fn client(&self) -> &str {
        &self.claims.sub
    }

    /// Checks that the assertion comes from this client, is meant for this server, is valid now, and is signed by the one key it
    /// names. Returns the name under which it must be remembered, so that it is accepted only once, and the time until which it
    /// must be remembered.
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
        let signed = KeySet::read(jwks.as_bytes()).ok()?.verify(&self.signed) == Verdict::Holds;
        let until = Timestamp::from_millis(claims.exp.saturating_mul(1000)).plus(SKEW * 2);
        (in_time && meant && signed).then(|| (format!("assertion {} {}", claims.sub, claims.jti), until))
    }
}

/// Checks a key set. The error names the key and the reason.
pub(super) fn check_keys(set: &Value) -> Result<(), String> {
    KeySet::check(set, MOST_KEYS)
}
