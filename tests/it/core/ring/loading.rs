//! Tests which keys directories are loaded and which are refused: damaged files, files that other users can read or write, and
//! missing files.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use bulla::internals::{
    keyring::{KeyDirectory, KeyState, Reload, Ring, RingError, RootKey, Suite},
    secret::Secret,
};

use super::{HOUR, Keys, active, at, chmod, staged, state};

#[test]
fn a_damaged_ring_json_is_refused_and_the_error_names_it() {
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
fn a_damaged_key_file_is_refused_and_the_error_contains_no_secret() {
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
fn a_key_of_guessable_bytes_is_refused_even_if_its_kid_matches() {
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
fn files_that_others_can_read_are_refused_and_group_readable_ones_need_permission() {
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
fn a_directory_that_other_users_can_write_to_is_refused() {
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
fn a_huge_file_is_refused_without_reading_it() {
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
fn the_error_about_a_missing_key_file_names_it_and_the_revocation_that_mends_it() {
    let keys = Keys::new();
    let first = keys.load();
    let ring = keys.rotate(10);
    let lost = active(&first);
    fs::remove_file(keys.key_file(lost)).unwrap();
    assert!(keys.refuses(&keys.key_file(lost)).contains("restore the file"));
    assert!(keys.keys.rotate(Duration::ZERO, 2 * HOUR, at(30)).is_err(), "a damaged ring isn't rolled over");
    let mended = keys.keys.revoke(lost, at(31)).unwrap();
    assert_eq!(state(&mended, lost), Some(KeyState::Revoked));
    assert_eq!(active(&mended), active(&ring));
}

#[test]
fn errors_about_a_missing_directory_or_ring_json_name_the_command_that_creates_it() {
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
fn a_ring_older_than_the_known_generation_or_a_fork_of_it_is_refused_with_the_command_that_mends_it() {
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
fn temporary_and_editor_files_are_ignored() {
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
fn loading_does_not_list_the_directory_so_a_hundred_thousand_files_cost_nothing() {
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
