//! Secret bytes and texts: wiped when dropped, never printed, compared in constant time; and the source of randomness.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng as _, rngs::SysRng};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The random generator of the operating system failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random generator failed")]
pub struct NoRandomness;

/// Fills `bytes` from the operating system's generator. A generator in the process would not reseed after a fork or after a
/// restored snapshot of a virtual machine.
///
/// # Errors
///
/// [`NoRandomness`] if the generator failed.
pub fn random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    SysRng.try_fill_bytes(bytes).map_err(|_| NoRandomness)
}

/// `N` secret bytes. `Debug` prints no bytes; comparison takes constant time; the memory is wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// A secret from its bytes. The caller wipes its own copy.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// New random bytes, from the operating system's generator.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] if the generator failed.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut secret = Self([0; N]);
        random(&mut secret.0)?;
        Ok(secret)
    }

    /// Parses canonical unpadded base64url of exactly `N` bytes. `None` for any other text.
    pub fn from_base64url(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new(vec![0; N + 3]);
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        bytes.truncate(length);
        Some(Self(bytes.as_slice().try_into().ok()?))
    }

    /// The bytes as unpadded base64url, for a file or a sealed payload.
    pub fn to_base64url(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0))
    }

    /// The SHA-256 digest of the bytes, for a database.
    pub fn sha256(&self) -> Digest {
        Digest(Sha256::digest(self.0).into())
    }

    /// The secret bytes.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(…)")
    }
}

/// A secret text, such as a password or a client's secret. Its memory is wiped on drop, and `Debug` doesn't print it.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub struct SecretText(String);

impl SecretText {
    /// A secret from its text. The text is moved, not copied.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret text. The caller must not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// A SHA-256 digest of a secret. Equality takes constant time.
#[derive(Clone, Copy)]
pub struct Digest(pub [u8; 32]);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_only_one_accepted_spelling() {
        let secret = Secret::<32>::generate().unwrap();
        let text = secret.to_base64url();
        assert_eq!(text.len(), 43);
        assert_eq!(Secret::from_base64url(&text), Some(secret));
        assert_eq!(Secret::<32>::from_base64url(&format!("{}=", *text)), None);
        assert_eq!(Secret::<32>::from_base64url(&text[1..]), None);
        assert_eq!(Secret::<2>::from_base64url("AAB"), None, "unused bits must be zero");
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(format!("{:?}", Secret::new([7; 4])), "Secret<4>(…)");
        assert_eq!(format!("{:?}", SecretText::new("hunter2".into())), "SecretText(…)");
    }
}
