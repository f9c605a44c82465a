//! An exported key file, which is read again when it changes.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, TryLockError},
    time::Duration,
};

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    ids::{Audience, Purpose},
    token::{
        BadExport, KeyExport, OpenBuffer, Opened, Refused, SealCounts, SealError, SealedToken, TokenKeys,
    },
};

/// The reason why an exported key file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The content is not an export.
    #[error(transparent)]
    Bad(#[from] BadExport),
}

/// The keys of an export file. The file is read again when it changes. Threads can share this value.
///
/// Each use asks the file system whether the file has changed (about a microsecond), so a new export is in force at once. If the
/// new file is damaged, missing, or for another purpose or audience, the last good keys stay in force, [`fault`](Self::fault) gives
/// the reason, and a warning is logged once.
pub struct KeyFile {
    path: PathBuf,
    purpose: Purpose,
    audience: Audience,
    counts: SealCounts,
    /// Held by the thread that reads a new export.
    reading: Mutex<()>,
    now: ArcSwap<Loaded>,
}

/// The keys in force and the state of the file.
struct Loaded {
    keys: Arc<TokenKeys>,
    max_age: Duration,
    fault: Option<String>,
    /// The state of the file when it was read. `None` after an error that may pass without a change of the file, so the file is
    /// read again.
    stamp: Option<Stamp>,
}

/// Device, inode, time of change in nanoseconds, and size.
type Stamp = (u64, u64, i64, i64, u64);

impl KeyFile {
    /// Reads the file at `path`, and will follow its changes.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] if the file can't be read or is not an export.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, KeyFileError> {
        let (path, counts) = (path.into(), SealCounts::default());
        // The state is taken before the file is read. If the file changes in between, the next use reads it again.
        let stamp = look(&path);
        let export = read(&path)?;
        let loaded = Loaded::new(&export, stamp, &counts);
        let (purpose, audience) = (export.purpose().clone(), export.audience().clone());
        Ok(Self {
            path,
            purpose,
            audience,
            counts,
            reading: Mutex::default(),
            now: ArcSwap::from_pointee(loaded),
        })
    }

    /// Opens a token that is younger than the export's `max_age` by the system's clock. Allocates a copy of the payload.
    ///
    /// # Errors
    ///
    /// As [`TokenKeys::open`].
    pub fn open(&self, token: &str) -> Result<Opened<String>, Refused> {
        let mut buffer = OpenBuffer::new();
        self.open_at(token, SystemClock.now(), &mut buffer).map(Opened::into_owned)
    }

    /// Opens a token as [`TokenKeys::open_at`] does, with the export's `max_age`.
    ///
    /// # Errors
    ///
    /// As [`TokenKeys::open`].
    pub fn open_at<'b>(
        &self,
        token: &str,
        now: Timestamp,
        buffer: &'b mut OpenBuffer,
    ) -> Result<Opened<&'b str>, Refused> {
        let loaded = self.loaded();
        loaded.keys.open_at(token, now, loaded.max_age, buffer)
    }

    /// Seals a payload as [`TokenKeys::seal`] does. The export must contain the active key.
    ///
    /// # Errors
    ///
    /// As [`TokenKeys::seal`].
    pub fn seal(&self, payload: &str) -> Result<SealedToken, SealError> {
        self.seal_at(payload, SystemClock.now())
    }

    /// Seals a payload as [`TokenKeys::seal_at`] does. The export must contain the active key.
    ///
    /// # Errors
    ///
    /// As [`TokenKeys::seal_at`].
    pub fn seal_at(&self, payload: &str, issued_at: Timestamp) -> Result<SealedToken, SealError> {
        self.loaded().keys.seal_at(payload, issued_at)
    }

    /// The purpose of the tokens.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The audience of the tokens.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The reason why the present content of the file is not in force. `None` if it is in force. Asks the file system.
    pub fn fault(&self) -> Option<String> {
        self.loaded().fault.clone()
    }

    fn loaded(&self) -> Arc<Loaded> {
        let stamp = look(&self.path);
        if stamp.is_none() || stamp != self.now.load().stamp {
            match self.reading.try_lock() {
                Ok(_reading) => self.reload(),
                // If a thread has panicked here, the last good keys are still in force.
                Err(TryLockError::Poisoned(_)) => self.reload(),
                // Another thread reads the new file; this one uses the last good keys.
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.now.load_full()
    }

    fn reload(&self) {
        let (before, stamp) = (self.now.load_full(), look(&self.path));
        if stamp.is_some() && stamp == before.stamp {
            return;
        }
        let export = read(&self.path).and_then(|export| {
            let same = (export.purpose(), export.audience()) == (&self.purpose, &self.audience);
            if same { Ok(export) } else { Err(BadExport::changed().into()) }
        });
        self.now.store(Arc::new(match export {
            Ok(export) => Loaded::new(&export, stamp, &self.counts),
            Err(error) => {
                let stamp = stamp.filter(|_| matches!(error, KeyFileError::Bad(_)));
                let fault = error.to_string();
                if before.fault.as_ref() != Some(&fault) {
                    tracing::warn!("{}: {fault}; the last good keys stay in force", self.path.display());
                }
                Loaded { keys: Arc::clone(&before.keys), max_age: before.max_age, fault: Some(fault), stamp }
            }
        }));
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyFile").field(&self.path).finish()
    }
}

impl Loaded {
    fn new(export: &KeyExport, stamp: Option<Stamp>, counts: &SealCounts) -> Self {
        Self { keys: Arc::new(export.counted_keys(counts)), max_age: export.max_age(), fault: None, stamp }
    }
}

fn look(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.size()))
}

fn read(path: &Path) -> Result<KeyExport, KeyFileError> {
    // The check avoids opening a FIFO (named pipe), which would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file").into());
    }
    let text = Zeroizing::new(fs::read_to_string(path)?);
    Ok(KeyExport::from_json(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::{KeyState, Ring, RingKey, RootKey, Suite};

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn export(keys: &[(&RootKey, KeyState)], purpose: &str, audience: &str) -> KeyExport {
        let key = |(root, state): &(&RootKey, KeyState)| RingKey {
            kid: root.kid(),
            state: *state,
            suite: root.suite(),
            since: Timestamp::EPOCH,
            root: Some((*root).clone()),
        };
        let keys = keys.iter().map(key).collect();
        let ring = Ring { generation: 1, not_before: Timestamp::EPOCH, fingerprint: [0; 32], keys };
        let (purpose, audience) = (purpose.parse().unwrap(), audience.parse().unwrap());
        KeyExport::new(&ring, &purpose, &audience, Duration::from_secs(120))
    }

    fn replace(path: &Path, text: &str) {
        let next = path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, path).unwrap();
    }

    fn opens(file: &KeyFile, token: &SealedToken) -> bool {
        file.open_at(token.as_str(), NOW, &mut OpenBuffer::new()).is_ok()
    }

    #[test]
    fn an_export_file_is_followed_and_the_last_good_one_stays_in_force() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("billing.keys.json");
        assert!(matches!(KeyFile::new(&path), Err(KeyFileError::Io(_))));
        replace(&path, "{}");
        assert!(matches!(KeyFile::new(&path), Err(KeyFileError::Bad(_))));

        let [first, second] = [(); 2].map(|()| RootKey::generate(Suite::Xaes256Gcm).unwrap());
        let old = export(&[(&first, KeyState::Active)], "access", "billing").to_json();
        let new = [(&first, KeyState::Retired), (&second, KeyState::Active)];
        let new = export(&new, "access", "billing").to_json();
        replace(&path, old.expose());
        let file = KeyFile::new(&path).unwrap();
        let early = file.seal_at("{}", NOW).unwrap();
        assert!(opens(&file, &early) && file.fault().is_none());

        let other = [("service", "billing"), ("access", "shop")];
        let other = other.map(|(purpose, audience)| {
            export(&[(&first, KeyState::Active)], purpose, audience).to_json().expose().to_owned()
        });
        for broken in ["", "<html>", &old.expose()[1..], &other[0], &other[1]] {
            replace(&path, broken);
            assert!(opens(&file, &early), "{broken:.20}");
            assert!(file.fault().unwrap().starts_with("not a key export"));
        }
        fs::remove_file(&path).unwrap();
        assert!(opens(&file, &early) && file.fault().is_some());
        fs::create_dir(&path).unwrap();
        assert!(opens(&file, &early) && file.fault().is_some());
        fs::remove_dir(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(opens(&file, &early) && file.fault().is_some());
        fs::remove_file(&path).unwrap();

        replace(&path, new.expose());
        let late = file.seal_at("{}", NOW).unwrap();
        assert!(opens(&file, &early) && opens(&file, &late) && file.fault().is_none());
        let kid = file.open_at(late.as_str(), NOW, &mut OpenBuffer::new()).unwrap().kid;
        assert_eq!(kid, second.kid());
        replace(&path, export(&[(&second, KeyState::Active)], "access", "billing").to_json().expose());
        assert!(!opens(&file, &early) && opens(&file, &late), "a key that is gone opens no more");
    }
}
