//! The three AEADs (authenticated encryption with associated data) as one enum, with expanded keys.

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit, inout::InOutBuf},
};
use chacha20poly1305::XChaCha20Poly1305;
use xaes_256_gcm::Xaes256Gcm;

use crate::{keyring::Suite, secret::Secret, token::wire::TAG};

/// A derived key, expanded. The crates wipe it on drop (their feature `zeroize`).
pub(super) enum Cipher {
    X(Box<Xaes256Gcm>),
    A(Box<Aes256Gcm>),
    C(Box<XChaCha20Poly1305>),
}

/// The tag doesn't match, or a length exceeds the limit of the AEAD.
#[derive(Debug)]
pub(super) struct Unfit;

impl Cipher {
    pub(super) fn new(suite: Suite, key: &Secret<32>) -> Self {
        let bytes = key.expose().into();
        match suite {
            Suite::Xaes256Gcm => Self::X(Box::new(Xaes256Gcm::new(bytes))),
            Suite::Aes256Gcm => Self::A(Box::new(Aes256Gcm::new(bytes))),
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
            Self::X(cipher) => run(&**cipher, nonce, header, text),
            Self::A(cipher) => run(&**cipher, nonce, header, text),
            Self::C(cipher) => run(&**cipher, nonce, header, text),
        }
    }

    /// Verifies, then decrypts in place. On failure `text` is unchanged.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8],
        header: &[u8],
        text: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Unfit> {
        fn run<C: AeadInOut>(
            cipher: &C,
            nonce: &[u8],
            header: &[u8],
            text: &mut [u8],
            tag: &[u8],
        ) -> Result<(), Unfit> {
            let nonce = nonce.try_into().map_err(|_| Unfit)?;
            let tag = tag.try_into().map_err(|_| Unfit)?;
            cipher.decrypt_inout_detached(nonce, header, InOutBuf::from(text), tag).map_err(|_| Unfit)
        }
        match self {
            Self::X(cipher) => run(&**cipher, nonce, header, text, tag),
            Self::A(cipher) => run(&**cipher, nonce, header, text, tag),
            Self::C(cipher) => run(&**cipher, nonce, header, text, tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use shake::{
        Shake128,
        digest::{ExtendableOutput as _, Update as _, XofReader as _},
    };

    use super::*;

    /// (suite, key, nonce, associated data, clear text, ciphertext and tag), all in hex.
    const PUBLISHED: [(Suite, &str, &str, &str, &str, &str); 6] = [
        // C2SP XAES-256-GCM: one case for each branch of the doubling.
        (
            Suite::Xaes256Gcm,
            "0101010101010101010101010101010101010101010101010101010101010101",
            "4142434445464748494a4b4c4d4e4f505152535455565758",
            "",
            "584145532d3235362d47434d",
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
        ),
        (
            Suite::Xaes256Gcm,
            "0303030303030303030303030303030303030303030303030303030303030303",
            "4142434445464748494a4b4c4d4e4f505152535455565758",
            "633273702e6f72672f584145532d3235362d47434d",
            "584145532d3235362d47434d",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
        // The specification of GCM (McGrew and Viega): cases 13, 14 and 16.
        (
            Suite::Aes256Gcm,
            "0000000000000000000000000000000000000000000000000000000000000000",
            "000000000000000000000000",
            "",
            "",
            "530f8afbc74536b9a963b4f1c4cb738b",
        ),
        (
            Suite::Aes256Gcm,
            "0000000000000000000000000000000000000000000000000000000000000000",
            "000000000000000000000000",
            "",
            "00000000000000000000000000000000",
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (
            Suite::Aes256Gcm,
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662\
             76fc6ece0f4e1768cddf8853bb2d551b",
        ),
        // draft-irtf-cfrg-xchacha-03, A.3.1.
        (
            Suite::XChaCha20Poly1305,
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "404142434445464748494a4b4c4d4e4f5051525354555657",
            "50515253c0c1c2c3c4c5c6c7",
            "4c616469657320616e642047656e746c656d656e206f662074686520636c6173\
             73206f66202739393a204966204920636f756c64206f6666657220796f75206f\
             6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73\
             637265656e20776f756c642062652069742e",
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
             731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
             2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
             21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49",
        ),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    /// Encrypts, decrypts again, and returns ciphertext and tag.
    fn both_ways(cipher: &Cipher, nonce: &[u8], header: &[u8], clear: &[u8]) -> Vec<u8> {
        let mut text = clear.to_vec();
        let tag = cipher.encrypt(nonce, header, &mut text).unwrap();
        let sealed = [text.as_slice(), &tag].concat();
        cipher.decrypt(nonce, header, &mut text, &tag).unwrap();
        assert_eq!(text, clear);
        sealed
    }

    #[test]
    fn the_published_cases_match_and_open_only_with_their_tag() {
        for (suite, key, nonce, header, clear, sealed) in PUBLISHED {
            let cipher = Cipher::new(suite, &Secret::new(bytes(key).try_into().unwrap()));
            let (nonce, header, sealed) = (bytes(nonce), bytes(header), bytes(sealed));
            assert_eq!(both_ways(&cipher, &nonce, &header, &bytes(clear)), sealed, "{suite:?}");

            let (text, tag) = sealed.split_at(sealed.len() - TAG);
            let opens = |tag: &[u8]| cipher.decrypt(&nonce, &header, &mut text.to_vec(), tag).is_ok();
            assert!(opens(tag));
            for bit in 0..TAG * 8 {
                let mut other = tag.to_vec();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(!opens(&other), "{suite:?}: bit {bit}");
            }
            for other in [[0; TAG], [0xff; TAG], [0x80; TAG]] {
                let flipped: Vec<_> = tag.iter().zip(other).map(|(byte, with)| byte ^ with).collect();
                assert!(!opens(&other) && (other == [0; TAG] || !opens(&flipped)), "{suite:?}");
            }
            for length in 0..TAG {
                assert!(!opens(&tag[..length]), "{suite:?}: {length} bytes of the tag");
            }
            assert!(!opens(&[tag, &[0]].concat()) && !opens(&[tag, tag].concat()), "{suite:?}");
        }
    }

    /// C2SP XAES-256-GCM, "Accumulated randomized tests": one SHAKE128 generates the inputs, another one hashes the sealed texts.
    #[test]
    fn ten_thousand_xaes_cases_have_the_published_hash() {
        let mut inputs = Shake128::default().finalize_xof();
        let mut sum = Shake128::default();
        for _ in 0..10_000 {
            let (mut key, mut nonce) = ([0; 32], [0; 24]);
            inputs.read(&mut key);
            inputs.read(&mut nonce);
            let [clear, header] = [(); 2].map(|()| {
                let mut length = [0];
                inputs.read(&mut length);
                let mut text = vec![0; usize::from(length[0])];
                inputs.read(&mut text);
                text
            });
            let cipher = Cipher::new(Suite::Xaes256Gcm, &Secret::new(key));
            sum.update(&both_ways(&cipher, &nonce, &header, &clear));
        }
        let mut digest = [0; 32];
        sum.finalize_xof().read(&mut digest);
        assert_eq!(digest[..], bytes("e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"));
    }

    /// A sealed text of any length opens unchanged. If any bit is changed, it is refused and the text stays as it was.
    #[test]
    fn a_sealed_text_opens_and_a_changed_one_is_refused() {
        for suite in Suite::ALL.iter().copied() {
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
