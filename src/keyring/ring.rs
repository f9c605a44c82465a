//! The ring in force: an immutable lookup from key id to key and state.

use crate::{
    clock::Timestamp,
    ids::Kid,
    keyring::{KeyState, Listing, RingError, RootKey, Suite},
};

/// The root keys of an installation, checked. [`KeyDirectory::load`](crate::KeyDirectory::load) reads them, and
/// [`TokenKeys::derive`](crate::TokenKeys::derive) derives the keys of a purpose and an audience from them. A clone copies all
/// keys.
#[derive(Clone, Debug)]
pub struct Ring {
    /// The number of the ring's version: each replacement of `ring.json` increases it.
    #[doc(hidden)]
    pub generation: u64,
    /// Tokens sealed before this time are refused.
    #[doc(hidden)]
    pub not_before: Timestamp,
    /// SHA-256 of the bytes of `ring.json`; distinguishes a restored or forked ring from the known one.
    #[doc(hidden)]
    pub fingerprint: [u8; 32],
    /// Every listed key, in the order of the file.
    #[doc(hidden)]
    pub keys: Vec<RingKey>,
}

/// One listed key.
#[derive(Clone, Debug)]
pub struct RingKey {
    /// The key id.
    pub kid: Kid,
    /// The state of the key.
    pub state: KeyState,
    /// The suite of the key.
    pub suite: Suite,
    /// When the key entered this state.
    pub since: Timestamp,
    /// The root key. `None` if the key is revoked.
    pub root: Option<RootKey>,
}

impl Ring {
    /// The key that seals; `None` only in a ring whose active key was revoked while no successor was readable.
    #[doc(hidden)]
    pub fn active(&self) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }

    /// The latest time at which a key entered its state.
    #[doc(hidden)]
    pub fn newest_change(&self) -> Timestamp {
        self.keys.iter().map(|key| key.since).max().unwrap_or_default()
    }

    /// The key that becomes active at the next rollover.
    #[doc(hidden)]
    pub fn staged(&self) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.state == KeyState::Staged)
    }

    /// The JSON view for programs: the kids and states of the keys, never a key.
    #[doc(hidden)]
    pub fn to_json(&self) -> serde_json::Value {
        let keys = self.keys.iter().map(|key| {
            serde_json::json!({
                "kid": key.kid.to_string(), "state": key.state, "suite": key.suite, "since": key.since.to_string(),
            })
        });
        serde_json::json!({
            "generation": self.generation, "not_before": self.not_before, "keys": keys.collect::<Vec<_>>(),
        })
    }

    /// Checks this ring against the highest generation that a database has recorded (`mark`: the generation and the fingerprint of
    /// its `ring.json`).
    ///
    /// # Errors
    ///
    /// The ring is older than the mark (a restored copy), or has its generation with other bytes (a fork).
    #[doc(hidden)]
    pub fn check_mark(&self, mark: Option<(u64, [u8; 32])>) -> Result<(), RingError> {
        let Some((generation, fingerprint)) = mark else { return Ok(()) };
        let what = if self.generation < generation {
            format!(
                "the key ring has generation {}, but generation {generation} has been in force already: this is an old copy",
                self.generation
            )
        } else if self.generation == generation && self.fingerprint != fingerprint {
            format!(
                "the key ring of generation {generation} differs from the one of this generation that has been in \
                 force: this is a fork"
            )
        } else {
            return Ok(());
        };
        Err(RingError::Refused(format!(
            "{what}; restore the newest copy of the keys directory. If it is lost, create new keys with `bulla keys \
             revoke --all` (all users must log in again)"
        )))
    }

    /// Checks that this ring may replace `last` in a running process.
    pub(super) fn check_successor(&self, last: &Self) -> Result<(), RingError> {
        self.check_mark(Some((last.generation, last.fingerprint)))?;
        let revived = last
            .keys
            .iter()
            .filter(|key| key.state == KeyState::Revoked)
            .find(|key| self.keys.iter().any(|now| now.kid == key.kid && now.state != KeyState::Revoked));
        match revived {
            // A revoked key stays revoked, even if the new ring does not list it as revoked.
            Some(key) => Err(RingError::Refused(format!(
                "key {kid} was revoked, but the new key ring does not list it as revoked; revoke it again with \
                 `bulla keys revoke {kid}`",
                kid = key.kid
            ))),
            None => Ok(()),
        }
    }

    /// Applies the changes of a newer listing whose ring can't be loaded, as far as possible: revocations, a later `not_before`,
    /// and the promotion of a key that this ring holds.
    ///
    /// Generation and fingerprint stay, so that the newer ring is tried again. If the active key is revoked and this ring doesn't
    /// hold its successor, the staged key seals. If that is revoked too, no key seals.
    pub(super) fn with_changes_of(&self, newer: &Listing) -> Self {
        let mut ring = self.clone();
        ring.not_before = ring.not_before.max(newer.not_before);
        let listed = |kid| newer.keys.iter().find(|key| key.kid == kid);
        for key in &mut ring.keys {
            if let Some(now) = listed(key.kid).filter(|now| now.state == KeyState::Revoked) {
                key.state = KeyState::Revoked;
                key.since = now.since;
                key.root = None;
            }
        }
        let promoted = newer.in_state(KeyState::Active).map(|key| key.kid);
        let held = |kid: &Kid| ring.keys.iter().any(|key| key.kid == *kid && key.root.is_some());
        let heir = || ring.staged().filter(|key| listed(key.kid).is_some()).map(|key| key.kid);
        let seals = promoted.filter(held).or_else(|| ring.active().map(|key| key.kid)).or_else(heir);
        for key in &mut ring.keys {
            if Some(key.kid) == seals {
                key.state = KeyState::Active;
            } else if key.state == KeyState::Active {
                key.state = KeyState::Retired;
            }
        }
        ring
    }
}
