//! Writes a keys directory: a plan of small steps under a lock. After an interruption at any step, the directory holds a complete
//! ring.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use crate::{
    clock::Timestamp,
    ids::{Kid, shell},
    keyring::{
        Listing, RingError, RootKey, key_file,
        read::{self, bad},
    },
};

/// The file that lists the keys.
pub(super) const RING: &str = "ring.json";
/// The temporary name of the next `ring.json`. The name is fixed, so the next command overwrites a file that a crash left.
const NEXT: &str = ".ring.json.next";
const LOCK: &str = ".lock";
/// The maximum time that a command waits for the lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// One step of a change.
#[derive(Debug)]
pub(super) enum Step {
    /// Writes a new key file and syncs it. Fails if the file exists.
    Key { kid: Kid, bytes: Zeroizing<Vec<u8>> },
    /// Syncs the directory, so that names in it survive a power loss.
    Sync,
    /// Writes the next `ring.json` under its temporary name and syncs it.
    Next(Vec<u8>),
    /// Renames the temporary file to `ring.json`.
    Replace,
    /// Deletes the file of a key that is revoked or no longer listed.
    Forget(Kid),
}

/// The steps of a change, in an order that survives a crash after any of them: key files are written before `ring.json` names them,
/// and deleted after `ring.json` no longer names them.
pub(super) fn plan(listing: &Listing, new: &[RootKey], gone: &[Kid], now: Timestamp) -> Vec<Step> {
    let listed = |root: &&RootKey| listing.keys.iter().any(|key| key.kid == root.kid());
    let mut steps: Vec<Step> = new
        .iter()
        .filter(listed)
        .map(|root| Step::Key { kid: root.kid(), bytes: key_file::to_json(root, now) })
        .collect();
    steps.extend([Step::Sync, Step::Next(listing.to_json()), Step::Replace, Step::Sync]);
    steps.extend(gone.iter().map(|&kid| Step::Forget(kid)));
    steps.push(Step::Sync);
    steps
}

/// Carries out the steps in order. The caller holds the [`Lock`].
pub(super) fn carry_out(directory: &Path, steps: &[Step]) -> Result<(), RingError> {
    for step in steps {
        let (path, done) = match step {
            Step::Key { kid, bytes } => {
                let path = directory.join(key_file::name(*kid));
                let done = create(&path, bytes);
                (path, done)
            }
            Step::Sync => (directory.into(), File::open(directory).and_then(|dir| dir.sync_all())),
            Step::Next(bytes) => {
                let path = directory.join(NEXT);
                let done = remove(&path).and_then(|()| create(&path, bytes));
                (path, done)
            }
            Step::Replace => (directory.join(RING), fs::rename(directory.join(NEXT), directory.join(RING))),
            Step::Forget(kid) => {
                let path = directory.join(key_file::name(*kid));
                let done = remove(&path);
                (path, done)
            }
        };
        done.map_err(|e| refused(directory, &path, "can't be written", &e))?;
    }
    Ok(())
}

/// Makes the error of a failed write. It names the path that this user can't write, and the command that mends it.
fn refused(directory: &Path, path: &Path, what: &str, error: &io::Error) -> RingError {
    let folder = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let needs = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
            RingError::Denied(format!("{}: {what}: {}", path.display(), shell::explain(folder, error, needs)))
        }
        _ => bad(path, format!("{what}: {error}")),
    }
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // Set the mode explicitly, because the umask may have removed permissions.
    let written = file
        .set_permissions(fs::Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // Remove the incomplete file; report the first error.
        let _ = remove(path);
    }
    written
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Creates the directory if it is missing, and sets mode 0700.
pub(super) fn make_directory(path: &Path) -> Result<(), RingError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| refused(path.parent().unwrap_or(path), path, "can't be created", &e))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .map_err(|e| bad(path, format!("can't be given mode 0700: {e}")))
}

/// The lock of a command that changes the directory. Released on drop.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "held for its Drop, which releases the lock")] File);

impl Lock {
    /// Waits at most [`PATIENCE`] for other commands.
    pub(super) fn take(directory: &Path) -> Result<Self, RingError> {
        Self::take_within(directory, PATIENCE)
    }

    fn take_within(directory: &Path, patience: Duration) -> Result<Self, RingError> {
        let path = directory.join(LOCK);
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(&path)
            .map_err(|e| refused(directory, &path, "can't be opened", &e))?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(RingError::Refused(format!(
                        "{}: another command has been changing this key ring for {} s; run this command again when \
                         the other one has finished",
                        path.display(),
                        patience.as_secs()
                    )));
                }
                Err(fs::TryLockError::Error(e)) => {
                    return Err(bad(
                        &path,
                        format!("can't be locked: {e}; the file system must support locks"),
                    ));
                }
            }
        }
    }
}

/// Refuses to change a directory that is a distributed copy: if `ring.json` is a symbolic link, replacing it would detach it from
/// its source.
pub(super) fn refuse_copy(directory: &Path) -> Result<(), RingError> {
    let path = directory.join(RING);
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_symlink() => Err(bad(
            &path,
            "is a symbolic link, so this directory is a mounted copy; change the key ring in the original directory",
        )),
        _ => read::directory(directory, read::Readers::Owner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::{KeyDirectory, Suite, schedule};

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(hours * 3_600_000)
    }

    /// A directory whose next rollover creates one key and deletes one, the plan of that rollover, and the listing after it.
    fn rollover(home: &Path) -> (KeyDirectory, Vec<Step>, Listing) {
        let keys = KeyDirectory::new(home.join("keys"));
        keys.init_at(Suite::Xaes256Gcm, at(0)).unwrap();
        keys.rotate(Duration::ZERO, Duration::ZERO, at(1)).unwrap();
        let old = Listing::parse(&fs::read(keys.path().join(RING)).unwrap()).unwrap();
        let new = [(); 2].map(|()| RootKey::generate(Suite::Xaes256Gcm).unwrap());
        let names = [&new[0], &new[1]].map(|key| schedule::NewKey { kid: key.kid(), suite: key.suite() });
        let step = schedule::rotate(&old, names, Duration::ZERO, Duration::ZERO, at(9)).unwrap();
        assert_eq!(step.gone.len(), 1);
        (keys, plan(&step.listing, &new, &step.gone, at(9)), step.listing)
    }

    /// Leaves the state of a crash in the middle of a step: a file with half of its bytes.
    fn half(directory: &Path, step: &Step) {
        let (name, bytes) = match step {
            Step::Key { kid, bytes } => (key_file::name(*kid), &bytes[..]),
            Step::Next(bytes) => (NEXT.to_owned(), &bytes[..]),
            _ => return,
        };
        fs::write(directory.join(name), &bytes[..bytes.len() / 2]).unwrap();
    }

    #[test]
    fn a_crash_after_or_within_any_step_leaves_a_whole_ring_and_the_next_rollover_works() {
        let steps = rollover(tempfile::tempdir().unwrap().path()).1.len();
        let mut seen = Vec::new();
        for crash in 0..=steps {
            for halfway in [false, true] {
                let home = tempfile::tempdir().unwrap();
                let (keys, plan, after) = rollover(home.path());
                carry_out(keys.path(), &plan[..crash]).unwrap();
                if halfway && crash < steps {
                    half(keys.path(), &plan[crash]);
                }
                let ring = keys.load().unwrap();
                seen.push(ring.generation);
                assert!(ring.generation == 2 || ring.generation == after.generation, "{crash}");
                let next = keys.rotate(Duration::ZERO, Duration::ZERO, at(20)).unwrap();
                assert_eq!(next.generation, ring.generation + 1);
            }
        }
        assert!(seen.is_sorted() && seen.contains(&2) && seen.contains(&3), "{seen:?}");
    }

    #[test]
    fn a_crash_during_the_first_start_leaves_nothing_or_a_ring() {
        let new = || RootKey::generate(Suite::Xaes256Gcm).unwrap();
        for crash in 0..=7 {
            let home = tempfile::tempdir().unwrap();
            let keys = KeyDirectory::new(home.path().join("keys"));
            make_directory(keys.path()).unwrap();
            let pair = [new(), new()];
            let names =
                [&pair[0], &pair[1]].map(|key| schedule::NewKey { kid: key.kid(), suite: key.suite() });
            let listing = schedule::first(names[0], names[1], at(0));
            let plan = plan(&listing, &pair, &[], at(0));
            carry_out(keys.path(), &plan[..crash.min(plan.len())]).unwrap();
            let ring = if keys.exists() { keys.load() } else { keys.init_at(Suite::Xaes256Gcm, at(1)) };
            assert_eq!(ring.unwrap().generation, 1);
        }
    }

    #[test]
    fn an_existing_key_file_is_never_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let (keys, plan, _) = rollover(home.path());
        carry_out(keys.path(), &plan[..1]).unwrap();
        assert!(carry_out(keys.path(), &plan[..1]).is_err());
    }

    #[test]
    fn a_command_waits_a_limited_time_for_the_lock_of_another_command() {
        let home = tempfile::tempdir().unwrap();
        let held = Lock::take(home.path()).unwrap();
        let error = Lock::take_within(home.path(), Duration::from_millis(30)).unwrap_err().to_string();
        assert!(error.contains("another command"), "{error}");
        drop(held);
        Lock::take_within(home.path(), Duration::ZERO).unwrap();
    }

    #[test]
    fn a_lock_that_is_a_link_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", home.path().join(LOCK)).unwrap();
        assert!(Lock::take(home.path()).is_err());
    }
}
