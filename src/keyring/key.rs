//! One root key: its suite, its id, and the keys derived from it.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    ids::{Audience, Kid, Purpose},
    secret::{NoRandomness, Secret},
    text_names::text_names,
};

/// The AEAD (authenticated encryption with associated data) of a key. The key determines it: a token whose letter names another
/// suite is refused.
///
/// `Display` and `FromStr` use the names `xaes-256-gcm`, `aes-256-gcm` and `xchacha20-poly1305`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// XAES-256-GCM (C2SP), 24-byte nonce; the default.
    #[default]
    Xaes256Gcm,
    /// AES-256-GCM, 12-byte nonce. Each process seals at most 2^32 tokens with a key.
    Aes256Gcm,
    /// XChaCha20-Poly1305, 24-byte nonce.
    XChaCha20Poly1305,
}

text_names!(Suite {
    Xaes256Gcm = "xaes-256-gcm",
    Aes256Gcm = "aes-256-gcm",
    XChaCha20Poly1305 = "xchacha20-poly1305",
});

impl Suite {
    /// The letter on the wire and in key derivation: `X`, `A` or `C`.
    #[doc(hidden)]
    pub const fn letter(self) -> u8 {
        match self {
            Self::Xaes256Gcm => b'X',
            Self::Aes256Gcm => b'A',
            Self::XChaCha20Poly1305 => b'C',
        }
    }

    /// Length of the nonce in bytes: 12 or 24.
    #[doc(hidden)]
    pub const fn nonce_len(self) -> usize {
        match self {
            Self::Aes256Gcm => 12,
            _ => 24,
        }
    }
}

/// The state of a key, which determines its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Opens tokens. Seals tokens after the next rollover.
    Staged,
    /// Seals and opens tokens. A ring has exactly one active key.
    Active,
    /// Opens tokens.
    Retired,
    /// Neither seals nor opens tokens. The key stays listed.
    Revoked,
}

text_names!(KeyState {
    Staged = "staged",
    Active = "active",
    Retired = "retired",
    Revoked = "revoked",
});

impl KeyState {
    /// Whether a key in this state opens tokens.
    pub const fn opens(self) -> bool {
        !matches!(self, Self::Revoked)
    }
}

/// A root key. Its key id is derived from its bytes and suite, so a key can't be stored under another key's id.
#[derive(Clone, Debug)]
pub struct RootKey {
    suite: Suite,
    kid: Kid,
    bytes: Secret<32>,
}

impl RootKey {
    /// A new key from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// The generator failed.
    pub fn generate(suite: Suite) -> Result<Self, NoRandomness> {
        Ok(Self::new(suite, Secret::generate()?))
    }

    /// A key from its bytes; derives the key id.
    pub fn new(suite: Suite, bytes: Secret<32>) -> Self {
        let mut kid = [0; 4];
        expand(&bytes, &[b"bulla/v1", &[suite.letter()], b"kid"], &mut kid);
        Self { suite, kid: Kid(kid), bytes }
    }

    /// The suite that the key is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The key id, which is public.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// The secret bytes, for the key's file.
    pub fn bytes(&self) -> &Secret<32> {
        &self.bytes
    }

    /// Derives the key that seals the tokens of one purpose and audience (HKDF-SHA256, RFC 5869; docs/token.md).
    pub fn derive(&self, purpose: &Purpose, audience: &Audience) -> Secret<32> {
        let mut derived = Zeroizing::new([0; 32]);
        let info: [&[u8]; 4] =
            [b"bulla/v1", &[self.suite.letter()], purpose.as_str().as_bytes(), audience.as_str().as_bytes()];
        expand(&self.bytes, &info, &mut *derived);
        Secret::new(*derived)
    }
}

/// HKDF-SHA256 without salt. `info` is the parts joined by zero bytes, which no part can contain.
fn expand(root: &Secret<32>, parts: &[&[u8]], out: &mut [u8]) {
    Hkdf::<Sha256>::new(None, root.expose())
        .expand(&parts.join(&0), out)
        .expect("4 and 32 bytes are below HKDF's limit of 255 hashes");
}
