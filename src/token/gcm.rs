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
        hash_key.as_mut_slice().zeroize();
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
        let ends = Ends::of(header, text);
        let mut stream = [Block::default(); BATCH];
        let made = counters(&mut stream, nonce, 1, text.len().div_ceil(16) + 1);
        self.aes.encrypt_blocks(&mut stream[..made]);
        let (mask, stream) = stream[..made].split_first_mut().ok_or(Unfit)?;
        verify(self.ghash.clone(), mask, header, text, &ends, tag)?;
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
        let mut halves = Self::halves(first);
        let ends = Ends::of(header, text);
        // The first block stays zero and becomes GHASH's key.
        let mut stream = [Block::default(); BATCH + 1];
        let made = 1 + counters(&mut stream[1..], last, 1, text.len().div_ceil(16) + 1);
        let aes = self.derive(&mut halves);
        aes.encrypt_blocks(&mut stream[..made]);
        let (hash_key, stream) = stream[..made].split_first_mut().ok_or(Unfit)?;
        let (mask, stream) = stream.split_first_mut().ok_or(Unfit)?;
        let ghash = GHash::new(hash_key);
        hash_key.as_mut_slice().zeroize();
        verify(ghash, mask, header, text, &ends, tag)?;
        decrypt(&aes, last, stream, text);
        Ok(())
    }

    /// What the two halves of the derived key are encrypted from, not masked yet.
    fn halves(nonce: &[u8; HALF]) -> [Block; 2] {
        let mut halves = [Block::default(); 2];
        for (number, half) in [1, 2].into_iter().zip(&mut halves) {
            half[..4].copy_from_slice(&[0, number, b'X', 0]);
            half[4..].copy_from_slice(nonce);
        }
        halves
    }

    fn derive(&self, halves: &mut [Block; 2]) -> Aes256Enc {
        halves.iter_mut().for_each(|half| xor(&mut half.0, &self.mask));
        self.aes.encrypt_blocks(halves);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&halves[0]);
        key[16..].copy_from_slice(&halves[1]);
        let aes = Aes256Enc::new((&key).into());
        key.as_mut_slice().zeroize();
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

/// What GHASH takes beside whole blocks: the rest of header and text, if they have one, and both lengths.
///
/// Made before anything is encrypted. A processor that reads a block at once from where it has just been written in
/// pieces waits until they have reached the cache; by the time of the tag they have. So it is with the counters.
struct Ends {
    header: Option<[u8; 16]>,
    text: Option<[u8; 16]>,
    lengths: [u8; 16],
}

impl Ends {
    fn of(header: &[u8], text: &[u8]) -> Self {
        let bits = |text: &[u8]| text.len() as u128 * 8;
        let lengths = (bits(header) << 64) | bits(text);
        Self { header: padded(header), text: padded(text), lengths: lengths.to_be_bytes() }
    }
}

/// What is left beside whole blocks, and zeros to the end of one.
fn padded(text: &[u8]) -> Option<[u8; 16]> {
    let (_, rest) = text.as_chunks::<16>();
    let mut block = [0; 16];
    block[..rest.len()].copy_from_slice(rest);
    (!rest.is_empty()).then_some(block)
}

/// Compares the tag in constant time.
fn verify(
    mut ghash: GHash,
    mask: &Block,
    header: &[u8],
    text: &[u8],
    ends: &Ends,
    tag: &[u8; TAG],
) -> Result<(), Unfit> {
    // GHASH takes four blocks at once. Zeros before the first change nothing, so all blocks go in fours.
    let mut four = [Block::default(); 4];
    let count = header.len().div_ceil(16) + text.len().div_ceil(16) + 1;
    let mut filled = count.wrapping_neg() % four.len();
    let header = header.as_chunks().0.iter().chain(&ends.header);
    let text = text.as_chunks().0.iter().chain(&ends.text);
    header.chain(text).chain([&ends.lengths]).for_each(|block| {
        four[filled] = Block::from(*block);
        filled += 1;
        if filled == four.len() {
            ghash.update(&four);
            filled = 0;
        }
    });
    let mut expected = ghash.finalize();
    xor(&mut expected.0, mask);
    // As one number: byte by byte, each would be kept from the optimiser by itself.
    let same = u128::from_ne_bytes(expected.into()).ct_eq(&u128::from_ne_bytes(*tag));
    if bool::from(same) { Ok(()) } else { Err(Unfit) }
}

/// Decrypts with the key stream made already, then with more of it, in batches.
fn decrypt(aes: &Aes256Enc, nonce: &[u8; HALF], stream: &[Block], text: &mut [u8]) {
    let (begin, mut rest) = text.split_at_mut(text.len().min(stream.len() * 16));
    unmask(begin, stream);
    // Counter 1 masked the tag.
    let mut next = stream.len() as u32 + 2;
    while !rest.is_empty() {
        let mut more = [Block::default(); BATCH];
        let made = counters(&mut more, nonce, next, rest.len().div_ceil(16));
        aes.encrypt_blocks(&mut more[..made]);
        let (part, after) = rest.split_at_mut(rest.len().min(made * 16));
        unmask(part, &more);
        next += made as u32;
        rest = after;
    }
}

/// Whole blocks first: their length is known when this is compiled.
fn unmask(text: &mut [u8], stream: &[Block]) {
    let (whole, rest) = text.as_chunks_mut::<16>();
    let (used, left) = stream.split_at(whole.len());
    whole.iter_mut().zip(used).for_each(|(block, mask)| xor(block, mask));
    rest.iter_mut().zip(left.iter().flatten()).for_each(|(byte, mask)| *byte ^= mask);
}

fn xor(block: &mut [u8; 16], mask: &Block) {
    block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
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
