//! The keys directory, from outside: what it loads, what it refuses, and what survives (DESIGN 3; ATTACKS, key directory).

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use bulla::{
    clock::Timestamp,
    ids::Kid,
    keyring::{KeyDirectory, KeyState, Reload, Ring, RingError, RootKey, Suite},
    secret::Secret,
};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + minutes * 60_000)
}

/// A keys directory of its own, with a ring in it.
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
        keys.init(Suite::Xaes256Gcm, at(0)).unwrap();
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

    /// Writes the way an attacker or an accident does: in place, mode 0600.
    fn put(&self, path: &Path, text: impl AsRef<[u8]>) {
        let _ = fs::remove_file(path);
        fs::write(path, text).unwrap();
        chmod(path, 0o600);
    }

    fn read(&self, path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    /// Loading fails, blames `file`, and says how to mend it.
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

#[test]
fn init_makes_a_directory_of_its_owner_alone_with_one_active_and_one_staged_key() {
    let keys = Keys::new();
    let ring = keys.load();
    assert_eq!(ring.generation, 1);
    assert_eq!(states(&ring), [KeyState::Active, KeyState::Staged]);
    assert_eq!(mode(&keys.path), 0o700);
    for file in [
        keys.ring_json(),
        keys.key_file(active(&ring)),
        keys.key_file(staged(&ring)),
        keys.path.join(".lock"),
    ] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    let listing = keys.read(&keys.ring_json());
    for key in &ring.keys {
        let secret = key.root.as_ref().unwrap().bytes().to_base64url();
        assert!(!listing.contains(secret.as_str()), "ring.json holds no secret");
    }
}

#[test]
fn init_refuses_where_a_ring_is_and_takes_over_a_folder_without_one() {
    let keys = Keys::new();
    let before = keys.read(&keys.ring_json());
    assert!(keys.keys.init(Suite::Xaes256Gcm, at(1)).is_err());
    assert_eq!(keys.read(&keys.ring_json()), before);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("README.md"), "hello").unwrap();
    chmod(folder.path(), 0o755);
    KeyDirectory::new(folder.path()).init(Suite::Aes256Gcm, at(0)).unwrap();
    assert_eq!(mode(folder.path()), 0o700);
    assert_eq!(fs::read_to_string(folder.path().join("README.md")).unwrap(), "hello");
}

#[test]
fn a_rollover_promotes_the_staged_key_and_stages_a_new_one() {
    let keys = Keys::new();
    let first = keys.load();
    let second = keys.rotate(10);
    assert_eq!(second.generation, 2);
    assert_eq!(active(&second), staged(&first));
    assert_eq!(state(&second, active(&first)), Some(KeyState::Retired));
    assert_eq!(keys.load().fingerprint, second.fingerprint);
    // Two rollovers on, the first key has been retired for longer than two hours.
    keys.rotate(100);
    let fourth = keys.rotate(10 + 121);
    assert_eq!(state(&fourth, active(&first)), None);
    assert!(!keys.key_file(active(&first)).exists());
    assert!(keys.key_file(staged(&first)).exists());
}
