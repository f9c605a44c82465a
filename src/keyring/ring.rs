//! The ring as it is in force: an immutable lookup from kid to key and state.

use crate::{
    clock::Timestamp,
    ids::Kid,
    keyring::{KeyState, RootKey, Suite},
};

/// A whole, checked ring. Exactly one key is active.
#[derive(Clone, Debug)]
pub struct Ring {
    /// Counts the replacements of `ring.json`.
    pub generation: u64,
    /// Tokens sealed before are refused.
    pub not_before: Timestamp,
    /// SHA-256 of the bytes of `ring.json`: tells a restored or forked ring from the known one.
    pub fingerprint: [u8; 32],
    /// Every listed key, in the order of the file.
    pub keys: Vec<RingKey>,
}

/// One listed key.
#[derive(Clone, Debug)]
pub struct RingKey {
    /// Its name.
    pub kid: Kid,
    /// What it may do.
    pub state: KeyState,
    /// The AEAD it is for.
    pub suite: Suite,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// The key itself; a revoked one has none.
    pub root: Option<RootKey>,
}

impl Ring {
    /// The key that seals.
    pub fn active(&self) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }

    /// The key in waiting.
    pub fn staged(&self) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.state == KeyState::Staged)
    }
}
