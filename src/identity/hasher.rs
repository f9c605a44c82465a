//! Argon2id in a bounded pool of its own, memory reused while busy and given back when idle.

use crate::secret::SecretText;

/// Why nothing was hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// As many wait as may.
    #[error("too many logins at once")]
    Busy,
    /// A stored hash isn't Argon2id, or its parameters are absurd.
    #[error("a stored password hash is not acceptable")]
    BadHash,
    /// The system's generator or the allocator failed.
    #[error("hashing failed")]
    Failed,
}

/// The pool.
#[derive(Debug)]
pub struct Hasher {}

impl Hasher {
    /// `threads` hash at once, at most `waiting` wait.
    pub fn new(threads: usize, waiting: usize) -> Self {
        let _ = (threads, waiting);
        todo!()
    }
    /// A PHC string for a password (NFC first). Argon2id, 19 MiB, t=2, p=1.
    pub async fn hash(&self, password: &SecretText) -> Result<String, HashError> {
        let _ = password;
        todo!()
    }
    /// Whether `password` matches; without a hash takes the same time and answers false.
    pub async fn verify(&self, password: &SecretText, hash: Option<&str>) -> Result<bool, HashError> {
        let _ = (password, hash);
        todo!()
    }
    /// How many wait now.
    pub fn waiting(&self) -> usize {
        todo!()
    }
}
