//! Seals and opens tokens.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use base64_simd::Out;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    clock::{Clock as _, SKEW, SystemClock, Timestamp},
    ids::{Audience, Kid, Purpose},
    keyring::{KeyState, Ring, Suite},
    secret::{self, Secret},
    token::{
        payload,
        suite::Cipher,
        wire::{self, HEADER, ISSUED_AT, MAX_BYTES, MAX_CHARS, MIN_CHARS, TAG},
    },
};

/// The maximum number of tokens that a process seals under one AES-256-GCM key. Beyond 2^32 random 96-bit nonces the risk of a
/// collision is no longer negligible (NIST SP 800-38D, 8.3).
const MAX_UNDER_A: u64 = 1 << 32;

/// The text of a sealed token. `Debug` doesn't print it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedToken(String);

impl SealedToken {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, moved out.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedToken(…)")
    }
}

/// The content of a verified token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<T> {
    /// The id of the key that sealed the token.
    pub kid: Kid,
    /// The time at which the token was sealed, by the sealer's clock.
    pub issued_at: Timestamp,
    /// The payload, a JSON object.
    pub payload: T,
}

impl<'b> Opened<&'b str> {
    /// Copies the payload out of the buffer. Allocates.
    pub fn into_owned(self) -> Opened<String> {
        Opened { kid: self.kid, issued_at: self.issued_at, payload: self.payload.to_owned() }
    }

    /// Parses the JSON payload as a `T`.
    ///
    /// # Errors
    ///
    /// [`Refused::Payload`] if the payload has another shape.
    pub fn parse<T: serde::Deserialize<'b>>(self) -> Result<Opened<T>, Refused> {
        let payload = serde_json::from_str(self.payload).map_err(|_| Refused::Payload)?;
        Ok(Opened { kid: self.kid, issued_at: self.issued_at, payload })
    }
}

/// The reason why a token was refused, for metrics and `trace` logs only. `Display` has one text for all reasons, because a reason
/// would help a forger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("token refused")]
#[non_exhaustive]
pub enum Refused {
    /// The token has fewer than 58 or more than 4096 characters.
    Length,
    /// The token is not canonical base64url (padding, other characters, unused bits that are not zero).
    Encoding,
    /// The token does not begin with `bulX`, `bulA` or `bulC`.
    Magic,
    /// The keys contain no key with the token's key id, or that key is revoked.
    UnknownKey,
    /// The letter in the token names another suite than the key's.
    Suite,
    /// The tag doesn't match: the token was changed, or sealed for another purpose or audience.
    Tag,
    /// The token's time is more than 60 seconds in the future.
    Future,
    /// The age of the token is `max_age` or more.
    Expired,
    /// The token was sealed before the ring's `not_before`.
    NotBefore,
    /// The payload is not one strict JSON object, or has another shape than the caller asked for.
    Payload,
    /// The token opens, but has another purpose than the caller admits, such as a machine's token where people are admitted.
    Purpose,
}

impl Refused {
    /// The reason as the label of a metric: `length`, `encoding`, `magic`, `unknown_key`, `suite`, `tag`, `future`, `expired`,
    /// `not_before`, `payload` or `purpose`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Encoding => "encoding",
            Self::Magic => "magic",
            Self::UnknownKey => "unknown_key",
            Self::Suite => "suite",
            Self::Tag => "tag",
            Self::Future => "future",
            Self::Expired => "expired",
            Self::NotBefore => "not_before",
            Self::Payload => "payload",
            Self::Purpose => "purpose",
        }
    }
}

/// The reason why a payload was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The payload isn't one strict JSON object (RFC 7493, at most 8 deep).
    #[error("the payload is not one strict JSON object (RFC 7493, at most 8 levels deep)")]
    Payload,
    /// The token would be longer than 4096 characters.
    #[error("the payload is too long: the token would exceed 4096 characters")]
    TooLong,
    /// This process has sealed 2^32 tokens under this AES-256-GCM key. `bulla keys rotate` makes another key active.
    #[error("this AES-256-GCM key has sealed 2^32 tokens; roll over with `bulla keys rotate`")]
    Exhausted,
    /// There is no active key. An export can lack it; its keys then only open tokens.
    #[error("there is no active key to seal with")]
    NoActiveKey,
    /// `issued_at` is before 1970 or beyond 48 bits of milliseconds.
    #[error("the time is out of range")]
    Time,
    /// The random generator of the operating system failed.
    #[error(transparent)]
    NoRandomness(#[from] crate::secret::NoRandomness),
}

/// A buffer of three kilobytes for opening a token. Reuse it to open tokens without allocating. The used part is wiped on drop.
pub struct OpenBuffer {
    bytes: [u8; MAX_BYTES],
    used: usize,
}

impl OpenBuffer {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self { bytes: [0; MAX_BYTES], used: 0 }
    }

    /// Decodes the text of a token. The content of an earlier token is overwritten now, or wiped on drop.
    fn decode(&mut self, text: &str) -> Result<&mut [u8], Refused> {
        self.used = self.used.max(text.len().div_ceil(4) * 3);
        let room = Out::from_slice(&mut self.bytes);
        base64_simd::URL_SAFE_NO_PAD.decode(text.as_bytes(), room).map_err(|_| Refused::Encoding)
    }
}

impl Default for OpenBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for OpenBuffer {
    fn drop(&mut self) {
        self.bytes[..self.used.min(MAX_BYTES)].zeroize();
    }
}

impl fmt::Debug for OpenBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenBuffer(…)")
    }
}

/// Counts the tokens that this process has sealed under each key. The counts continue when the ring is loaded again.
#[derive(Debug, Default)]
pub struct SealCounts(Mutex<BTreeMap<Kid, Arc<AtomicU64>>>);

impl SealCounts {
    /// Key id and number of sealed tokens, for every key that was in a ring of this process.
    pub fn all(&self) -> Vec<(Kid, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(kid, count)| (*kid, count.load(Ordering::Relaxed))).collect()
    }

    fn of(&self, kid: Kid) -> Arc<AtomicU64> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kid).or_default())
    }
}

/// One derived key with its expanded cipher.
pub(super) struct TokenKey {
    kid: Kid,
    state: KeyState,
    cipher: Cipher,
    sealed: Arc<AtomicU64>,
}

impl TokenKey {
    pub(super) fn new(
        kid: Kid,
        state: KeyState,
        suite: Suite,
        key: &Secret<32>,
        counts: &SealCounts,
    ) -> Self {
        Self { kid, state, cipher: Cipher::new(suite, key), sealed: counts.of(kid) }
    }
}

/// The derived keys of one purpose and audience, ready to seal and open tokens. Immutable: for a new ring, new keys are derived.
pub struct TokenKeys {
    keys: Box<[TokenKey]>,
    not_before: Timestamp,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| (key.kid, key.state))).finish()
    }
}

impl TokenKeys {
    /// Derives the keys of one purpose and audience from every key of the ring that is not revoked: one HKDF computation and one
    /// key expansion for each. Does no I/O.
    pub fn derive(ring: &Ring, purpose: &Purpose, audience: &Audience) -> Self {
        Self::derive_counted(ring, purpose, audience, &SealCounts::default())
    }

    /// [`derive`](Self::derive) for a program that loads its ring repeatedly. `counts` continue from one ring to the next, so that
    /// the limit of 2^32 tokens under an AES-256-GCM key holds for the whole process.
    #[doc(hidden)]
    pub fn derive_counted(ring: &Ring, purpose: &Purpose, audience: &Audience, counts: &SealCounts) -> Self {
        let openers = ring.keys.iter().filter(|key| key.state.opens());
        let keys = openers.filter_map(|key| {
            let derived = key.root.as_ref()?.derive(purpose, audience);
            Some(TokenKey::new(key.kid, key.state, key.suite, &derived, counts))
        });
        Self::of(keys.collect(), ring.not_before)
    }

    pub(super) fn of(keys: Box<[TokenKey]>, not_before: Timestamp) -> Self {
        Self { keys, not_before }
    }

    /// Seals a JSON object under the active key, with the system's present time. Allocates the token; does no file or network I/O.
    ///
    /// # Errors
    ///
    /// [`SealError`] if `payload` is not one strict JSON object (RFC 7493, at most 8 deep) or makes the token longer than 4096
    /// characters, if there is no active key, if the key has sealed 2^32 tokens (AES-256-GCM only), or if the system gives no
    /// random bytes.
    pub fn seal(&self, payload: &str) -> Result<SealedToken, SealError> {
        self.seal_at(payload, SystemClock.now())
    }

    /// Seals a JSON object under the active key, with the time `issued_at`. The nonce is new random bytes from the system's
    /// generator.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal), and [`SealError::Time`] if `issued_at` is before 1970 or beyond 48 bits of milliseconds.
    pub fn seal_at(&self, payload: &str, issued_at: Timestamp) -> Result<SealedToken, SealError> {
        let key = self.keys.iter().find(|key| key.state == KeyState::Active).ok_or(SealError::NoActiveKey)?;
        let suite = key.cipher.suite();
        let text = HEADER + suite.nonce_len();
        if (text + ISSUED_AT + payload.len() + TAG) * 4 > MAX_CHARS * 3 {
            return Err(SealError::TooLong);
        }
        payload::check(payload.as_bytes()).map_err(|_| SealError::Payload)?;
        let issued_at =
            u64::try_from(issued_at.millis()).ok().filter(|at| *at < 1 << 48).ok_or(SealError::Time)?;
        if suite == Suite::Aes256Gcm && key.sealed.load(Ordering::Relaxed) >= MAX_UNDER_A {
            return Err(SealError::Exhausted);
        }
        key.sealed.fetch_add(1, Ordering::Relaxed);

        let mut bytes = Zeroizing::new(Vec::with_capacity(text + ISSUED_AT + payload.len() + TAG));
        bytes.extend_from_slice(&wire::magic(suite));
        bytes.extend_from_slice(&key.kid.0);
        bytes.resize(text, 0);
        secret::random(&mut bytes[HEADER..])?;
        bytes.extend_from_slice(&issued_at.to_be_bytes()[8 - ISSUED_AT..]);
        bytes.extend_from_slice(payload.as_bytes());
        let (head, sealed) = bytes.split_at_mut(text);
        let (header, nonce) = head.split_at(HEADER);
        let tag = key.cipher.encrypt(nonce, header, sealed).map_err(|_| SealError::TooLong)?;
        bytes.extend_from_slice(&tag);
        Ok(SealedToken(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
    }

    /// Opens a token that is younger than `max_age` by the system's clock. Allocates a copy of the payload. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`Refused`], which has the same text for every reason. [`Refused::reason`] is for metrics.
    pub fn open(&self, token: &str, max_age: Duration) -> Result<Opened<String>, Refused> {
        let mut buffer = OpenBuffer::new();
        self.open_at(token, SystemClock.now(), max_age, &mut buffer).map(Opened::into_owned)
    }

    /// Opens a token that is younger than `max_age` at the time `now`, into a reusable buffer. Does not allocate on the heap,
    /// except for a payload whose open objects have more than 24 keys together.
    ///
    /// Only the key with the token's key id is tried. The token is accepted if `issued_at - 60 s <= now < issued_at + max_age`, and
    /// if it was not sealed before the ring's `not_before`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_at<'b>(
        &self,
        token: &str,
        now: Timestamp,
        max_age: Duration,
        buffer: &'b mut OpenBuffer,
    ) -> Result<Opened<&'b str>, Refused> {
        if !(MIN_CHARS..=MAX_CHARS).contains(&token.len()) {
            return Err(Refused::Length);
        }
        let bytes = buffer.decode(token)?;
        let (header, rest) = bytes.split_at_mut(HEADER);
        let suite = wire::suite(&header[..3]).ok_or(Refused::Magic)?;
        let key = self.keys.iter().find(|key| key.kid.0 == header[3..]).ok_or(Refused::UnknownKey)?;
        if key.cipher.suite() != suite {
            return Err(Refused::Suite);
        }
        if rest.len() < suite.nonce_len() + ISSUED_AT + TAG {
            return Err(Refused::Length);
        }
        let (nonce, rest) = rest.split_at_mut(suite.nonce_len());
        let (text, tag) = rest.split_at_mut(rest.len() - TAG);
        key.cipher.decrypt(nonce, header, text, tag).map_err(|_| Refused::Tag)?;

        let (issued_at, payload) = text.split_at(ISSUED_AT);
        let millis = issued_at.iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
        let issued_at = Timestamp::from_millis(millis);
        self.judge_age(issued_at, now, max_age)?;
        let payload = payload::check(payload).map_err(|_| Refused::Payload)?;
        Ok(Opened { kid: key.kid, issued_at, payload })
    }

    fn judge_age(&self, issued_at: Timestamp, now: Timestamp, max_age: Duration) -> Result<(), Refused> {
        if issued_at > now.plus(SKEW) {
            Err(Refused::Future)
        } else if now >= issued_at.plus(max_age) {
            Err(Refused::Expired)
        } else if issued_at < self.not_before {
            Err(Refused::NotBefore)
        } else {
            Ok(())
        }
    }
}

/// The parts of a token that can be read without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The suite that the token's letter names.
    pub suite: Suite,
    /// The id of the key that the token names.
    pub kid: Kid,
}

/// Reads the public part of a token. Nothing of it is verified.
///
/// # Errors
///
/// [`Refused`] if the text does not have the length, the encoding or the first characters of a token.
pub fn inspect(token: &str) -> Result<Inspection, Refused> {
    if !(MIN_CHARS..=MAX_CHARS).contains(&token.len()) {
        return Err(Refused::Length);
    }
    let mut buffer = OpenBuffer::new();
    let bytes = buffer.decode(token)?;
    let suite = wire::suite(&bytes[..3]).ok_or(Refused::Magic)?;
    Ok(Inspection { suite, kid: Kid([bytes[3], bytes[4], bytes[5], bytes[6]]) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::{RingKey, RootKey};

    fn ring(suite: Suite) -> Ring {
        let root = RootKey::new(suite, Secret::new([9; 32]));
        let (kid, since) = (root.kid(), Timestamp::EPOCH);
        let key = RingKey { kid, state: KeyState::Active, suite, since, root: Some(root) };
        Ring { generation: 1, not_before: Timestamp::EPOCH, fingerprint: [0; 32], keys: vec![key] }
    }

    fn keys(suite: Suite, counts: &SealCounts) -> TokenKeys {
        TokenKeys::derive_counted(&ring(suite), &Purpose::access(), &Audience::own(), counts)
    }

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
    const AGE: Duration = Duration::from_secs(120);

    #[test]
    fn a_sealed_token_opens_until_it_is_too_old() {
        for suite in [Suite::Xaes256Gcm, Suite::Aes256Gcm, Suite::XChaCha20Poly1305] {
            let keys = keys(suite, &SealCounts::default());
            let token = keys.seal_at(r#"{"id":"42"}"#, NOW).unwrap();
            let open = |now: i64| {
                let mut buffer = OpenBuffer::new();
                let now = Timestamp::from_millis(NOW.millis() + now);
                keys.open_at(token.as_str(), now, AGE, &mut buffer).map(|opened| opened.payload.to_owned())
            };
            assert_eq!(open(0).as_deref(), Ok(r#"{"id":"42"}"#));
            assert_eq!(open(-60_000).as_deref(), Ok(r#"{"id":"42"}"#));
            assert_eq!(open(-60_001), Err(Refused::Future));
            assert_eq!(open(119_999).as_deref(), Ok(r#"{"id":"42"}"#));
            assert_eq!(open(120_000), Err(Refused::Expired));
        }
    }

    #[test]
    fn a_token_has_only_one_accepted_spelling() {
        let keys = keys(Suite::Xaes256Gcm, &SealCounts::default());
        let mut buffer = OpenBuffer::new();
        // The token has 86 characters, so four bits of the last one are unused.
        let token = keys.seal_at(r#"{"id":"42"}"#, NOW).unwrap().into_string();
        let (start, last) = token.split_at(85);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let place = alphabet.find(last).unwrap();
        for unused in 1..16 {
            let other = &alphabet[place + unused..=place + unused];
            let other = format!("{start}{other}");
            assert_eq!(keys.open_at(&other, NOW, AGE, &mut buffer), Err(Refused::Encoding), "{unused}");
        }
        for other in [format!("{token}=="), format!("{token}="), format!(" {token}"), format!("{token}\n")] {
            assert_eq!(keys.open_at(&other, NOW, AGE, &mut buffer), Err(Refused::Encoding), "{other:?}");
        }
        for odd in ["+", "/", "\0", "%", "é", ".", "=", " "] {
            for at in [5, 40, 84] {
                let other = format!("{}{odd}{}", &token[..at], &token[at + odd.len()..]);
                assert_eq!(keys.open_at(&other, NOW, AGE, &mut buffer), Err(Refused::Encoding), "{other:?}");
            }
        }
        assert!(keys.open_at(&token, NOW, AGE, &mut buffer).is_ok());
    }

    #[test]
    fn an_aes_256_gcm_key_seals_at_most_2_to_the_32_tokens() {
        let counts = SealCounts::default();
        let (a, x) = (keys(Suite::Aes256Gcm, &counts), keys(Suite::Xaes256Gcm, &counts));
        for (kid, _) in counts.all() {
            counts.of(kid).store(MAX_UNDER_A - 1, Ordering::Relaxed);
        }
        assert!(a.seal_at("{}", NOW).is_ok());
        assert_eq!(a.seal_at("{}", NOW), Err(SealError::Exhausted));
        let reloaded = keys(Suite::Aes256Gcm, &counts);
        assert_eq!(reloaded.seal_at("{}", NOW), Err(SealError::Exhausted), "a reload doesn't forget");
        assert!(
            x.seal_at("{}", NOW).is_ok() && x.seal_at("{}", NOW).is_ok(),
            "the other suites need no counting"
        );
    }
}
