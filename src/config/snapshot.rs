//! Remembers settings as digests, so that two readings can be compared and no secret is kept.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::secret::Digest;

/// The digest of each setting's text in one reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot(BTreeMap<String, Digest>);

impl Snapshot {
    pub(super) fn insert(&mut self, name: impl Into<String>, text: &str) {
        self.0.insert(name.into(), Digest(Sha256::digest(text).into()));
    }

    /// The names of the settings that differ in a newer reading, sorted.
    pub(super) fn changed(&self, newer: &Self) -> Vec<String> {
        let mut names: Vec<&String> = self.0.keys().chain(newer.0.keys()).collect();
        names.sort();
        names.dedup();
        names.into_iter().filter(|name| self.0.get(*name) != newer.0.get(*name)).cloned().collect()
    }
}
