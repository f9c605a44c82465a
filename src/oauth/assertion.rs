//! A client that signs instead of showing a secret: `private_key_jwt` (RFC 7523, section 3).

use serde::Deserialize;
use serde_json::Value;

use crate::{
    clock::Timestamp,
    jws::{KeySet, Signed, Verdict},
    session::SKEW,
};

/// What a form calls an assertion.
pub(super) const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// An assertion is remembered until it ends, and so may not be made for ever: seconds.
const LONGEST_LIFE: i64 = 3600;
/// Keys a client may have.
const MOST_KEYS: usize = 8;

/// An assertion, taken apart. Nothing in it is to be believed yet.
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
        let signed = KeySet::read(jwks.as_bytes()).ok()?.verify(&self.signed) == Verdict::Holds;
        let until = Timestamp::from_millis(claims.exp.saturating_mul(1000)).plus(SKEW * 2);
        (in_time && meant && signed).then(|| (format!("assertion {} {}", claims.sub, claims.jti), until))
    }
}

/// Whether a set of keys will do; if not, which key and why.
pub(super) fn check_keys(set: &Value) -> Result<(), String> {
    KeySet::check(set, MOST_KEYS)
}
