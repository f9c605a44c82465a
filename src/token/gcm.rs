//! Opening under AES-256-GCM (NIST SP 800-38D) and XAES-256-GCM (C2SP), composed for short texts.
//!
//! The AEAD crates, which seal, set up AES's wide batches anew for each of their steps; on a token of a hundred
//! bytes that is half the time. Here the mask of the tag and the key stream of a usual token, and under XAES the
//! key of GHASH with them, come out of one call to the same `aes` crate. What one side seals the other opens:
//! each is a check on the other, and the tests of [`suite`](super::suite) hold both against published vectors.

use aes::{
    Aes256Enc, Block,
    cipher::{BlockCipherEncrypt as _, KeyInit as _},
};
use ghash::{GHash, universal_hash::UniversalHash as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use crate::{
    secret::Secret,
    token::{suite::Unfit, wire::TAG},
};

/// Blocks made at once: enough for a token with a payload of 200 bytes.
const BATCH: usize = 15;
/// The short nonce of AES-GCM, and half of XAES's.
const HALF: usize = 12;

/// Opens suite A.
pub(super) struct Gcm {
    aes: Aes256Enc,
    ghash: GHash,
}

impl Gcm {
    pub(super) fn new(key: &Secret<32>) -> Self {
        let aes = Aes256Enc::new(key.expose().into());
        let mut hash_key = Block::default();
        aes.encrypt_block(&mut hash_key);
        let ghash = GHash::new(&hash_key);
        hash_key.zeroize();
        Self { aes, ghash }
    }

    /// Verifies, then decrypts in place; on failure `text` is as it was.
    pub(super) fn open(
        &self,
        nonce: &[u8; HALF],
        header: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Unfit> {
        let mut stream = [Block::default(); BATCH];
        let made = counters(&mut stream, nonce, 1, text.len().div_ceil(16) + 1);
        self.aes.encrypt_blocks(&mut stream[..made]);
        let (mask, stream) = stream[..made].split_first_mut().ok_or(Unfit)?;
        verify(self.ghash.clone(), mask, header, text, tag)?;
        decrypt(&self.aes, nonce, stream, text);
        Ok(())
    }
}

/// Opens suite X: AES-256-GCM under a key derived from the first half of the nonce.
pub(super) struct Xaes {
    aes: Aes256Enc,
    /// K1 of CMAC (NIST SP 800-38B): what the derivation's two blocks are masked with.
    mask: Block,
}

impl Xaes {
    pub(super) fn new(key: &Secret<32>) -> Self {
        let aes = Aes256Enc::new(key.expose().into());
        let mut mask = Block::default();
        aes.encrypt_block(&mut mask);
        let doubled = u128::from_be_bytes(mask.into());
        // Doubling in GF(2^128); the reduction is by multiplication, so that no branch depends on the key.
        let doubled = (doubled << 1) ^ ((doubled >> 127) * 0b1000_0111);
        mask.copy_from_slice(&doubled.to_be_bytes());
        Self { aes, mask }
    }

    /// Verifies, then decrypts in place; on failure `text` is as it was.
    pub(super) fn open(
        &self,
        nonce: &[u8; 2 * HALF],
        header: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Unfit> {
        let (first, last) = nonce.split_first_chunk::<HALF>().ok_or(Unfit)?;
        let last = last.first_chunk::<HALF>().ok_or(Unfit)?;
        let aes = self.derive(first);

        // The first block stays zero and becomes GHASH's key.
        let mut stream = [Block::default(); BATCH + 1];
        let made = 1 + counters(&mut stream[1..], last, 1, text.len().div_ceil(16) + 1);
        aes.encrypt_blocks(&mut stream[..made]);
        let (hash_key, stream) = stream[..made].split_first_mut().ok_or(Unfit)?;
        let (mask, stream) = stream.split_first_mut().ok_or(Unfit)?;
        let ghash = GHash::new(hash_key);
        hash_key.zeroize();
        verify(ghash, mask, header, text, tag)?;
        decrypt(&aes, last, stream, text);
        Ok(())
    }

    fn derive(&self, nonce: &[u8; HALF]) -> Aes256Enc {
        let mut halves = [Block::default(); 2];
        for (number, half) in [1, 2].into_iter().zip(&mut halves) {
            half[..4].copy_from_slice(&[0, number, b'X', 0]);
            half[4..].copy_from_slice(nonce);
            xor(half, &self.mask);
        }
        self.aes.encrypt_blocks(&mut halves);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&halves[0]);
        key[16..].copy_from_slice(&halves[1]);
        let aes = Aes256Enc::new((&key).into());
        key.zeroize();
        halves.iter_mut().for_each(|half| half.as_mut_slice().zeroize());
        aes
    }
}

impl Drop for Xaes {
    fn drop(&mut self) {
        self.mask.zeroize();
    }
}

/// Fills `blocks` with `nonce` and counters from `first` on, at most `wanted`; returns how many.
fn counters(blocks: &mut [Block], nonce: &[u8; HALF], first: u32, wanted: usize) -> usize {
    let made = wanted.min(blocks.len());
    for (counter, block) in (first..).zip(&mut blocks[..made]) {
        block[..HALF].copy_from_slice(nonce);
        block[HALF..].copy_from_slice(&counter.to_be_bytes());
    }
    made
}

/// Compares the tag in constant time.
fn verify(mut ghash: GHash, mask: &Block, header: &[u8], text: &[u8], tag: &[u8; TAG]) -> Result<(), Unfit> {
    ghash.update_padded(header);
    ghash.update_padded(text);
    let mut lengths = Block::default();
    lengths[..8].copy_from_slice(&(header.len() as u64 * 8).to_be_bytes());
    lengths[8..].copy_from_slice(&(text.len() as u64 * 8).to_be_bytes());
    ghash.update(&[lengths]);
    let mut expected = ghash.finalize();
    xor(&mut expected, mask);
    if bool::from(expected.as_slice().ct_eq(tag)) { Ok(()) } else { Err(Unfit) }
}

/// Decrypts with the key stream made already, then with more of it, in batches.
fn decrypt(aes: &Aes256Enc, nonce: &[u8; HALF], stream: &[Block], text: &mut [u8]) {
    let (begin, mut rest) = text.split_at_mut(text.len().min(stream.len() * 16));
    begin.chunks_mut(16).zip(stream).for_each(|(part, block)| xor(part, block));
    // Counter 1 masked the tag.
    let mut next = stream.len() as u32 + 2;
    while !rest.is_empty() {
        let mut more = [Block::default(); BATCH];
        let made = counters(&mut more, nonce, next, rest.len().div_ceil(16));
        aes.encrypt_blocks(&mut more[..made]);
        let (part, after) = rest.split_at_mut(rest.len().min(made * 16));
        part.chunks_mut(16).zip(&more).for_each(|(part, block)| xor(part, block));
        next += made as u32;
        rest = after;
    }
}

fn xor(text: &mut [u8], block: &Block) {
    text.iter_mut().zip(block).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keyring::Suite, token::suite::Cipher};

    /// What the crates seal opens here, whatever its length, and nothing else does.
    #[test]
    fn the_crates_seal_what_is_opened_here() {
        for suite in [Suite::Xaes256Gcm, Suite::Aes256Gcm] {
            for length in (0..100).chain([223, 224, 225, 239, 240, 241, 256, 479, 480, 481, 3000]) {
                let mut bytes = [0; 64];
                crate::secret::random(&mut bytes).unwrap();
                let (key, nonce) = bytes.split_first_chunk::<32>().unwrap();
                let (nonce, header) = nonce.split_at(suite.nonce_len());
                let cipher = Cipher::new(suite, &Secret::new(*key));
                let clear: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
                let mut sealed = clear.clone();
                let tag = cipher.encrypt(nonce, header, &mut sealed).ok().unwrap();
                let opens = |nonce: &[u8], header: &[u8], sealed: &[u8], tag: &[u8]| {
                    let mut text = sealed.to_vec();
                    let opened = cipher.decrypt(nonce, header, &mut text, tag).is_ok();
                    assert!(opened || text == sealed, "a refused text stays as it was");
                    opened.then_some(text)
                };
                assert_eq!(opens(nonce, header, &sealed, &tag), Some(clear), "{suite:?} {length}");

                let flipped = |bytes: &[u8], at: usize| {
                    let mut bytes = bytes.to_vec();
                    bytes[at] ^= 1 << (at % 8);
                    bytes
                };
                for at in 0..TAG {
                    assert_eq!(opens(nonce, header, &sealed, &flipped(&tag, at)), None);
                }
                for at in 0..nonce.len() {
                    assert_eq!(opens(&flipped(nonce, at), header, &sealed, &tag), None);
                }
                for at in (0..length).step_by(length / 40 + 1) {
                    assert_eq!(opens(nonce, header, &flipped(&sealed, at), &tag), None);
                }
                assert_eq!(opens(nonce, &flipped(header, 0), &sealed, &tag), None);
                assert_eq!(opens(nonce, header, &sealed, &tag[..15]), None, "a short tag");
            }
        }
    }
}
