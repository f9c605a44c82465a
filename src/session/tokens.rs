//! The server's own token keys, replaced as a whole when the ring changes.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    ids::{Audience, Kid, Purpose},
    keyring::Ring,
    token::{SealCounts, TokenKeys},
};

/// The keys in force for the server's own purposes. Readers never wait. `install` replaces all keys at once.
#[derive(Debug)]
pub struct Tokens {
    bundle: ArcSwap<Bundle>,
    counts: Arc<SealCounts>,
}

/// A ring and the keys derived from it. Readers see the old bundle or the new one, never a mixture.
#[derive(Debug)]
struct Bundle {
    ring: Arc<Ring>,
    access: TokenKeys,
    refresh: TokenKeys,
    service: TokenKeys,
    login: TokenKeys,
}

impl Bundle {
    fn derive(ring: Ring, counts: &Arc<SealCounts>) -> Arc<Self> {
        let keys = |purpose| TokenKeys::derive_counted(&ring, &purpose, &Audience::own(), counts);
        let (access, refresh) = (keys(Purpose::access()), keys(Purpose::refresh()));
        let (service, login) = (keys(Purpose::service()), keys(Purpose::login()));
        Arc::new(Self { ring: Arc::new(ring), access, refresh, service, login })
    }
}

impl Tokens {
    /// Derives the keys of all own purposes from a ring.
    pub fn new(ring: Ring) -> Self {
        let counts = Arc::new(SealCounts::default());
        Self { bundle: ArcSwap::new(Bundle::derive(ring, &counts)), counts }
    }

    /// Puts another ring in force. The next token is sealed and opened with its keys. The counts of tokens that this process has
    /// sealed continue.
    pub fn install(&self, ring: Ring) {
        self.bundle.store(Bundle::derive(ring, &self.counts));
    }

    /// The ring in force.
    pub fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.bundle.load().ring)
    }

    /// Runs with the keys of purpose `access`.
    pub fn access<R>(&self, use_keys: impl FnOnce(&TokenKeys) -> R) -> R {
        use_keys(&self.bundle.load().access)
    }

    /// Runs with the keys of purpose `refresh`.
    pub fn refresh<R>(&self, use_keys: impl FnOnce(&TokenKeys) -> R) -> R {
        use_keys(&self.bundle.load().refresh)
    }

    /// Runs with the keys of purpose `service`.
    pub fn service<R>(&self, use_keys: impl FnOnce(&TokenKeys) -> R) -> R {
        use_keys(&self.bundle.load().service)
    }

    /// Runs with the keys of purpose `login`.
    pub fn login<R>(&self, use_keys: impl FnOnce(&TokenKeys) -> R) -> R {
        use_keys(&self.bundle.load().login)
    }

    /// Derives the keys of a purpose and audience that are needed too rarely to keep them ready. This takes some microseconds.
    pub fn derive(&self, purpose: &Purpose, audience: &Audience) -> TokenKeys {
        TokenKeys::derive_counted(&self.ring(), purpose, audience, &self.counts)
    }

    /// The number of tokens that this process sealed with each key.
    pub fn sealed(&self) -> Vec<(Kid, u64)> {
        self.counts.all()
    }
}
