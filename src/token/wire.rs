//! The layout of a token, byte by byte (docs/token.md):
//!
//! ```text
//! base64url( magic 3 | kid 4 | nonce 24 or 12 | ciphertext of (issued_at 6 | payload) | tag 16 )
//! ```

use crate::keyring::Suite;

/// The length of the shortest token in characters: suite A with the payload `{}`.
pub(super) const MIN_CHARS: usize = 58;
/// The length of the longest token in characters.
pub(super) const MAX_CHARS: usize = 4096;
/// The length of the longest token in bytes, before base64url.
pub(super) const MAX_BYTES: usize = MAX_CHARS / 4 * 3;
/// The length of magic and key id in bytes. They are the associated data.
pub(super) const HEADER: usize = 7;
/// The length of `issued_at` in bytes. It stands before the payload.
pub(super) const ISSUED_AT: usize = 6;
/// The length of the tag in bytes. A shorter tag is refused.
pub(super) const TAG: usize = 16;

/// The bytes whose base64url text is `bulX`, `bulA` or `bulC`.
pub(super) const fn magic(suite: Suite) -> [u8; 3] {
    match suite {
        Suite::Xaes256Gcm => [0x6e, 0xe9, 0x57],
        Suite::Aes256Gcm => [0x6e, 0xe9, 0x40],
        Suite::XChaCha20Poly1305 => [0x6e, 0xe9, 0x42],
    }
}

/// The suite of a magic. `None` if the bytes are no magic.
pub(super) fn suite(bytes: &[u8]) -> Option<Suite> {
    Suite::ALL.iter().copied().find(|suite| magic(*suite) == bytes)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn the_magic_reads_as_the_name_and_the_letter() {
        for suite in Suite::ALL.iter().copied() {
            assert_eq!(URL_SAFE_NO_PAD.encode(magic(suite)), format!("bul{}", char::from(suite.letter())));
            assert_eq!(super::suite(&magic(suite)), Some(suite));
        }
    }
}
