//! The server's own token keys, replaced as a whole when the ring changes.

use std::sync::Arc;

use crate::{ids::Kid, keyring::Ring, token::TokenKeys};

/// The keys in force for the server's own purposes. Readers never wait; `install` replaces all at once.
#[derive(Debug)]
pub struct Tokens {}

impl Tokens {
    /// Derives all keys of a ring.
    pub fn new(ring: Ring) -> Self {
        let _ = ring;
        todo!()
    }
    /// Puts another ring in force.
    pub fn install(&self, ring: Ring) {
        let _ = ring;
        todo!()
    }
    /// The ring in force.
    pub fn ring(&self) -> Arc<Ring> {
        todo!()
    }
    /// Runs with the keys of purpose `access`.
    pub fn access<R>(&self, use_keys: impl FnOnce(&TokenKeys) -> R) -> R {
        let _ = use_keys;
        todo!()
    }
    /// Runs with the keys of purpose `refresh`.
    pub fn refresh<R>(&self, use_keys: impl FnOnce(&TokenKeys) -> R) -> R {
        let _ = use_keys;
        todo!()
    }
    /// Tokens sealed by this process under each key.
    pub fn sealed(&self) -> Vec<(Kid, u64)> {
        todo!()
    }
}
