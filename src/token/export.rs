//! The export for integrators: derived keys of one purpose and audience (docs/design/keys.md).

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clock::Timestamp,
    ids::{Audience, Kid, Purpose},
    keyring::{KeyState, Ring, Suite},
    secret::{Secret, SecretText},
    token::{
        Object, TokenKeys,
        keys::{SealCounts, TokenKey},
    },
};

/// The text is not an export. The message names the rule that it breaks and contains no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key export: {0}")]
pub struct BadExport(String);

impl BadExport {
    pub(super) fn changed() -> Self {
        Self("it has another purpose or audience than before".into())
    }
}

/// Derived keys of one purpose and audience, for another service. The holder of an export can open and forge tokens of this purpose
/// and audience, and no other tokens.
#[derive(Debug)]
pub struct KeyExport {
    purpose: Purpose,
    audience: Audience,
    max_age: Duration,
    not_before: Timestamp,
    keys: Vec<ExportedKey>,
}

#[derive(Debug)]
struct ExportedKey {
    kid: Kid,
    state: KeyState,
    suite: Suite,
    key: Secret<32>,
}

impl KeyExport {
    /// The name of the environment variable for an export. It is not `BULLA_KEYS`, because that is a setting, and error messages
    /// contain the values of settings.
    pub const VARIABLE: &str = "BULLA_EXPORT";

    /// Derives the keys from the staged, active and retired keys of a ring: one HKDF computation for each. `max_age` is the age
    /// from which openers refuse a token; the export has it in whole seconds. The caller decides whether these keys may be
    /// exported.
    pub fn new(ring: &Ring, purpose: &Purpose, audience: &Audience, max_age: Duration) -> Self {
        let openers = ring.keys.iter().filter(|key| key.state.opens());
        let keys = openers.filter_map(|key| {
            let derived = key.root.as_ref()?.derive(purpose, audience);
            Some(ExportedKey { kid: key.kid, state: key.state, suite: key.suite, key: derived })
        });
        Self {
            purpose: purpose.clone(),
            audience: audience.clone(),
            max_age,
            not_before: ring.not_before,
            keys: keys.collect(),
        }
    }

    /// Parses the JSON form strictly. Does no I/O.
    ///
    /// # Errors
    ///
    /// The text is not an export: it is not JSON of this form, or it has unknown fields, a key id twice, two active keys or a
    /// revoked key.
    pub fn from_json(text: &str) -> Result<Self, BadExport> {
        let Object(file): Object<File<'_>> = serde_json::from_str(text).map_err(|error| {
            // Only the category is reported, because serde's message may quote the file.
            BadExport(format!("{:?} error at line {}", error.classify(), error.line()))
        })?;
        let bad = |what: &str| BadExport(what.to_owned());
        if file.not_before < Timestamp::EPOCH {
            return Err(bad("its not_before is negative"));
        }
        if file.version != 1 {
            return Err(bad("its version is not 1"));
        }
        let keys = file.keys.iter().map(|Object(line)| {
            Ok(ExportedKey {
                kid: line.kid.parse().map_err(|_| bad("a kid is not 8 lower-case hex digits"))?,
                state: line.state,
                suite: line.suite,
                key: Secret::from_base64url(&line.key)
                    .ok_or_else(|| bad("a key is not 43 characters of base64url"))?,
            })
        });
        let keys = keys.collect::<Result<Vec<_>, BadExport>>()?;
        if keys.iter().map(|key| key.kid).collect::<BTreeSet<_>>().len() != keys.len() {
            return Err(bad("a kid is listed twice"));
        }
        if keys.iter().filter(|key| key.state == KeyState::Active).count() > 1 {
            return Err(bad("more than one key is active"));
        }
        if keys.iter().any(|key| !key.state.opens()) {
            return Err(bad("a key is revoked"));
        }
        Ok(Self {
            purpose: file.purpose.parse().map_err(|_| bad("its purpose is not a valid purpose"))?,
            audience: file.audience.parse().map_err(|_| bad("its audience is not a valid audience"))?,
            max_age: Duration::from_secs(file.max_age),
            not_before: file.not_before,
            keys,
        })
    }

    /// The JSON form. It contains keys.
    pub fn to_json(&self) -> SecretText {
        let keys = self.keys.iter().map(|key| {
            Object(Line {
                kid: key.kid.to_string(),
                state: key.state,
                suite: key.suite,
                key: key.key.to_base64url(),
            })
        });
        let file = File {
            version: 1,
            purpose: self.purpose.as_str(),
            audience: self.audience.as_str(),
            max_age: self.max_age.as_secs(),
            not_before: self.not_before,
            keys: keys.collect(),
        };
        SecretText::new(serde_json::to_string(&file).expect("names, numbers and texts have a JSON form"))
    }

    /// The JSON form as one line, [`VARIABLE`](Self::VARIABLE)`=…`. The value is base64url, so no shell, container or service
    /// manager interprets any of its characters. Contains keys.
    pub fn to_env(&self) -> SecretText {
        let value = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.to_json().expose()));
        SecretText::new(format!("{}={}", Self::VARIABLE, *value))
    }

    /// Parses the value of this variable. Does not read the environment.
    ///
    /// # Errors
    ///
    /// The value is not base64url, or not an export.
    pub fn from_env(value: &str) -> Result<Self, BadExport> {
        let json = URL_SAFE_NO_PAD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let json = json.map(Zeroizing::new).ok_or_else(|| BadExport("it is not base64url".into()))?;
        Self::from_json(&json)
    }

    /// A JWK Set (JSON Web Keys, RFC 7517), for key stores that accept no other format. Contains keys. XAES-256-GCM has no
    /// registered `alg`, so this member is missing. The private member `bulla` has the suite, the state and the other data that an
    /// opener needs.
    pub fn to_jwks(&self) -> SecretText {
        let keys = self.keys.iter().map(|key| Jwk {
            kty: "oct",
            kid: key.kid.to_string(),
            key_ops: if key.state == KeyState::Active { &["encrypt", "decrypt"] } else { &["decrypt"] },
            k: key.key.to_base64url(),
            bulla: AboutKey { state: key.state, suite: key.suite },
        });
        let bulla = AboutSet {
            version: 1,
            purpose: self.purpose.as_str(),
            audience: self.audience.as_str(),
            max_age: self.max_age.as_secs(),
            not_before: self.not_before,
        };
        let set = JwkSet { keys: keys.collect(), bulla };
        SecretText::new(serde_json::to_string(&set).expect("names, numbers and texts have a JSON form"))
    }

    /// The keys, ready to open tokens. With the active key they also seal tokens, for machines that issue tokens to each other.
    /// Each call expands the keys, so keep the result.
    pub fn keys(&self) -> TokenKeys {
        self.counted_keys(&SealCounts::default())
    }

    /// Like [`Self::keys`], with the counts of earlier keys.
    pub(super) fn counted_keys(&self, counts: &SealCounts) -> TokenKeys {
        let keys = self.keys.iter().map(|key| TokenKey::new(key.kid, key.state, key.suite, &key.key, counts));
        TokenKeys::of(keys.collect(), self.not_before)
    }

    /// The purpose of the tokens.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The audience of the tokens.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The age from which a token is refused, in whole seconds.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    version: u32,
    purpose: &'a str,
    audience: &'a str,
    max_age: u64,
    not_before: Timestamp,
    keys: Vec<Object<Line>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    kid: String,
    state: KeyState,
    suite: Suite,
    key: Zeroizing<String>,
}

#[derive(Serialize)]
struct JwkSet<'a> {
    keys: Vec<Jwk>,
    bulla: AboutSet<'a>,
}

#[derive(Serialize)]
struct Jwk {
    kty: &'static str,
    kid: String,
    key_ops: &'static [&'static str],
    k: Zeroizing<String>,
    bulla: AboutKey,
}

#[derive(Serialize)]
struct AboutKey {
    state: KeyState,
    suite: Suite,
}

#[derive(Serialize)]
struct AboutSet<'a> {
    version: u32,
    purpose: &'a str,
    audience: &'a str,
    max_age: u64,
    not_before: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_with_arrays_or_a_negative_time_is_refused() {
        let key = "A".repeat(43);
        let line = format!(r#"{{"kid":"9f3c21ab","state":"active","suite":"xaes-256-gcm","key":"{key}"}}"#);
        let export = |not_before: i64, line: &str| {
            format!(
                r#"{{"version":1,"purpose":"access","audience":"","max_age":120,"not_before":{not_before},"keys":[{line}]}}"#
            )
        };
        assert!(KeyExport::from_json(&export(0, &line)).is_ok());
        let listed = format!(r#"["9f3c21ab","active","xaes-256-gcm","{key}"]"#);
        for bad in [export(-1, &line), export(0, &listed), format!(r#"[1,"access","",120,0,[{line}]]"#)] {
            let refused = KeyExport::from_json(&bad).map(drop).unwrap_err();
            assert!(!refused.to_string().contains(&key), "{refused}");
        }
    }
}
