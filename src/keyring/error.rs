//! What can be wrong with a keys directory.

use std::path::PathBuf;

use crate::{ids::Kid, keyring::schedule::Refusal, secret::NoRandomness};

/// What is wrong with a keys directory, where, and what mends it. `Display` is for an operator: it names the file and the fix.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// No such directory, or no `ring.json` in it.
    #[error("{path}: no key ring here; `bulla init` makes one", path = .0.display())]
    Missing(PathBuf),
    /// Something in it can't be trusted or read.
    #[error("{path}: {fault}", path = .path.display())]
    Bad {
        /// The file at fault.
        path: PathBuf,
        /// What is wrong and how to mend it.
        fault: String,
    },
    /// This user may not read it; the text names the file and the mend.
    #[error("{0}")]
    Denied(String),
    /// A command was refused (staged key too young, no such kid, …).
    #[error("{0}")]
    Refused(String),
    /// No such key.
    #[error("no key {0} in the ring; `bulla keys list` shows them")]
    NoSuchKey(Kid),
}

impl From<Refusal> for RingError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooYoung { kid, age } => Self::Refused(format!(
                "the staged key {kid} has waited {} s only, so servers may not have it yet; wait, or `bulla keys rotate --now`",
                age.as_secs()
            )),
            Refusal::NoStaged => {
                Self::Refused("no key is staged; `bulla keys rotate --now` makes one and the next".into())
            }
            Refusal::NoSuchKey(kid) => Self::NoSuchKey(kid),
            Refusal::AlreadyRevoked(kid) => Self::Refused(format!("key {kid} is revoked already")),
        }
    }
}

impl From<NoRandomness> for RingError {
    fn from(error: NoRandomness) -> Self {
        Self::Refused(format!("{error}; no key was made"))
    }
}
