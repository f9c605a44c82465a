//! Tests the keys directory from outside: what it loads, what it refuses, and what survives (docs/design/keys.md).

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::atomic::Ordering::Relaxed,
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
    assert!(keys.keys.init_at(Suite::Xaes256Gcm, at(1)).is_err());
    assert_eq!(keys.read(&keys.ring_json()), before);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("README.md"), "hello").unwrap();
    chmod(folder.path(), 0o755);
    KeyDirectory::new(folder.path()).init_at(Suite::Aes256Gcm, at(0)).unwrap();
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
    // After two more rollovers, the first key has been retired for longer than two hours.
    keys.rotate(100);
    let fourth = keys.rotate(10 + 121);
    assert_eq!(state(&fourth, active(&first)), None);
    assert!(!keys.key_file(active(&first)).exists());
    assert!(keys.key_file(staged(&first)).exists());
}

#[test]
fn anything_but_a_whole_ring_json_is_refused_and_the_error_names_it() {
    let keys = Keys::new();
    let path = keys.ring_json();
    let good = keys.read(&path);
    for length in 0..good.trim_end().len() {
        keys.put(&path, &good[..length]);
        keys.refuses(&path);
    }
    for bad in [
        "<!doctype html><title>502 Bad Gateway</title>".to_owned(),
        format!("\u{feff}{good}"),
        format!("{good}x"),
        format!("{good}{good}"),
        format!("{good}\0"),
        good.replace("\"version\": 1", "\"version\": 2"),
        good.replace("\"version\": 1", "\"version\": 1, \"version\": 1"),
        good.replace("\"version\": 1", "\"version\": 1, \"comment\": \"\""),
        format!("[{good}]"),
    ] {
        assert_ne!(bad, good);
        keys.put(&path, bad);
        keys.refuses(&path);
    }
    keys.put(&path, &good);
    keys.load();
}

#[test]
fn anything_but_a_whole_key_file_is_refused_and_the_error_tells_no_secret() {
    let keys = Keys::new();
    let ring = keys.load();
    let path = keys.key_file(staged(&ring));
    let good = keys.read(&path);
    let secret = ring.staged().unwrap().root.as_ref().unwrap().bytes().to_base64url();
    let mut bad: Vec<String> = (0..good.trim_end().len()).map(|length| good[..length].to_owned()).collect();
    bad.extend([
        "<html></html>".to_owned(),
        format!("\u{feff}{good}"),
        format!("{good}junk"),
        good.replace(secret.as_str(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        good.replace(secret.as_str(), &secret.to_uppercase()),
        good.replace(secret.as_str(), &format!("{}A", &*secret)),
        keys.read(&keys.key_file(active(&ring))),
    ]);
    for bad in bad {
        keys.put(&path, bad);
        let error = keys.refuses(&path);
        assert!(!error.contains(&secret[..8]), "{error}");
    }
    let printed = format!("{ring:?}");
    assert!(printed.contains(&staged(&ring).to_string()) && !printed.contains(secret.as_str()));
}

#[test]
fn a_key_filed_with_guessable_bytes_is_refused_though_it_hashes_to_its_kid() {
    let ascending: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    for bytes in [[0; 32], [0xff; 32], [b'a'; 32], ascending] {
        let keys = Keys::new();
        let old = staged(&keys.load());
        let root = RootKey::new(Suite::Xaes256Gcm, Secret::new(bytes));
        let text = keys.read(&keys.key_file(old)).replace(&old.to_string(), &root.kid().to_string());
        let from = text.find("\"key\":\"").unwrap() + 7;
        let text = format!("{}{}{}", &text[..from], &*root.bytes().to_base64url(), &text[from + 43..]);
        keys.put(&keys.key_file(root.kid()), text);
        let listing = keys.read(&keys.ring_json()).replace(&old.to_string(), &root.kid().to_string());
        keys.put(&keys.ring_json(), listing);
        assert!(keys.refuses(&keys.key_file(root.kid())).contains("trivial"));
    }
}

#[test]
fn the_same_bytes_under_two_kids_are_refused() {
    let keys = Keys::new();
    let ring = keys.load();
    let first = ring.active().unwrap().root.clone().unwrap();
    // With another suite, the same bytes have another kid.
    let twin = RootKey::new(Suite::XChaCha20Poly1305, first.bytes().clone());
    assert_ne!(twin.kid(), first.kid());
    let text = keys.read(&keys.key_file(first.kid()));
    let text = text.replace(&first.kid().to_string(), &twin.kid().to_string());
    keys.put(&keys.key_file(twin.kid()), text.replace("xaes-256-gcm", "xchacha20-poly1305"));
    let listing = keys.read(&keys.ring_json());
    let (before, after) = listing.split_at(listing.find(&staged(&ring).to_string()).unwrap());
    let after = after.replace(&staged(&ring).to_string(), &twin.kid().to_string());
    keys.put(&keys.ring_json(), before.to_owned() + &after.replace("xaes-256-gcm", "xchacha20-poly1305"));
    assert!(keys.refuses(&keys.key_file(twin.kid())).contains("same bytes"));
}

#[test]
fn exactly_one_key_is_active_and_no_kid_is_listed_twice() {
    let keys = Keys::new();
    let ring = keys.load();
    let good = keys.read(&keys.ring_json());
    for bad in [
        good.replace("\"staged\"", "\"active\""),
        good.replace("\"active\"", "\"retired\""),
        good.replace("\"active\"", "\"staged\""),
        good.replace(&staged(&ring).to_string(), &active(&ring).to_string()),
    ] {
        assert_ne!(bad, good);
        keys.put(&keys.ring_json(), bad);
        keys.refuses(&keys.ring_json());
    }
}

#[test]
fn files_open_to_others_are_refused_and_group_readable_ones_only_taken_when_allowed() {
    let keys = Keys::new();
    let ring = keys.load();
    let lenient = keys.keys.clone().allow_group_read(true);
    for file in [keys.ring_json(), keys.key_file(active(&ring)), keys.key_file(staged(&ring))] {
        for mode in [0o644, 0o604, 0o660, 0o620, 0o602, 0o666, 0o640, 0o440, 0o444, 0o601] {
            chmod(&file, mode);
            let error = keys.refuses(&file);
            assert!(error.contains(&format!("{mode:04o}")) && error.contains("chmod 600"), "{error}");
            let allowed = mode == 0o640 || mode == 0o440;
            assert_eq!(lenient.load().is_ok(), allowed, "{mode:o}");
        }
        for mode in [0o600, 0o400] {
            chmod(&file, mode);
            keys.load();
        }
    }
}

#[test]
fn a_directory_others_can_write_to_is_refused() {
    let keys = Keys::new();
    let lenient = keys.keys.clone().allow_group_read(true);
    for mode in [0o770, 0o720, 0o702, 0o777] {
        chmod(&keys.path, mode);
        assert!(keys.refuses(&keys.path).contains("chmod 700"));
        assert!(lenient.load().is_err());
        assert!(keys.keys.rotate(Duration::ZERO, 2 * HOUR, at(60)).is_err());
    }
    // As Kubernetes mounts a secret: with the sticky bit, so that users can't replace each other's files.
    chmod(&keys.path, 0o1777);
    keys.refuses(&keys.path);
    assert!(lenient.load().is_ok());
    for mode in [0o755, 0o750, 0o500] {
        chmod(&keys.path, mode);
        keys.load();
    }
    chmod(&keys.path, 0o700);
}

#[test]
fn files_of_another_user_are_refused() {
    let keys = Keys::new();
    let ring = keys.load();
    let chown = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None);
    if chown(&keys.ring_json(), 65_534).is_err() {
        eprintln!("SKIPPED: only root can give files away");
        return;
    }
    chown(&keys.ring_json(), 0).unwrap();
    for path in
        [keys.ring_json(), keys.key_file(active(&ring)), keys.key_file(staged(&ring)), keys.path.clone()]
    {
        chown(&path, 65_534).unwrap();
        assert!(keys.refuses(&path).contains("65534"));
        chown(&path, 0).unwrap();
        keys.load();
    }
}

/// Runs `f` in another thread and fails after 30 seconds, so that a hang fails the test.
fn without_hanging<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(f()));
    receiver.recv_timeout(Duration::from_secs(30)).expect("it hangs")
}

#[test]
fn a_fifo_a_socket_a_directory_or_a_device_in_place_of_a_file_is_refused_without_hanging() {
    let keys = Keys::new();
    let ring = keys.load();
    for path in [keys.ring_json(), keys.key_file(active(&ring)), keys.key_file(staged(&ring))] {
        let kept = fs::read(&path).unwrap();
        let make: [&dyn Fn(); 6] = [
            &|| {
                assert!(
                    std::process::Command::new("mkfifo")
                        .args(["-m", "600"])
                        .arg(&path)
                        .status()
                        .unwrap()
                        .success()
                )
            },
            &|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            &|| fs::create_dir(&path).unwrap(),
            &|| symlink("/dev/zero", &path).unwrap(),
            &|| symlink("/dev/tty", &path).unwrap(),
            &|| symlink(&path, &path).unwrap(),
        ];
        for make in make {
            fs::remove_file(&path).unwrap();
            make();
            let directory = keys.keys.clone();
            let loaded = without_hanging(move || directory.load());
            let error = loaded.expect_err("not a file").to_string();
            assert!(error.starts_with(&format!("{}", path.display())), "{error}");
            if path.is_dir() {
                fs::remove_dir(&path).unwrap()
            } else {
                fs::remove_file(&path).unwrap()
            }
            keys.put(&path, &kept);
            keys.load();
        }
    }
}

#[test]
fn a_huge_file_is_refused_unread() {
    let keys = Keys::new();
    let ring = keys.load();
    for path in [keys.ring_json(), keys.key_file(active(&ring))] {
        let kept = fs::read(&path).unwrap();
        // A sparse file of a terabyte: the test would not end if the file were read.
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let directory = keys.keys.clone();
        let error = without_hanging(move || directory.load()).expect_err("too large").to_string();
        assert!(error.contains("larger than"), "{error}");
        keys.put(&path, &kept);
    }
}

#[test]
fn a_missing_key_file_is_named_with_the_fix_and_a_revocation_mends_it() {
    let keys = Keys::new();
    let first = keys.load();
    let ring = keys.rotate(10);
    let lost = active(&first);
    fs::remove_file(keys.key_file(lost)).unwrap();
    assert!(keys.refuses(&keys.key_file(lost)).contains("restore it"));
    assert!(keys.keys.rotate(Duration::ZERO, 2 * HOUR, at(30)).is_err(), "a damaged ring isn't rolled over");
    let mended = keys.keys.revoke(lost, at(31)).unwrap();
    assert_eq!(state(&mended, lost), Some(KeyState::Revoked));
    assert_eq!(active(&mended), active(&ring));
}

#[test]
fn a_key_that_isnt_there_is_not_promoted() {
    let keys = Keys::new();
    let ring = keys.load();
    fs::remove_file(keys.key_file(staged(&ring))).unwrap();
    let before = keys.read(&keys.ring_json());
    assert!(keys.keys.revoke(active(&ring), at(1)).is_err());
    assert_eq!(keys.read(&keys.ring_json()), before);
    // Replacing all keys by new ones always works.
    let anew = keys.keys.revoke_all(0, at(2)).unwrap();
    assert_eq!(anew.keys.iter().filter(|key| key.state == KeyState::Revoked).count(), 2);
}

#[test]
fn no_directory_and_no_ring_json_say_which_command_makes_one() {
    let home = tempfile::tempdir().unwrap();
    for path in [home.path().join("nowhere"), home.path().to_owned()] {
        let keys = KeyDirectory::new(&path);
        assert!(!keys.exists());
        let error = keys.load().unwrap_err();
        assert!(
            matches!(error, RingError::Missing(_)) && error.to_string().contains("bulla init"),
            "{error}"
        );
        assert!(keys.rotate(Duration::ZERO, 2 * HOUR, at(0)).is_err());
        assert!(keys.revoke_all(0, at(0)).is_err());
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing was made on the way");
}

#[test]
fn a_staged_key_too_young_is_not_promoted_and_nothing_changes() {
    let keys = Keys::new();
    let before = keys.read(&keys.ring_json());
    let error = keys.keys.rotate(Duration::from_secs(600), 2 * HOUR, at(9)).unwrap_err();
    assert!(error.to_string().contains("540 s") && error.to_string().contains("--now"), "{error}");
    assert_eq!(keys.read(&keys.ring_json()), before);
    assert_eq!(fs::read_dir(&keys.path).unwrap().count(), 4, "ring.json, two keys, the lock");
}

#[test]
fn revoking_the_active_key_promotes_the_staged_one_and_deletes_its_file() {
    let keys = Keys::new();
    let old = keys.load();
    let ring = keys.keys.revoke(active(&old), at(1)).unwrap();
    assert_eq!(ring.generation, 2);
    assert_eq!(active(&ring), staged(&old));
    let revoked = ring.keys.iter().find(|key| key.kid == active(&old)).unwrap();
    assert!(revoked.state == KeyState::Revoked && revoked.root.is_none());
    assert!(!keys.key_file(active(&old)).exists());
    assert!(ring.staged().is_some());
    assert!(matches!(keys.keys.revoke(Kid([0; 4]), at(2)), Err(RingError::NoSuchKey(_))));
    assert!(keys.keys.revoke(active(&old), at(2)).is_err());
    assert_eq!(keys.load().generation, 2);
}

#[test]
fn revoking_all_leaves_nothing_of_a_stolen_ring_and_passes_every_generation_known() {
    let keys = Keys::new();
    let old = keys.rotate(10);
    let ring = keys.keys.revoke_all(40, at(11)).unwrap();
    assert_eq!(ring.generation, 41);
    for key in &old.keys {
        assert_eq!(state(&ring, key.kid), Some(KeyState::Revoked));
        assert!(!keys.key_file(key.kid).exists());
    }
    assert!(ring.check_mark(Some((40, [7; 32]))).is_ok());
}

#[test]
fn not_before_is_kept_over_rollovers() {
    let keys = Keys::new();
    keys.keys.not_before(at(5), at(6)).unwrap();
    assert_eq!(keys.rotate(10).not_before, at(5));
}

#[test]
fn a_ring_older_than_the_database_has_known_or_another_of_its_age_is_refused_with_the_cure() {
    let keys = Keys::new();
    let one = keys.load();
    let two = keys.rotate(10);
    let mark = |ring: &Ring| Some((ring.generation, ring.fingerprint));
    assert!(two.check_mark(None).is_ok());
    assert!(two.check_mark(mark(&one)).is_ok());
    assert!(two.check_mark(mark(&two)).is_ok());
    let old = one.check_mark(mark(&two)).unwrap_err().to_string();
    assert!(old.contains("old copy") && old.contains("revoke --all"), "{old}");
    let fork = two.check_mark(Some((2, one.fingerprint))).unwrap_err().to_string();
    assert!(fork.contains("fork"), "{fork}");
}

#[test]
fn temporary_and_editor_files_are_of_no_account() {
    let keys = Keys::new();
    let kid = active(&keys.load());
    for name in [
        "ring.json~".to_owned(),
        ".ring.json.swp".into(),
        "#ring.json#".into(),
        "ring.json.tmp".into(),
        ".ring.json.next".into(),
        "deadbeef.key".into(),
        format!("{kid}.key~"),
        format!(".{kid}.key.kate-swp"),
        "README.md".into(),
    ] {
        fs::write(keys.path.join(name), "half a fi").unwrap();
    }
    assert_eq!(keys.load().generation, 1);
    assert_eq!(keys.rotate(10).generation, 2);
    assert_eq!(keys.keys.unlisted(&keys.load()), ["deadbeef.key"]);
}

#[test]
fn loading_never_lists_the_directory_so_a_hundred_thousand_files_in_it_are_nothing() {
    use std::os::unix::fs::MetadataExt as _;
    let keys = Keys::new();
    for n in 0..100_000 {
        fs::File::create(keys.path.join(format!("stray-{n}"))).unwrap();
    }
    // Listing a directory after it has changed sets a new access time.
    let atime = || fs::metadata(&keys.path).map(|meta| (meta.atime(), meta.atime_nsec())).unwrap();
    let before = atime();
    let ring = keys.load();
    assert!(matches!(keys.keys.reload(&ring), Reload::Unchanged));
    assert_eq!(atime(), before, "the directory was listed");
    assert!(fs::read_dir(&keys.path).unwrap().count() > 100_000);
    if atime() == before {
        eprintln!("SKIPPED: this file system keeps no access times, so listing can't be seen");
    }
}

#[test]
fn a_reload_of_an_unchanged_ring_touches_no_key() {
    let keys = Keys::new();
    let ring = keys.load();
    for key in &ring.keys {
        fs::remove_file(keys.key_file(key.kid)).unwrap();
    }
    for _ in 0..1000 {
        assert!(matches!(keys.keys.reload(&ring), Reload::Unchanged));
    }
}

#[test]
fn a_reload_takes_a_newer_ring() {
    let keys = Keys::new();
    let old = keys.load();
    let new = keys.rotate(10);
    let Reload::Changed(ring) = keys.keys.reload(&old) else { panic!("a newer ring is there") };
    assert_eq!(ring.fingerprint, new.fingerprint);
}

#[track_caller]
fn degraded(reload: Reload) -> (Ring, String) {
    match reload {
        Reload::Degraded(ring, error) => (ring, error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn with_the_directory_gone_the_last_good_ring_stays_in_force() {
    let keys = Keys::new();
    let last = keys.load();
    fs::rename(&keys.path, keys.path.with_extension("away")).unwrap();
    let (ring, _) = degraded(keys.keys.reload(&last));
    assert_eq!((active(&ring), states(&ring)), (active(&last), states(&last)));
    fs::rename(keys.path.with_extension("away"), &keys.path).unwrap();
    assert!(matches!(keys.keys.reload(&ring), Reload::Unchanged));
}

#[test]
fn an_older_a_forked_and_a_broken_ring_change_nothing_in_a_running_server() {
    let keys = Keys::new();
    let old = keys.read(&keys.ring_json());
    let last = keys.rotate(10);
    let new = keys.read(&keys.ring_json());
    let revoking = new.replace("\"retired\"", "\"revoked\"");
    for bad in [
        old,
        new.replace("\"not_before\": 0", "\"not_before\": 1"),
        revoking,
        new[..new.len() / 2].to_owned(),
        String::new(),
        "<html>".into(),
    ] {
        keys.put(&keys.ring_json(), bad);
        let (ring, _) = degraded(keys.keys.reload(&last));
        assert_eq!((ring.not_before, states(&ring)), (last.not_before, states(&last)));
        assert_eq!(active(&ring), active(&last));
    }
}

#[test]
fn a_key_once_revoked_doesnt_come_back_while_the_server_runs() {
    let keys = Keys::new();
    let kid = active(&keys.load());
    let file = keys.read(&keys.key_file(kid));
    let last = keys.keys.revoke(kid, at(1)).unwrap();
    let revived = keys
        .read(&keys.ring_json())
        .replace("revoked", "retired")
        .replace("\"generation\": 2", "\"generation\": 3");
    keys.put(&keys.ring_json(), revived);
    keys.put(&keys.key_file(kid), file);
    assert_eq!(state(&keys.load(), kid), Some(KeyState::Retired), "by itself the ring is sound");
    let (ring, error) = degraded(keys.keys.reload(&last));
    assert_eq!(state(&ring, kid), Some(KeyState::Revoked));
    assert!(error.contains(&kid.to_string()), "{error}");
}

#[test]
fn a_revocation_in_a_newer_ring_counts_though_a_key_file_is_missing_or_open_to_others() {
    for damage in [
        (|keys: &Keys, ring: &Ring| fs::remove_file(keys.key_file(staged(ring))).unwrap())
            as fn(&Keys, &Ring),
        |keys, ring| chmod(&keys.key_file(staged(ring)), 0o644),
        |keys, _| chmod(&keys.ring_json(), 0o644),
        |keys, ring| keys.put(&keys.key_file(staged(ring)), "half a"),
    ] {
        let keys = Keys::new();
        let last = keys.load();
        let newer = keys.keys.revoke(active(&last), at(1)).unwrap();
        damage(&keys, &newer);
        let (ring, _) = degraded(keys.keys.reload(&last));
        assert_eq!(state(&ring, active(&last)), Some(KeyState::Revoked));
        assert!(ring.keys.iter().all(|key| key.state != KeyState::Revoked || key.root.is_none()));
        assert_eq!(active(&ring), staged(&last), "the key held already is promoted");
        assert_eq!(ring.generation, last.generation, "so that the newer ring is tried again");
        // A second reload gives the same result.
        let (again, _) = degraded(keys.keys.reload(&ring));
        assert_eq!(states(&again), states(&ring));
    }
}

#[test]
fn a_later_not_before_in_a_newer_ring_counts_though_it_cant_be_loaded() {
    let keys = Keys::new();
    let last = keys.load();
    keys.keys.not_before(at(5), at(6)).unwrap();
    fs::remove_file(keys.key_file(active(&last))).unwrap();
    let (ring, _) = degraded(keys.keys.reload(&last));
    assert_eq!((ring.not_before, active(&ring)), (at(5), active(&last)));
}

#[test]
fn a_degraded_server_takes_the_ring_whole_once_it_is_mended() {
    let keys = Keys::new();
    let last = keys.load();
    let newer = keys.keys.revoke(active(&last), at(1)).unwrap();
    let path = keys.key_file(staged(&newer));
    chmod(&path, 0o644);
    let (ring, _) = degraded(keys.keys.reload(&last));
    chmod(&path, 0o600);
    let Reload::Changed(mended) = keys.keys.reload(&ring) else { panic!("it is mended") };
    assert_eq!(mended.fingerprint, newer.fingerprint);
}

#[test]
fn a_promotion_of_a_key_never_received_waits_and_the_present_key_goes_on_sealing() {
    let keys = Keys::new();
    let last = keys.load();
    keys.rotate(10);
    let newest = keys.rotate(20);
    assert!(state(&last, active(&newest)).is_none());
    fs::remove_file(keys.key_file(active(&newest))).unwrap();
    let (ring, error) = degraded(keys.keys.reload(&last));
    assert_eq!(active(&ring), active(&last));
    assert!(error.contains(&active(&newest).to_string()), "{error}");
}

#[test]
fn a_stolen_ring_is_dead_at_once_even_on_a_server_that_has_none_of_the_new_keys() {
    let keys = Keys::new();
    let last = keys.load();
    let newest = keys.keys.revoke_all(0, at(1)).unwrap();
    fs::remove_file(keys.key_file(active(&newest))).unwrap();
    let (ring, _) = degraded(keys.keys.reload(&last));
    assert_eq!(states(&ring), [KeyState::Revoked, KeyState::Revoked]);
    assert!(ring.active().is_none(), "better nothing is sealed than anything believed");
}

#[test]
fn a_ring_json_others_could_have_written_is_not_heeded_at_all() {
    let keys = Keys::new();
    let last = keys.load();
    keys.keys.revoke(active(&last), at(1)).unwrap();
    chmod(&keys.ring_json(), 0o622);
    let (ring, _) = degraded(keys.keys.reload(&last));
    assert_eq!(states(&ring), states(&last));
    chmod(&keys.ring_json(), 0o600);
    chmod(&keys.path, 0o777);
    let (ring, _) = degraded(keys.keys.reload(&last));
    assert_eq!(states(&ring), states(&last));
}

/// A directory as Kubernetes mounts a secret: the files are links into `..data`, which is a link to a dated folder.
struct Mount {
    _home: TempDir,
    path: PathBuf,
}

impl Mount {
    fn of(keys: &Keys) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mount = Self { path: home.path().join("mount"), _home: home };
        fs::create_dir(&mount.path).unwrap();
        mount.publish(keys, 0);
        mount
    }

    /// Copies the ring to a new folder and switches `..data` to it with one rename.
    fn publish(&self, keys: &Keys, version: u32) {
        let folder = format!("..2026_11_20.{version}");
        fs::create_dir(self.path.join(&folder)).unwrap();
        for entry in fs::read_dir(&keys.path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.starts_with('.') {
                continue;
            }
            let copy = self.path.join(&folder).join(&name);
            fs::copy(keys.path.join(&name), &copy).unwrap();
            chmod(&copy, 0o440);
            if self.path.join(&name).symlink_metadata().is_err() {
                symlink(format!("..data/{name}"), self.path.join(&name)).unwrap();
            }
        }
        symlink(&folder, self.path.join("..data_tmp")).unwrap();
        fs::rename(self.path.join("..data_tmp"), self.path.join("..data")).unwrap();
        if version > 0 {
            fs::remove_dir_all(self.path.join(format!("..2026_11_20.{}", version - 1))).unwrap();
        }
    }
}

#[test]
fn a_kubernetes_mount_is_followed_through_its_swaps_and_never_seen_torn() {
    let keys = Keys::new();
    let mount = Mount::of(&keys);
    chmod(&mount.path, 0o1777);
    let mounted = KeyDirectory::new(&mount.path).allow_group_read(true);
    let mut last = mounted.load().unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..=60 {
                keys.keys.rotate(Duration::ZERO, 2 * HOUR, at(i64::from(n) * 50)).unwrap();
                mount.publish(&keys, n);
            }
        });
        while !writer.is_finished() {
            match mounted.reload(&last) {
                Reload::Unchanged => {}
                Reload::Changed(ring) => last = ring,
                Reload::Degraded(_, error) => panic!("{error}"),
            }
        }
    });
    if let Reload::Changed(ring) = mounted.reload(&last) {
        last = ring;
    }
    assert_eq!(last.generation, 61);
    // The mount is a copy, so the ring must be changed at its source.
    chmod(&mount.path, 0o700);
    let error = mounted.rotate(Duration::ZERO, 2 * HOUR, at(9999)).unwrap_err().to_string();
    assert!(error.contains("symbolic link"), "{error}");
    assert!(mount.path.join("ring.json").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn many_commands_at_once_take_turns_and_lose_nothing() {
    let keys = Keys::new();
    let mut generations: Vec<u64> = std::thread::scope(|scope| {
        let commands: Vec<_> = (0..8)
            .map(|n| {
                let keys = &keys;
                scope.spawn(move || {
                    let rotate = || keys.keys.rotate(Duration::ZERO, 2 * HOUR, at(n)).unwrap().generation;
                    (0..5).map(|_| rotate()).collect::<Vec<_>>()
                })
            })
            .collect();
        commands.into_iter().flat_map(|command| command.join().unwrap()).collect()
    });
    generations.sort_unstable();
    assert_eq!(generations, (2..=41).collect::<Vec<_>>());
    let ring = keys.load();
    assert_eq!(ring.generation, 41);
    assert_eq!(ring.keys.len(), 42, "every key that was made is listed and loads");
}

#[test]
fn two_first_starts_at_once_make_one_ring() {
    let home = tempfile::tempdir().unwrap();
    let keys = KeyDirectory::new(home.path().join("keys"));
    let made = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| keys.init_at(Suite::Xaes256Gcm, at(0)))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).filter(Result::is_ok).count()
    });
    assert_eq!(made, 1);
    assert_eq!(keys.load().unwrap().keys.len(), 2);
}

/// Reports that the writer has ended, even if it panicked.
struct Done<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_storm_of_reloads_during_rollovers_meets_whole_rings_only() {
    let keys = Keys::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            for n in 1..=150 {
                // One hour apart, so that keys are deleted continuously.
                keys.keys.rotate(Duration::ZERO, 2 * HOUR, at(n * 60)).unwrap();
            }
        });
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut last, mut seen) = (keys.load(), 0);
                    while !done.load(Relaxed) {
                        match keys.keys.reload(&last) {
                            Reload::Unchanged => {}
                            Reload::Changed(ring) => {
                                assert!(ring.generation > last.generation);
                                assert!(ring.keys.iter().all(|key| key.root.is_some()));
                                assert!(ring.staged().is_some() && ring.active().is_some());
                                (last, seen) = (ring, seen + 1);
                            }
                            Reload::Degraded(_, error) => panic!("{error}"),
                        }
                    }
                    seen
                })
            })
            .collect();
        for reader in readers {
            assert!(reader.join().unwrap() > 1, "it met rollovers");
        }
    });
    assert_eq!(keys.load().generation, 151);
}
