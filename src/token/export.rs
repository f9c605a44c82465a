//! What an integrator gets: derived keys of one purpose and audience (DESIGN 3).

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clock::Timestamp,
    ids::{Audience, Kid, Purpose},
    keyring::{KeyState, Ring, Suite},
    secret::Secret,
    token::{
        TokenKeys,
        seal::{SealCounts, TokenKey},
    },
};

/// An export that isn't what DESIGN 3 says; names the rule, never a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key export: {0}")]
pub struct BadExport(String);

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
        let file: File<'_> = serde_json::from_str(text).map_err(|error| {
            // The category only: serde's message may quote what stands in the file.
            BadExport(format!("{:?} error at line {}", error.classify(), error.line()))
        })?;
        let bad = |what: &str| BadExport(what.to_owned());
        if file.version != 1 {
            return Err(bad("its version is not 1"));
        }
        let keys = file.keys.iter().map(|line| {
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
            return Err(bad("a kid stands twice"));
        }
        if keys.iter().filter(|key| key.state == KeyState::Active).count() > 1 {
            return Err(bad("more than one key is active"));
        }
        if keys.iter().any(|key| !key.state.opens()) {
            return Err(bad("a revoked key is in it"));
        }
        Ok(Self {
            purpose: file.purpose.parse().map_err(|_| bad("its purpose is not a name"))?,
            audience: file.audience.parse().map_err(|_| bad("its audience is not a name"))?,
            max_age: Duration::from_secs(file.max_age),
            not_before: file.not_before,
            keys,
        })
    }

    /// The JSON form; holds keys.
    pub fn to_json(&self) -> Zeroizing<String> {
        let keys = self.keys.iter().map(|key| Line {
            kid: key.kid.to_string(),
            state: key.state,
            suite: key.suite,
            key: key.key.to_base64url(),
        });
        let file = File {
            version: 1,
            purpose: self.purpose.as_str(),
            audience: self.audience.as_str(),
            max_age: self.max_age.as_secs(),
            not_before: self.not_before,
            keys: keys.collect(),
        };
        Zeroizing::new(serde_json::to_string(&file).expect("names, numbers and texts have a JSON form"))
    }

    /// The keys, ready to open (and, for machines that issue to one another, to seal).
    pub fn keys(&self) -> TokenKeys {
        let counts = SealCounts::default();
        let keys =
            self.keys.iter().map(|key| TokenKey::new(key.kid, key.state, key.suite, &key.key, &counts));
        TokenKeys::of(keys.collect(), self.not_before)
    }

    /// What the tokens are for.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// Who may open them.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// How old a token may be.
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
    keys: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    kid: String,
    state: KeyState,
    suite: Suite,
    key: Zeroizing<String>,
}
