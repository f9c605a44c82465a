//! The three AEADs behind one enum, keys expanded once.

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit, inout::InOutBuf},
};
use chacha20poly1305::XChaCha20Poly1305;
use xaes_256_gcm::Xaes256Gcm;

use crate::{
    keyring::Suite,
    secret::Secret,
    token::{
        gcm::{Gcm, Xaes},
        wire::TAG,
    },
};

/// A derived key, expanded. Wiped on drop by the `zeroize` features of the crates. The AEAD crates seal; what
/// opens most often, X and A, is opened by [`gcm`](super::gcm).
pub(super) enum Cipher {
    X(Box<(Xaes256Gcm, Xaes)>),
    A(Box<(Aes256Gcm, Gcm)>),
    C(Box<XChaCha20Poly1305>),
}

/// The tag doesn't fit, or a length is beyond the AEAD's.
#[derive(Debug)]
pub(super) struct Unfit;

impl Cipher {
    pub(super) fn new(suite: Suite, key: &Secret<32>) -> Self {
        let bytes = key.expose().into();
        match suite {
            Suite::Xaes256Gcm => Self::X(Box::new((Xaes256Gcm::new(bytes), Xaes::new(key)))),
            Suite::Aes256Gcm => Self::A(Box::new((Aes256Gcm::new(bytes), Gcm::new(key)))),
            Suite::XChaCha20Poly1305 => Self::C(Box::new(XChaCha20Poly1305::new(bytes))),
        }
    }

    pub(super) fn suite(&self) -> Suite {
        match self {
            Self::X(_) => Suite::Xaes256Gcm,
            Self::A(_) => Suite::Aes256Gcm,
            Self::C(_) => Suite::XChaCha20Poly1305,
        }
    }

    /// Encrypts in place. `nonce` has the suite's length.
    pub(super) fn encrypt(&self, nonce: &[u8], header: &[u8], text: &mut [u8]) -> Result<[u8; TAG], Unfit> {
        fn run<C: AeadInOut>(
            cipher: &C,
            nonce: &[u8],
            header: &[u8],
            text: &mut [u8],
        ) -> Result<[u8; TAG], Unfit> {
            let nonce = nonce.try_into().map_err(|_| Unfit)?;
            let tag =
                cipher.encrypt_inout_detached(nonce, header, InOutBuf::from(text)).map_err(|_| Unfit)?;
            tag.as_slice().try_into().map_err(|_| Unfit)
        }
        match self {
            Self::X(both) => run(&both.0, nonce, header, text),
            Self::A(both) => run(&both.0, nonce, header, text),
            Self::C(cipher) => run(&**cipher, nonce, header, text),
        }
    }

    /// Verifies, then decrypts in place; on failure `text` is as it was.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8],
        header: &[u8],
        text: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Unfit> {
        let tag: &[u8; TAG] = tag.try_into().map_err(|_| Unfit)?;
        match self {
            Self::X(both) => both.1.open(nonce.try_into().map_err(|_| Unfit)?, header, text, tag),
            Self::A(both) => both.1.open(nonce.try_into().map_err(|_| Unfit)?, header, text, tag),
            Self::C(cipher) => {
                let nonce = nonce.try_into().map_err(|_| Unfit)?;
                let text = InOutBuf::from(text);
                cipher.decrypt_inout_detached(nonce, header, text, tag.into()).map_err(|_| Unfit)
            }
        }
    }
}
