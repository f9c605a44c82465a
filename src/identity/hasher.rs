//! Hashes passwords with Argon2id in a bounded pool of threads, and checks them against stored hashes. The threads reuse their memory while busy and free it when idle.
//!
//! Many logins at once fill only this pool and its queue. They do not slow down users who are already logged in.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::Duration,
};

use argon2::Block;
use tokio::sync::oneshot;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::stored_hash::{self, Stored};
use crate::secret::{self, SecretText};

/// The time without work after which a thread frees its memory.
const IDLE: Duration = Duration::from_secs(5);
/// The reason why nothing was hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The queue is full.
    #[error("too many logins are waiting")]
    Busy,
    /// The format of the stored hash is unknown, or its cost is too high.
    #[error("the stored password hash has an unsupported format")]
    BadHash,
    /// The system's random generator or the allocator failed.
    #[error("hashing the password failed")]
    Failed,
}

type Work = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// The pool of hashing threads. The threads end when it is dropped.
#[derive(Debug)]
pub struct Hasher {
    queue: SyncSender<Work>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
    hashed: Arc<AtomicU64>,
}

impl Hasher {
    /// Starts a pool. It hashes `threads` passwords at once (at least 1); each takes 19 MiB of memory while it is hashed (at most 256
    /// MiB for a hash of another system). At most `waiting` more passwords wait.
    pub fn new(threads: usize, waiting: usize) -> Self {
        let threads = threads.max(1);
        let (queue, work) = mpsc::sync_channel(waiting + threads);
        let work = Arc::new(Mutex::new(work));
        for n in 0..threads {
            let work = Arc::clone(&work);
            // If no thread can be started, the queue fills up and logins get the error "busy". Users who are already logged in
            // need no thread.
            if let Err(error) =
                thread::Builder::new().name(format!("bulla-hash-{n}")).spawn(move || run(&work))
            {
                tracing::error!(%error, "a thread for hashing passwords could not be started");
            }
        }
        Self { queue, waiting: Arc::default(), limit: waiting + threads, hashed: Arc::default() }
    }

    /// Hashes a password, normalized to the Unicode form NFC, and returns the hash as a PHC string (`$argon2id$…`): Argon2id, 19
    /// MiB, t=2, p=1. Takes about 14 ms of one core in the pool, and the time in the queue.
    ///
    /// # Errors
    ///
    /// [`HashError::Busy`] if the queue is full, [`HashError::Failed`] if the system gives no memory or no random bytes.
    pub async fn hash(&self, password: &SecretText) -> Result<String, HashError> {
        let password = normal(password);
        self.run(self.reserve()?, move |memory| {
            let mut salt = [0; 16];
            secret::random(&mut salt).map_err(|_| HashError::Failed)?;
            stored_hash::new(&password, &salt, memory).ok_or(HashError::Failed)
        })
        .await
    }

    /// Whether `password` matches the hash. Takes the time of one hash: without a hash, the result is false after the same time.
    /// A hash of another system takes the time that its parameters ask for, at most about one second for each of two forms of the
    /// password: in NFC, and as it was typed.
    ///
    /// # Errors
    ///
    /// [`HashError::Busy`] if the queue is full, [`HashError::BadHash`] if the format or the cost of the hash is not accepted
    /// (after the same time), [`HashError::Failed`] if the system gives no memory.
    pub async fn verify(&self, password: &SecretText, hash: Option<&str>) -> Result<bool, HashError> {
        self.verify_reserved(self.reserve()?, password, hash).await
    }

    /// Reserves a place in the queue for a password whose hash is still to be read. Excess logins are then refused before they
    /// read anything.
    ///
    /// # Errors
    ///
    /// `Busy` if the queue is full.
    #[doc(hidden)]
    pub fn reserve(&self) -> Result<QueuePlace, HashError> {
        QueuePlace::take(&self.waiting, self.limit).ok_or(HashError::Busy)
    }

    /// Like [`Self::verify`], with a place that was reserved before.
    #[doc(hidden)]
    pub async fn verify_reserved(
        &self,
        place: QueuePlace,
        password: &SecretText,
        hash: Option<&str>,
    ) -> Result<bool, HashError> {
        let (normal, typed) = (normal(password), password.clone());
        let stored = hash.map(|hash| Stored::read(hash).ok_or(HashError::BadHash));
        let dummy_hash = stored_hash::dummy().ok_or(HashError::Failed)?;
        self.run(place, move |memory| {
            let against = stored.as_ref().and_then(|stored| stored.as_ref().ok()).unwrap_or(&dummy_hash);
            let mut check = |password: &str| against.matches(password, memory).ok_or(HashError::Failed);
            // Other systems hash the password as it was typed. Bulla's own hashes need no second check.
            let typed = Some(typed.expose()).filter(|typed| *typed != normal.as_str() && !against.is_own());
            let matches = check(&normal)? || typed.map_or(Ok(false), check)?;
            stored.transpose().map(|stored| matches && stored.is_some())
        })
        .await
    }

    /// Returns how many passwords are waiting or being hashed now.
    #[doc(hidden)]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns how many hashes were computed since the start: one for each password that was checked or set, whatever the result.
    #[doc(hidden)]
    pub fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    async fn run<T: Send + 'static>(
        &self,
        place: QueuePlace,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let (answer, answered) = oneshot::channel();
        let hashed = Arc::clone(&self.hashed);
        let work = Box::new(move |memory: &mut Vec<Block>| {
            // If the caller has stopped waiting, the work is skipped.
            let done = if answer.is_closed() { Err(HashError::Failed) } else { work(memory) };
            hashed.fetch_add(u64::from(!matches!(done, Err(HashError::Failed))), Ordering::Relaxed);
            // Releases the place before the answer. Otherwise a caller's next password could be refused because of the place that
            // it still holds.
            drop(place);
            drop(answer.send(done));
        });
        self.queue.try_send(work).map_err(|_| HashError::Busy)?;
        answered.await.map_err(|_| HashError::Failed)?
    }
}

/// A place in the queue. It is released when dropped.
#[derive(Debug)]
pub struct QueuePlace(Arc<AtomicUsize>);

impl QueuePlace {
    fn take(waiting: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let more = |n| (n < limit).then_some(n + 1);
        waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Self(Arc::clone(waiting)))
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs one thread of the pool.
fn run(work: &Mutex<Receiver<Work>>) {
    let mut memory = Vec::new();
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(IDLE);
        match next {
            Ok(work) => work(&mut memory),
            Err(RecvTimeoutError::Timeout) => memory = Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Normalizes a password to NFC, so that it matches however a keyboard encodes it.
fn normal(password: &SecretText) -> Zeroizing<String> {
    let mut composed = Zeroizing::new(String::with_capacity(password.expose().len() * 3));
    composed.extend(password.expose().nfc());
    composed
}

/// Returns the number of code points of the normalized password.
pub(super) fn length(password: &SecretText) -> usize {
    let mut composed = normal(password);
    let length = composed.chars().count();
    composed.zeroize();
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> SecretText {
        SecretText::new(text.into())
    }

    #[tokio::test]
    async fn a_password_matches_in_every_spelling_of_unicode() {
        let hasher = Hasher::new(1, 4);
        let stored = hasher.hash(&password("caf\u{e9}-caf\u{e9}")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(hasher.verify(&password("cafe\u{301}-cafe\u{301}"), Some(&stored)).await.unwrap());
        assert!(!hasher.verify(&password("cafe-cafe"), Some(&stored)).await.unwrap());
        assert!(
            !hasher.verify(&password("caf\u{e9}-caf\u{e9}\0"), Some(&stored)).await.unwrap(),
            "NUL counts"
        );
        assert!(!hasher.verify(&password("caf\u{e9}-caf\u{e9}"), None).await.unwrap());
        assert!(!stored_hash::is_weak(&stored));
    }

    #[tokio::test]
    async fn a_stored_hash_with_excessive_cost_is_refused() {
        let hasher = Hasher::new(1, 4);
        let tail = "c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for head in [
            "$argon2id$v=19$m=4194304,t=2,p=1$",
            "$argon2id$v=19$m=19456,t=4000000,p=1$",
            "$argon2id$v=19$m=19456,t=2,p=200$",
            "$argon2id$v=19$m=262144,t=5,p=1$",
            "argon2$argon2id$v=19$m=4194304,t=2,p=1$",
            "$argon2x$v=19$m=19456,t=2,p=1$",
            "$argon2id$v=17$m=19456,t=2,p=1$",
            "$pbkdf2-sha256$i=2000001$",
            "",
        ] {
            let outcome = hasher.verify(&password("x"), Some(&format!("{head}{tail}"))).await;
            assert!(matches!(outcome, Err(HashError::BadHash)), "{head}");
        }
    }

    /// Hashes by argon2-cffi 25.1, Django 5.2 and bcrypt 4.0.
    #[tokio::test]
    async fn hashes_of_other_systems_match_and_are_to_be_replaced() {
        let hasher = Hasher::new(1, 4);
        for stored in [
            "$argon2i$v=19$m=64,t=1,p=1$SBX9HK6zIaWE3h6YoGxxTg$hl+gs29XNDpCOX2rqI2P5ePl5I/XudsVVwpFNVH6v7o",
            "$argon2d$v=19$m=64,t=1,p=1$1u2JXrmhJR/5sNOxUnLAAQ$cq2atFgk5gby83uYkr3j/k95zKY2KvTtWR+GUzs5oCM",
            "$argon2id$v=16$m=64,t=1,p=1$c2Vhc2FsdHNlYXNhbHQ$yFITYxI93lvHE5geVCVpmcgPdGrMAcBJtCtpK1idmBo",
            "argon2$argon2id$v=19$m=64,t=1,p=1$c2Vhc2FsdHNlYXNhbHQ$mvM4iLxfAL/VmZtLoV4EiqqCW0r7XD20jqY0elHURsU",
            "$2b$04$Y.Bf4dOjFcva9Us/UDBHXOrpzJztKOdQJj3Y7zjvLzoHqIMUk4diy",
        ] {
            assert!(stored_hash::is_weak(stored), "{stored}");
            assert!(hasher.verify(&password("Grüße an Ada"), Some(stored)).await.unwrap(), "{stored}");
            assert!(!hasher.verify(&password("Grüße an Eva"), Some(stored)).await.unwrap(), "{stored}");
        }
    }

    #[tokio::test]
    async fn a_password_that_another_system_has_hashed_as_typed_matches() {
        let hasher = Hasher::new(1, 4);
        // bcrypt of the decomposed form.
        let stored = "$2b$04$jaQZjyVJOkT1ETn2I6IvPumm4247ertikstlAaDBAovW5J5y0u8.K";
        let decomposed = password("Gru\u{308}\u{df}e an Ada");
        assert!(hasher.verify(&decomposed, Some(stored)).await.unwrap());
        assert!(!hasher.verify(&password("Gr\u{fc}\u{df}e an Ada"), Some(stored)).await.unwrap());
    }

    #[tokio::test]
    async fn no_more_passwords_wait_than_the_limit_allows() {
        let hasher = Arc::new(Hasher::new(1, 2));
        let logins: Vec<_> = (0..20)
            .map(|_| {
                let hasher = Arc::clone(&hasher);
                async move { hasher.verify(&password("x"), None).await }
            })
            .collect();
        let outcomes = futures_util::future::join_all(logins).await;
        let busy = outcomes.iter().filter(|outcome| matches!(outcome, Err(HashError::Busy))).count();
        assert_eq!(busy, 17, "one works, two wait");
        assert_eq!(hasher.waiting(), 0);
    }
}
