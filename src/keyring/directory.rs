//! The keys directory: reading all or nothing, writing by rename under a lock (DESIGN 3).

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    clock::Timestamp,
    ids::Kid,
    keyring::{Ring, Suite},
};

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
    /// A command was refused (staged key too young, no such kid, …).
    #[error("{0}")]
    Refused(String),
    /// No such key.
    #[error("no key {0} in the ring; `bulla keys list` shows them")]
    NoSuchKey(Kid),
}

/// What a poll found.
#[derive(Debug)]
pub enum Reload {
    /// `ring.json` is as it was.
    Unchanged,
    /// A whole new ring.
    Changed(Ring),
    /// The directory can't be loaded; the ring to go on with (the last good one, with the revocations and the
    /// promotion of a readable newer `ring.json` applied) and what is wrong.
    Degraded(Ring, RingError),
}

/// A keys directory.
#[derive(Clone, Debug)]
pub struct KeyDirectory {
    path: PathBuf,
    allow_group_read: bool,
}

impl KeyDirectory {
    /// Names a directory; reads nothing yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), allow_group_read: false }
    }

    /// Accepts group-readable files, as Kubernetes mounts secrets.
    #[must_use]
    pub fn allow_group_read(mut self, allow: bool) -> Self {
        self.allow_group_read = allow;
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a `ring.json` is there.
    pub fn exists(&self) -> bool {
        todo!()
    }

    /// Makes the directory, one active and one staged key. Refuses where a ring is already.
    pub fn init(&self, suite: Suite, now: Timestamp) -> Result<Ring, RingError> {
        let _ = (suite, now);
        todo!()
    }

    /// Loads all or nothing.
    pub fn load(&self) -> Result<Ring, RingError> {
        todo!()
    }

    /// Loads anew if `ring.json` differs from `last`'s; never worse than `last`.
    pub fn reload(&self, last: &Ring) -> Reload {
        let _ = last;
        todo!()
    }

    /// One rollover. `min_staged` of zero means `--now`.
    pub fn rotate(&self, min_staged: Duration, keep: Duration, now: Timestamp) -> Result<Ring, RingError> {
        let _ = (min_staged, keep, now);
        todo!()
    }

    /// Revokes one key; on the active one promotes the staged one in the same replacement.
    pub fn revoke(&self, kid: Kid, now: Timestamp) -> Result<Ring, RingError> {
        let _ = (kid, now);
        todo!()
    }

    /// Revokes every key and makes new ones.
    pub fn revoke_all(&self, now: Timestamp) -> Result<Ring, RingError> {
        let _ = now;
        todo!()
    }

    /// Refuses every token sealed before `not_before`.
    pub fn not_before(&self, not_before: Timestamp) -> Result<Ring, RingError> {
        let _ = not_before;
        todo!()
    }
}
