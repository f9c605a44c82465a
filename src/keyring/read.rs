//! Reads files that must be trusted: checks the owner, the mode and the size before reading.

use std::{fs::File, io::Read as _, path::Path};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
    process::geteuid,
};
use zeroize::Zeroizing;

use crate::{ids::shell, keyring::RingError};

/// The users besides the owner who may read the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// No other user (mode 0600).
    Owner,
    /// The group (0640, 0440), as in secrets that Kubernetes mounts.
    Group,
    /// Everyone: the content is not secret, and only write access matters.
    Any,
}

/// Reads a regular file (after symlinks) of at most `cap` bytes, owned by this user or root.
///
/// The file is opened without blocking and examined by its descriptor, so a FIFO (named pipe) or a device in its place is refused
/// at once.
pub(super) fn file(path: &Path, readers: Readers, cap: usize) -> Result<Zeroizing<Vec<u8>>, RingError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
        Errno::NOENT => bad(path, "is missing"),
        Errno::ACCESS | Errno::PERM => {
            RingError::Denied(shell::explain(path, &e.into(), rustix::fs::Access::READ_OK))
        }
        Errno::NXIO => {
            bad(path, format!("is not a regular file; `rm -r {}` removes it", shell::quote_path(path)))
        }
        e => bad(path, format!("can't be opened: {e}")),
    })?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| bad(path, format!("can't be inspected: {e}")))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(bad(
            path,
            format!("is not a regular file; `rm -r {}` removes it", shell::quote_path(path)),
        ));
    }
    owner(path, &stat)?;
    let (wrong, fix) = match readers {
        Readers::Owner => (0o077, "chmod 600"),
        Readers::Group => (0o037, "chmod 640"),
        Readers::Any => (0o022, "chmod 600"),
    };
    if stat.st_mode & wrong != 0 {
        let mode = stat.st_mode & 0o7777;
        return Err(bad(
            path,
            format!(
                "has mode {mode:04o}, which gives other users access; `{fix} {}` prevents that",
                shell::quote_path(path)
            ),
        ));
    }
    if usize::try_from(stat.st_size).map_or(true, |size| size > cap) {
        return Err(bad(path, format!("is larger than {cap} bytes")));
    }
    // The file could grow meanwhile, so the read is limited too. The vector gets its capacity at once: growing would leave copies
    // of a key in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(cap.min(8192) + 1));
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    File::from(fd)
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|e| bad(path, format!("can't be read: {e}")))?;
    if bytes.len() > cap {
        return Err(bad(path, format!("is larger than {cap} bytes")));
    }
    Ok(bytes)
}

/// Checks that only this user or root can replace files in the directory.
///
/// With `Readers::Group` a sticky directory is accepted, because Kubernetes mounts secrets with mode 1777: only the owner of a file
/// can replace it there, and files of other owners are refused one by one.
pub(super) fn directory(path: &Path, readers: Readers) -> Result<(), RingError> {
    let stat = rustix::fs::stat(path).map_err(|e| match e {
        Errno::NOENT => RingError::Missing(path.into()),
        e => bad(path, format!("can't be inspected: {e}")),
    })?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(bad(path, "is not a directory"));
    }
    owner(path, &stat)?;
    let sticky = readers == Readers::Group && stat.st_mode & 0o1000 != 0;
    if stat.st_mode & 0o022 != 0 && !sticky {
        let mode = stat.st_mode & 0o7777;
        return Err(bad(
            path,
            format!(
                "has mode {mode:04o}, so other users may write to it; `chmod 700 {}` prevents that",
                shell::quote_path(path)
            ),
        ));
    }
    Ok(())
}

fn owner(path: &Path, stat: &Stat) -> Result<(), RingError> {
    let me = geteuid().as_raw();
    if stat.st_uid == me || stat.st_uid == 0 {
        return Ok(());
    }
    let fault = format!(
        "belongs to user {}, but this command runs as user {me}; run it as that user: {}",
        stat.st_uid,
        shell::run_as(stat.st_uid, stat.st_gid)
    );
    Err(bad(path, fault))
}

pub(super) fn bad(path: &Path, fault: impl Into<String>) -> RingError {
    RingError::Bad { path: path.into(), fault: fault.into() }
}
