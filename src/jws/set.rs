//! The key set of an issuer. Verifies a signature with the keys that may have made it.

use serde_json::Value;

use super::{JwsError, Signed, key::Key};

/// The maximum number of keys that are tried for one signature.
const MOST_TRIED: usize = 4;
/// The maximum number of keys that are read from a set. Real sets have fewer.
const MOST_KEYS: usize = 64;

/// The keys of an issuer that can verify a signature.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Key>);

/// The result of verifying a signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One of the keys made the signature.
    Holds,
    /// No key made the signature.
    Fails,
    /// No key has the id that the token names. The issuer may have published a new key.
    UnknownKey,
}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517). Keys that can't verify are skipped. A set without a usable key is an error.
    pub(crate) fn read(json: &[u8]) -> Result<Self, JwsError> {
        let away = JwsError::KeySet;
        let set: Value = serde_json::from_slice(json).map_err(|_| away("it is not JSON".into()))?;
        let all = set.get("keys").and_then(Value::as_array);
        let all = all.ok_or_else(|| away("`keys` is missing or not a list".into()))?;
        let (mut keys, mut refused) = (Vec::new(), None);
        for key in all.iter().take(MOST_KEYS) {
            match Key::read(key) {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => keys.push(key),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        if keys.is_empty() {
            let why = refused.unwrap_or("`keys` is empty");
            return Err(away(format!("it has no usable key: {why}")));
        }
        Ok(Self(keys))
    }

    /// The number of keys.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Verifies a signature. If the token names a key id, the keys with this id are tried, or else the keys without an id. If it
    /// names none, all keys are tried. Several keys may share an id, so up to [`MOST_TRIED`] keys for the token's algorithm are
    /// tried.
    pub(crate) fn verify(&self, token: &Signed) -> Verdict {
        let id = token.key_id.as_deref();
        let is_known = id.is_some_and(|id| self.0.iter().any(|key| key.id() == Some(id)));
        let named = |key: &&Key| match id {
            Some(id) if is_known => key.id() == Some(id),
            Some(_) => key.id().is_none(),
            None => true,
        };
        let holds = |key: &Key| key.verifies(token.algorithm, token.message.as_bytes(), &token.signature);
        if !self.0.iter().any(|key| named(&key)) {
            return Verdict::UnknownKey;
        }
        let mut meant = self.0.iter().filter(named).filter(|key| key.is_for(token.algorithm));
        match meant.by_ref().take(MOST_TRIED).any(holds) {
            true => Verdict::Holds,
            false => Verdict::Fails,
        }
    }

    /// Checks the key set of an OAuth client: it has 1 to `most` keys, each key can verify signatures, and no key or id occurs
    /// twice.
    pub(crate) fn check(set: &Value, most: usize) -> Result<(), String> {
        let all = set.get("keys").and_then(Value::as_array);
        let all = all.ok_or("`keys` is not a list")?;
        if !(1..=most).contains(&all.len()) {
            return Err(format!("it has {} keys; one to {most} are allowed", all.len()));
        }
        let mut ids = std::collections::BTreeSet::new();
        let mut keys = Vec::new();
        for (at, key) in all.iter().enumerate() {
            let refused = |why: &str| format!("key {} of {}: {why}", at + 1, all.len());
            let read = Key::read(key).map_err(refused)?;
            if read.id().is_some_and(|id| !ids.insert(id.to_owned())) {
                return Err(refused("an earlier key has the same `kid`"));
            }
            if keys.contains(&read) {
                return Err(refused("it is the same as an earlier key"));
            }
            keys.push(read);
        }
        Ok(())
    }
}
