//! Tests how a running server follows its keys directory: newer, older, damaged and missing rings, and a Kubernetes mount.

use std::{fs, os::unix::fs::symlink, path::PathBuf, sync::atomic::Ordering::Relaxed, time::Duration};

use bulla::internals::keyring::{KeyDirectory, KeyState, Reload, Ring};
use tempfile::TempDir;

use super::{HOUR, Keys, active, at, chmod, staged, state, states};

#[test]
fn a_reload_of_an_unchanged_ring_reads_no_key() {
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
fn the_last_good_ring_stays_in_force_if_the_directory_disappears() {
    let keys = Keys::new();
    let last = keys.load();
    fs::rename(&keys.path, keys.path.with_extension("away")).unwrap();
    let (ring, _) = degraded(keys.keys.reload(&last));
    assert_eq!((active(&ring), states(&ring)), (active(&last), states(&last)));
    fs::rename(keys.path.with_extension("away"), &keys.path).unwrap();
    assert!(matches!(keys.keys.reload(&ring), Reload::Unchanged));
}

#[test]
fn a_running_server_ignores_an_older_a_forked_and_a_damaged_ring() {
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
fn a_revoked_key_stays_revoked_while_the_server_runs() {
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
fn a_revocation_in_a_newer_ring_applies_even_if_a_key_file_is_missing_or_open() {
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
fn a_later_not_before_of_a_newer_ring_applies_even_if_the_ring_cannot_be_loaded() {
    let keys = Keys::new();
    let last = keys.load();
    keys.keys.not_before(at(5), at(6)).unwrap();
    fs::remove_file(keys.key_file(active(&last))).unwrap();
    let (ring, _) = degraded(keys.keys.reload(&last));
    assert_eq!((ring.not_before, active(&ring)), (at(5), active(&last)));
}

#[test]
fn a_degraded_server_loads_the_ring_once_it_is_mended() {
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
fn a_server_that_lacks_the_promoted_key_continues_to_seal_with_the_present_key() {
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
fn revoking_all_applies_at_once_on_a_server_without_the_new_keys() {
    let keys = Keys::new();
    let last = keys.load();
    let newest = keys.keys.revoke_all(0, at(1)).unwrap();
    fs::remove_file(keys.key_file(active(&newest))).unwrap();
    let (ring, _) = degraded(keys.keys.reload(&last));
    assert_eq!(states(&ring), [KeyState::Revoked, KeyState::Revoked]);
    assert!(ring.active().is_none(), "better nothing is sealed than anything believed");
}

#[test]
fn a_ring_json_that_other_users_can_write_is_ignored() {
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
fn a_kubernetes_mount_is_reloaded_after_each_swap_and_never_read_half_swapped() {
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

/// Reports that the writer has ended, even if it panicked.
struct Done<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn concurrent_reloads_during_rollovers_read_only_complete_rings() {
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
