//! Reads a database file without leaving a trace: no byte of it changes, and no `-wal` or `-shm` file appears next to it.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::Access;

use super::{BUSY_TIMEOUT, failure::Failure};
use crate::{ids::shell, store::StoreError};

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The value of byte 18 in a database with a write-ahead log.
const WAL: u8 = 2;
/// The tables of Bulla's first version. A file that contains the first three is Bulla's.
const TABLES: [&str; 9] = [
    "refinery_schema_history",
    "sessions",
    "revocations",
    "users",
    "identities",
    "clients",
    "used",
    "audit",
    "ring",
];

/// Whether the file exists and is Bulla's or is being created by Bulla.
pub(super) fn is_ours(path: &Path) -> Result<bool, StoreError> {
    match connect(path).map_err(|error| named(path, error))? {
        Reading::Nothing => Ok(path.exists()),
        // Opening the database reads the log.
        Reading::Unread => Ok(true),
        Reading::Open(connection) => {
            let others = foreign(&connection).map_err(|error| named(path, error))?;
            Ok(others.is_none_or(|others| others.is_empty()))
        }
    }
}

/// Returns the names of the tables in a file that has no tables of Bulla.
pub(super) fn others(path: &Path) -> Result<Option<Vec<String>>, Failure> {
    match connect(path)? {
        Reading::Open(connection) => foreign(&connection),
        Reading::Nothing | Reading::Unread => Ok(None),
    }
}

/// The parts of a file that can be read without leaving a trace.
pub(super) enum Reading {
    /// The file does not exist or is empty.
    Nothing,
    /// The file has a write-ahead log without its index. Reading it would write the index.
    Unread,
    Open(Connection),
}

/// If Bulla's tables are missing, returns the names of other tables, at most three. The list is empty for a file that is being
/// created.
pub(super) fn foreign(connection: &Connection) -> Result<Option<Vec<String>>, Failure> {
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name";
    let mut tables = connection.prepare(names)?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if TABLES[..3].iter().all(|ours| tables.iter().any(|table| table == ours)) {
        return Ok(None);
    }
    let others = tables.into_iter().filter(|table| !TABLES.contains(&table.as_str()));
    Ok(Some(others.take(3).collect()))
}

/// Opens a connection that writes neither to the file nor next to it.
pub(super) fn connect(path: &Path) -> Result<Reading, Failure> {
    let Some(wal) = header(path)? else { return Ok(Reading::Nothing) };
    let beside = |end: &str| {
        let mut name = path.canonicalize().unwrap_or_else(|_| path.into()).into_os_string();
        name.push(end);
        PathBuf::from(name)
    };
    let (log, index) = (beside("-wal"), beside("-shm"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let with = |how| Connection::open_with_flags(uri(path, how), flags | OpenFlags::SQLITE_OPEN_URI);
    // A connection to a database with a write-ahead log (WAL) creates missing `-wal` and `-shm` files, and writes to `-shm`. If one
    // of them is missing, no process has the database open, so it can be read as a file that does not change.
    let connection = match (wal, log.exists(), index.exists()) {
        (true, true, false) if log.metadata().is_ok_and(|log| log.len() > 0) => return Ok(Reading::Unread),
        (true, _, false) | (true, false, _) => with("immutable=1")?,
        (true, true, true) => {
            let reads =
                |connection: &Connection| connection.execute_batch("SELECT count(*) FROM sqlite_master");
            let quiet = with("readonly_shm=1").and_then(|connection| reads(&connection).map(|()| connection));
            // A running process may have left no slot in the index for a reader that does not write to it. Then a normal reader
            // is used.
            quiet.or_else(|_| Connection::open_with_flags(path, flags))?
        }
        (false, ..) => Connection::open_with_flags(path, flags)?,
    };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(Reading::Open(connection))
}

/// Whether the database has a write-ahead log. `None` if the file does not exist or is empty.
fn header(path: &Path) -> Result<Option<bool>, StoreError> {
    let failed =
        |error: &std::io::Error| StoreError::Unavailable(shell::explain(path, error, Access::READ_OK));
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
        Ok(about) if !about.is_file() => {
            return Err(StoreError::Unavailable("is not a file; name the database with --database".into()));
        }
        Ok(about) if about.len() == 0 => return Ok(None),
        Ok(_) => {}
    }
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = [0; 20];
    let whole = file.read_exact(&mut bytes).is_ok();
    if !whole || &bytes[..16] != MAGIC {
        return Err(StoreError::Unavailable(
            "the file is not a database; name the database with --database".into(),
        ));
    }
    Ok(Some(bytes[18] == WAL))
}

/// Returns the URI of a file, with the way to open it.
fn uri(path: &Path, how: &str) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'/');
    format!("file:{}?{how}", percent_encoding::percent_encode(path.as_os_str().as_bytes(), KEPT))
}

pub(super) fn named(path: &Path, failure: Failure) -> StoreError {
    match failure.into() {
        // The message already names the file or folder at fault.
        StoreError::Unavailable(why) if why.contains(&*path.to_string_lossy()) => {
            StoreError::Unavailable(why)
        }
        StoreError::Unavailable(why) => StoreError::Unavailable(format!("{}: {why}", path.display())),
        error => error,
    }
}
