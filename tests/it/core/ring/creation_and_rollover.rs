//! Tests how a keys directory is created and how rollovers and revocations change it, also by several commands at once.

use std::{fs, time::Duration};

use bulla::internals::{
    ids::Kid,
    keyring::{KeyDirectory, KeyState, RingError, Suite},
};

use super::{HOUR, Keys, active, at, chmod, mode, staged, state, states};

#[test]
fn init_creates_a_private_directory_with_one_active_and_one_staged_key() {
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
fn init_refuses_a_folder_with_a_ring_and_accepts_one_without() {
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
fn a_staged_key_without_a_file_is_not_promoted() {
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
fn a_staged_key_that_is_too_young_is_not_promoted() {
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
fn revoking_all_replaces_all_keys_and_exceeds_every_known_generation() {
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
fn concurrent_commands_run_one_after_another_and_lose_no_change() {
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
fn two_concurrent_first_starts_create_one_ring() {
    let home = tempfile::tempdir().unwrap();
    let keys = KeyDirectory::new(home.path().join("keys"));
    let made = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| keys.init_at(Suite::Xaes256Gcm, at(0)))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).filter(Result::is_ok).count()
    });
    assert_eq!(made, 1);
    assert_eq!(keys.load().unwrap().keys.len(), 2);
}
