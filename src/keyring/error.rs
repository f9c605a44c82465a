//! The errors of a keys directory.

use std::path::PathBuf;

use crate::{ids::Kid, keyring::schedule::Refusal, secret::NoRandomness};

/// The reason why a keys directory can't be used or changed. `Display` names the file, the fault, and the command that mends it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// There is no such directory, or no `ring.json` in it.
    #[error("{path}: there is no key ring here; `bulla init` creates one", path = .0.display())]
    Missing(PathBuf),
    /// A file is damaged or can't be trusted.
    #[error("{path}: {fault}", path = .path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and how to mend it.
        fault: String,
    },
    /// This user may not read or write a file. The text names the file and the command that mends it.
    #[error("{0}")]
    Denied(String),
    /// A change was refused, such as a rollover while the staged key is too young.
    #[error("{0}")]
    Refused(String),
    /// The ring has no such key.
    #[error("the key ring has no key {0}; `bulla keys list` lists all keys")]
    NoSuchKey(Kid),
}

impl From<Refusal> for RingError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooYoung { kid, age } => Self::Refused(format!(
                "the staged key {kid} has waited only {} s, so servers may not have loaded it yet; wait, or roll \
                 over nevertheless with `bulla keys rotate --now`",
                age.as_secs()
            )),
            Refusal::NoStaged => Self::Refused(
                "no key is staged; `bulla keys rotate --now` creates a new active key and a staged key"
                    .into(),
            ),
            Refusal::NoSuchKey(kid) => Self::NoSuchKey(kid),
            Refusal::AlreadyRevoked(kid) => Self::Refused(format!("key {kid} is revoked already")),
        }
    }
}

impl From<NoRandomness> for RingError {
    fn from(error: NoRandomness) -> Self {
        Self::Refused(format!("{error}; no key was created"))
    }
}
