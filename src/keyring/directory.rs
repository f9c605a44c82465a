//! The keys directory: it is loaded completely or not at all, and changed by renaming files under a lock (docs/design/keys.md).

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    ids::Kid,
    keyring::{
        KeyState, ListedKey, Listing, Ring, RingError, RingKey, RootKey, Suite, key_file,
        read::{self, Readers, bad},
        schedule::{self, NewKey, Refusal, Step},
        write::{self, Lock, RING},
    },
    secret::NoRandomness,
};

/// The size of the largest `ring.json` that is read, in bytes. Checked before reading.
const MAX_RING: usize = 1 << 20;
/// The size of the largest key file that is read, in bytes.
const MAX_KEY: usize = 4096;
/// How often a load starts again because another process has replaced the ring meanwhile.
const TRIES: usize = 100;

/// The result of [`KeyDirectory::reload`].
#[derive(Debug)]
pub enum Reload {
    /// `ring.json` has not changed.
    Unchanged,
    /// The new ring, complete.
    Changed(Ring),
    /// The directory can't be loaded. The ring stays in force: the last good one, with the revocations and the promotion of
    /// a readable newer `ring.json` applied. The error says what is wrong.
    Degraded(Ring, RingError),
}

/// A keys directory: `ring.json` and one file for each root key. All methods that return a ring do blocking file I/O.
#[derive(Clone, Debug)]
pub struct KeyDirectory {
    path: PathBuf,
    allow_group_read: bool,
}

impl KeyDirectory {
    /// A handle to the directory at `path`. Does no I/O.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), allow_group_read: false }
    }

    /// Whether files may be readable by their group (mode 0640 or 0440), as in secrets that Kubernetes mounts. Default: no.
    #[must_use]
    pub fn allow_group_read(mut self, allow: bool) -> Self {
        self.allow_group_read = allow;
        self
    }

    /// Whether group-readable keys are accepted.
    #[doc(hidden)]
    pub const fn allows_group_read(&self) -> bool {
        self.allow_group_read
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory contains a `ring.json`, readable or not. Asks the file system.
    pub fn exists(&self) -> bool {
        match self.ring_path().symlink_metadata() {
            Ok(_) => true,
            // An error other than "not found" counts as existing: `init` must not replace a ring that can't be read.
            Err(e) => !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }

    /// Creates the directory (mode 0700) with one active and one staged key. Writes and syncs the files.
    ///
    /// # Errors
    ///
    /// [`RingError`] if the directory contains a ring already or can't be written, or if the system gives no random bytes.
    pub fn init(&self, suite: Suite) -> Result<Ring, RingError> {
        self.init_at(suite, SystemClock.now())
    }

    /// [`init`](Self::init) with the time `now`, at which both keys enter their states.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    #[doc(hidden)]
    pub fn init_at(&self, suite: Suite, now: Timestamp) -> Result<Ring, RingError> {
        let refuse = || Err(bad(&self.ring_path(), "exists already; `bulla keys list` shows the key ring"));
        if self.exists() {
            return refuse();
        }
        write::make_directory(&self.path)?;
        let _lock = Lock::take(&self.path)?;
        if self.exists() {
            return refuse();
        }
        let new = fresh_keys(&[], suite)?;
        let listing = schedule::first(name(&new[0]), name(&new[1]), now);
        write::carry_out(&self.path, &write::plan(&listing, &new, &[], now))?;
        self.load()
    }

    /// Loads the complete ring. Reads `ring.json` and each key file.
    ///
    /// # Errors
    ///
    /// [`RingError`] names the file that is missing, damaged, or open to others, and the command that mends it.
    pub fn load(&self) -> Result<Ring, RingError> {
        let mut read = self.read_listing()?;
        for _ in 0..TRIES {
            let loaded = self.load_keys(&read);
            let Err(error) = loaded else { return loaded };
            // The key file may be missing because another process replaced the ring meanwhile.
            let again = self.read_listing()?;
            if again.fingerprint == read.fingerprint {
                return Err(error);
            }
            read = again;
        }
        Err(bad(
            &self.ring_path(),
            "is replaced repeatedly while it is read; stop the program that replaces it",
        ))
    }

    /// Reads `ring.json` only; the key files may be missing.
    #[doc(hidden)]
    pub fn listing(&self) -> Result<Listing, RingError> {
        self.read_listing().map(|read| read.listing)
    }

    /// Loads the ring again if `ring.json` differs from that of `last`.
    ///
    /// If nothing changed, this reads and hashes one small file and no key file.
    #[doc(hidden)]
    pub fn reload(&self, last: &Ring) -> Reload {
        match self.read_listing() {
            Ok(read) if read.fingerprint == last.fingerprint => Reload::Unchanged,
            _ => match self
                .load()
                .and_then(|ring| ring.check_successor(last).map(|()| ring).map_err(|e| self.with_path(e)))
            {
                Ok(ring) => Reload::Changed(ring),
                Err(error) => Reload::Degraded(self.with_readable_changes(last), error),
            },
        }
    }

    /// Rolls the sealing key over. `min_staged` is the minimum age of the staged key; zero skips this check (`--now`).
    #[doc(hidden)]
    pub fn rotate(&self, min_staged: Duration, keep: Duration, now: Timestamp) -> Result<Ring, RingError> {
        self.change(now, Before::Whole, |old, fresh| schedule::rotate(old, fresh, min_staged, keep, now))
    }

    /// Revokes one key. If it is the active one, the staged one becomes active in the same replacement. Reads no key file except
    /// that of the promoted key, so that a ring with a damaged key can be mended. Revoking a revoked key is an error.
    #[doc(hidden)]
    pub fn revoke(&self, kid: Kid, now: Timestamp) -> Result<Ring, RingError> {
        self.change(now, Before::Listed, |old, fresh| schedule::revoke(old, kid, fresh, now))
    }

    /// Revokes every key and makes new ones. Reads no key file. The new generation is higher than that of the ring and than
    /// `above`, the highest one that the database has recorded; so it replaces a restored or forked ring. A missing ring is created
    /// again if `above` is not 0. A damaged `ring.json` is replaced if `above` is not 0 or its own generation can still be read.
    #[doc(hidden)]
    pub fn revoke_all(&self, above: u64, now: Timestamp) -> Result<Ring, RingError> {
        match self.read_listing() {
            Err(RingError::Missing(_)) if above > 0 => self.replace_unreadable(above, now),
            Err(RingError::Bad { path, fault }) if path == self.ring_path() => {
                // The file has the wrong mode or owner; the operator mends that first.
                let Ok(damaged) = read::file(&path, self.readers(), MAX_RING) else {
                    return Err(bad(&path, fault));
                };
                match above.max(Listing::generation_of(&damaged).unwrap_or(0)) {
                    0 => Err(bad(&path, fault)),
                    known => self.replace_unreadable(known, now),
                }
            }
            _ => self
                .change(now, Before::Listed, |old, fresh| Ok(schedule::revoke_all(old, above, fresh, now))),
        }
    }

    /// Replaces a ring that can't be read by one with new keys, and deletes the old key files.
    fn replace_unreadable(&self, above: u64, now: Timestamp) -> Result<Ring, RingError> {
        write::make_directory(&self.path)?;
        let _lock = Lock::take(&self.path)?;
        let none = Listing { generation: above, not_before: Timestamp::EPOCH, keys: Vec::new() };
        let new = fresh_keys(&[], Suite::Xaes256Gcm)?;
        let mut step = schedule::revoke_all(&none, above, [name(&new[0]), name(&new[1])], now);
        step.gone = self.key_files();
        write::carry_out(&self.path, &write::plan(&step.listing, &new, &step.gone, now))?;
        self.load()
    }

    /// The key ids in the names of the key files in the directory.
    fn key_files(&self) -> Vec<Kid> {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return Vec::new() };
        let kid = |name: String| name.strip_suffix(".key")?.parse().ok();
        entries.filter_map(|entry| kid(entry.ok()?.file_name().into_string().ok()?)).collect()
    }

    /// Refuses every token sealed before `not_before`. `now` is the time of the change.
    #[doc(hidden)]
    pub fn not_before(&self, not_before: Timestamp, now: Timestamp) -> Result<Ring, RingError> {
        self.change(now, Before::Listed, |old, _| Ok(schedule::not_before(old, not_before)))
    }

    /// Names of at most 100 key files that `ring` doesn't list; an interrupted command leaves such files.
    #[doc(hidden)]
    pub fn unlisted(&self, ring: &Ring) -> Vec<String> {
        let listed =
            |kid: &Kid| ring.keys.iter().any(|key| key.kid == *kid && key.state != KeyState::Revoked);
        let Ok(entries) = std::fs::read_dir(&self.path) else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|file| {
                file.strip_suffix(".key").and_then(|kid| kid.parse().ok()).is_some_and(|kid| !listed(&kid))
            })
            .take(100)
            .collect()
    }

    fn change(
        &self,
        now: Timestamp,
        before: Before,
        decide: impl FnOnce(&Listing, [NewKey; 2]) -> Result<Step, Refusal>,
    ) -> Result<Ring, RingError> {
        if !self.exists() {
            return Err(self.missing());
        }
        write::refuse_copy(&self.path)?;
        let _lock = Lock::take(&self.path)?;
        let old = self.read_listing()?;
        if before == Before::Whole {
            self.load_keys(&old)?;
        }
        let suite = old.listing.in_state(KeyState::Active).map_or(Suite::Xaes256Gcm, |key| key.suite);
        let new = fresh_keys(&old.listing.keys, suite)?;
        let step = decide(&old.listing, [name(&new[0]), name(&new[1])])?;
        if let Some(active) = step.listing.in_state(KeyState::Active)
            && new.iter().all(|key| key.kid() != active.kid)
        {
            // The key that seals from now on must be readable.
            self.read_key(active)?;
        }
        write::carry_out(&self.path, &write::plan(&step.listing, &new, &step.gone, now))?;
        self.load()
    }

    fn ring_path(&self) -> PathBuf {
        self.path.join(RING)
    }

    fn missing(&self) -> RingError {
        match self.path.exists() && !self.path.is_dir() {
            true => bad(&self.path, "is not a directory; name the keys directory with --keys"),
            false => RingError::Missing(self.path.clone()),
        }
    }

    fn readers(&self) -> Readers {
        if self.allow_group_read { Readers::Group } else { Readers::Owner }
    }

    fn read_listing(&self) -> Result<Read, RingError> {
        self.read_listing_for(self.readers())
    }

    fn read_listing_for(&self, readers: Readers) -> Result<Read, RingError> {
        if !self.exists() {
            return Err(self.missing());
        }
        read::directory(&self.path, self.readers())?;
        let path = self.ring_path();
        let bytes = read::file(&path, readers, MAX_RING)?;
        let listing = Listing::parse(&bytes).map_err(|fault| bad(&path, fault))?;
        Ok(Read { listing, fingerprint: Sha256::digest(&*bytes).into() })
    }

    fn read_key(&self, key: &ListedKey) -> Result<RootKey, RingError> {
        // The path comes from the key id; the directory is not listed, so other files in it don't matter.
        let path = self.path.join(key_file::name(key.kid));
        // The error suggests to revoke the damaged key. Then the ring loads, and tokens under that key are refused.
        let mends = |fault: String| {
            bad(
                &path,
                format!(
                    "{fault}; restore the file from the newest copy, or revoke the key with `bulla keys revoke {}`",
                    key.kid
                ),
            )
        };
        let bytes = read::file(&path, self.readers(), MAX_KEY).map_err(|error| match error {
            RingError::Bad { fault, .. } if !fault.contains('`') => mends(fault),
            error => error,
        })?;
        key_file::parse(&bytes, key).map_err(mends)
    }

    fn load_keys(&self, read: &Read) -> Result<Ring, RingError> {
        let mut keys: Vec<RingKey> = Vec::with_capacity(read.listing.keys.len());
        for listed in &read.listing.keys {
            let root = if listed.state.opens() { Some(self.read_key(listed)?) } else { None };
            let bytes = root.as_ref().map(RootKey::bytes);
            let twin =
                keys.iter().find(|key| bytes.is_some() && key.root.as_ref().map(RootKey::bytes) == bytes);
            if let Some(twin) = twin {
                let path = self.path.join(key_file::name(listed.kid));
                let fault = format!(
                    "contains the same bytes as key {}; revoke this key with `bulla keys revoke {}`",
                    twin.kid, listed.kid
                );
                return Err(bad(&path, fault));
            }
            let ListedKey { kid, state, suite, since } = *listed;
            keys.push(RingKey { kid, state, suite, since, root });
        }
        let Listing { generation, not_before, .. } = read.listing;
        Ok(Ring { generation, not_before, fingerprint: read.fingerprint, keys })
    }

    /// The last good ring, with the changes that can be applied from a newer `ring.json` whose ring can't be loaded. Here
    /// `ring.json` may be readable by everyone, because it holds no secret. Only its owner may be able to write it.
    fn with_readable_changes(&self, last: &Ring) -> Ring {
        match self.read_listing_for(Readers::Any) {
            Ok(read) if read.listing.generation > last.generation => last.with_changes_of(&read.listing),
            _ => last.clone(),
        }
    }

    fn with_path(&self, error: RingError) -> RingError {
        match error {
            RingError::Refused(fault) => bad(&self.ring_path(), fault),
            error => error,
        }
    }
}

/// The files that must be readable before a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The ring with all key files.
    Whole,
    /// `ring.json` only.
    Listed,
}

/// `ring.json` as read.
struct Read {
    listing: Listing,
    fingerprint: [u8; 32],
}

/// Two new keys whose ids are not listed yet: ids of 4 bytes can collide.
fn fresh_keys(listed: &[ListedKey], suite: Suite) -> Result<[RootKey; 2], NoRandomness> {
    loop {
        let [a, b] = [RootKey::generate(suite)?, RootKey::generate(suite)?];
        let known = |kid| listed.iter().any(|key| key.kid == kid);
        if a.kid() != b.kid() && !known(a.kid()) && !known(b.kid()) {
            return Ok([a, b]);
        }
    }
}

fn name(root: &RootKey) -> NewKey {
    NewKey { kid: root.kid(), suite: root.suite() }
}
