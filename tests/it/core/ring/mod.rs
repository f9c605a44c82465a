//! Tests the keys directory from outside: what it loads, what it refuses, and what survives (docs/design/keys.md).

mod creation_and_rollover;
mod loading;
mod reloading;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bulla::internals::{
    clock::Timestamp,
    ids::Kid,
    keyring::{KeyDirectory, KeyState, Ring, Suite},
};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + minutes * 60_000)
}

/// A keys directory with a ring.
struct Keys {
    _home: TempDir,
    path: PathBuf,
    keys: KeyDirectory,
}

impl Keys {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("keys");
        let keys = KeyDirectory::new(&path);
        keys.init_at(Suite::Xaes256Gcm, at(0)).unwrap();
        Self { _home: home, path, keys }
    }

    fn load(&self) -> Ring {
        self.keys.load().unwrap()
    }

    fn rotate(&self, minutes: i64) -> Ring {
        self.keys.rotate(Duration::from_secs(600), 2 * HOUR, at(minutes)).unwrap()
    }

    fn ring_json(&self) -> PathBuf {
        self.path.join("ring.json")
    }

    fn key_file(&self, kid: Kid) -> PathBuf {
        self.path.join(format!("{kid}.key"))
    }

    /// Writes a file as an attacker or an accident does: in place, with mode 0600.
    fn put(&self, path: &Path, text: impl AsRef<[u8]>) {
        let _ = fs::remove_file(path);
        fs::write(path, text).unwrap();
        chmod(path, 0o600);
    }

    fn read(&self, path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    /// Checks that loading fails with an error that begins with the path of `file`; returns the error.
    #[track_caller]
    fn refuses(&self, file: &Path) -> String {
        let error = self.keys.load().expect_err("this must not load").to_string();
        assert!(error.starts_with(&format!("{}", file.display())), "{error}");
        error
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn states(ring: &Ring) -> Vec<KeyState> {
    ring.keys.iter().map(|key| key.state).collect()
}

fn active(ring: &Ring) -> Kid {
    ring.active().unwrap().kid
}

fn staged(ring: &Ring) -> Kid {
    ring.staged().unwrap().kid
}

fn state(ring: &Ring, kid: Kid) -> Option<KeyState> {
    ring.keys.iter().find(|key| key.kid == kid).map(|key| key.state)
}
