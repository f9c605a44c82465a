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
        seal::{SealCounts, TokenKey},
    },
};

/// Why a text is not an export. The message names the rule and contains no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key export: {0}")]
pub struct BadExport(String);

impl BadExport {
    pub(super) fn changed() -> Self {
        Self("it has another purpose or audience than before".into())
    }
}

/// Derived keys of one purpose and audience. Who holds it can open, and forge, tokens of these and nothing else.
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
    /// The variable that may hold an export. Not `BULLA_KEYS`: that is a setting, and error messages name its value.
    pub const VARIABLE: &str = "BULLA_EXPORT";

    /// Derives from the staged, active and retired keys. The caller decides what may be exported.
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

    /// Reads the JSON form, strictly: unknown fields, duplicate kids, a second active key and a revoked one are refused.
    pub fn from_json(text: &str) -> Result<Self, BadExport> {
        let Object(file): Object<File<'_>> = serde_json::from_str(text).map_err(|error| {
            // The category only: serde's message may quote what stands in the file.
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

    /// The JSON form; contains keys.
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

    /// One line, [`VARIABLE`](Self::VARIABLE)`=…`: the JSON form in base64url, which has no character that a shell, container or service
    /// manager interprets. Contains keys.
    pub fn to_env(&self) -> SecretText {
        let value = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.to_json().expose()));
        SecretText::new(format!("{}={}", Self::VARIABLE, *value))
    }

    /// Reads the value of that variable.
    ///
    /// # Errors
    ///
    /// The value is not base64url, or not an export.
    pub fn from_env(value: &str) -> Result<Self, BadExport> {
        let json = URL_SAFE_NO_PAD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let json = json.map(Zeroizing::new).ok_or_else(|| BadExport("it is not base64url".into()))?;
        Self::from_json(&json)
    }

    /// A JWK Set (RFC 7517) for key stores that accept no other format; contains keys. XAES-256-GCM has no registered `alg`, so there is
    /// none: suite, state and the other data for an opener are in the private member `bulla`.
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

    /// The keys, ready to open. With the active key they also seal, for machines that issue tokens to one another.
    pub fn keys(&self) -> TokenKeys {
        self.counted_keys(&SealCounts::default())
    }

    /// The same, with counts that continue.
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

    /// The maximum age of a token, in whole seconds.
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
    fn an_export_is_made_of_objects_and_of_times_that_have_been() {
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
