//! Opens a database: the settings of a connection, the version of SQLite, the migration of the schema.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::Access;

use super::{BUSY_TIMEOUT, failure::Failure, read_only};
use crate::{ids::shell, store::StoreError};

mod embedded {
    refinery::embed_migrations!("src/store/migrations/sqlite");
}

/// The oldest supported version of SQLite. Older versions can lose a commit when a checkpoint and a reset of the write-ahead log
/// (WAL) coincide.
const LEAST_SQLITE: i32 = 3_051_003;

/// Opens one more connection to an existing database.
pub(super) fn connect(path: &Path) -> Result<Connection, Failure> {
    with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn with_flags(path: &Path, flags: OpenFlags) -> Result<Connection, Failure> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    turn_to_wal(&connection)?;
    // Checkpoints run on a separate connection, so that no COMMIT has to run one. The caches are small, because there are several
    // connections, and because the kernel caches the file as well.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -256; PRAGMA foreign_keys = OFF;
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok(connection)
}

/// Switches a new database to WAL mode. If another process does the same at that moment, SQLite does not wait, but reports at
/// once that the database is locked. So this function retries.
fn turn_to_wal(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.execute_batch("PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < BUSY_TIMEOUT * 2 =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// Opens the database, creates it if it is missing (readable by its owner only), and migrates its schema.
pub(super) fn open_and_migrate(path: &Path, allow_group_read: bool) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < LEAST_SQLITE {
        return Err(StoreError::Schema(format!(
            "SQLite {} is too old; version 3.51.3 or newer is required",
            rusqlite::version()
        )));
    }
    refuse_foreign(path)?;
    create_private(path)?;
    keep_private(path, allow_group_read)?;
    if let Some(why) = unwritable(path) {
        return Err(StoreError::Unavailable(why));
    }
    // Adds the file's name to every error.
    let named = |failure: Failure| match failure.into() {
        StoreError::Unavailable(why) => StoreError::Unavailable(format!("{}: {why}", path.display())),
        error => error,
    };
    let mut connection = connect(path).map_err(named)?;
    refuse_newer(&connection, path).map_err(named)?;
    // Another process that starts at the same moment may have migrated the schema first. Then the second attempt has nothing to
    // do.
    migrate(&mut connection).or_else(|_| migrate(&mut connection)).map_err(|error| {
        let error = error.to_string();
        let what = error.lines().next().unwrap_or_default();
        StoreError::Schema(format!("{}: the schema can't be updated: {what}", path.display()))
    })?;
    Ok(connection)
}

/// Migrates in one transaction that includes the record of the migration. An interrupted migration has changed nothing.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), refinery::Error> {
    let runner = embedded::migrations::runner().set_abort_divergent(true).set_grouped(true);
    runner.run(connection).map(drop)
}

fn create_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    made.map(drop).map_err(|error| {
        // A missing file is created in its folder, so the folder's permissions matter.
        let why = match error.kind() {
            std::io::ErrorKind::PermissionDenied if !path.exists() => {
                let why = shell::explain(folder, &error, Access::WRITE_OK | Access::EXEC_OK);
                format!("{}: can't be created: {why}", path.display())
            }
            _ => shell::explain(path, &error, Access::WRITE_OK),
        };
        StoreError::Unavailable(why)
    })
}

/// Returns why the database can't be written, with the command that repairs this. Checks the file, its folder (where SQLite
/// creates `-wal` and `-shm`) and the files next to it.
pub(super) fn unwritable(path: &Path) -> Option<String> {
    let file = path.canonicalize().unwrap_or_else(|_| path.into());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = |end: &str| {
        let mut name = file.clone().into_os_string();
        name.push(end);
        std::path::PathBuf::from(name)
    };
    let (both, pass) = (Access::READ_OK | Access::WRITE_OK, Access::WRITE_OK | Access::EXEC_OK);
    let parts =
        [(folder.to_owned(), pass), (file.clone(), both), (beside("-wal"), both), (beside("-shm"), both)];
    parts.into_iter().filter(|(part, _)| part.exists()).find_map(|(part, needs)| {
        let error = rustix::fs::access(&part, needs).err()?;
        Some(shell::explain(&part, &error.into(), needs))
    })
}

/// Refuses a file of another program, so that it gets no tables of Bulla.
fn refuse_foreign(path: &Path) -> Result<(), StoreError> {
    // An error here is reported when the file is opened.
    let others = read_only::others(path).ok().flatten().unwrap_or_default();
    if others.is_empty() {
        return Ok(());
    }
    Err(StoreError::Schema(format!(
        "{}: this is the database of another program (its tables: {}); name the database of Bulla with --database",
        path.display(),
        others.join(", ")
    )))
}

/// Returns the version of the schema, 0 if there is none.
pub(super) fn schema(connection: &Connection) -> Result<i64, Failure> {
    let newest = "SELECT coalesce(max(version), 0) FROM refinery_schema_history";
    Ok(connection.query_row(newest, [], |row| row.get(0))?)
}

/// Returns the version of the schema after all migrations of this program.
pub(super) fn known_schema() -> i64 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0)
}

/// Protects a database and the files that SQLite puts next to it from other users. It contains password hashes, and a user who
/// can write it can become an administrator. A database that others may write is refused, because they may already have changed
/// it. If others may only read it, as most umasks allow for a restored backup, the permission is removed.
fn keep_private(path: &Path, allow_group_read: bool) -> Result<(), StoreError> {
    refuse_writable(path)?;
    let wrong = if allow_group_read { 0o037 } else { 0o077 };
    for (file, mode) in modes(path).into_iter().filter(|(_, mode)| mode & wrong != 0) {
        use std::os::unix::fs::PermissionsExt as _;
        let right = mode & !wrong;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(right)).map_err(|error| {
            let typed = shell::quote(&file.display().to_string());
            StoreError::Schema(format!(
                "{}: has mode {mode:04o}, so other users may read it, and the mode can't be changed: {error}; `chmod \
                 {right:o} {typed}` changes it",
                file.display()
            ))
        })?;
        tracing::warn!(file = %file.display(), "other users could read the database; its mode was {mode:04o} and was \
            changed to {right:04o}");
    }
    Ok(())
}

/// Refuses a database that other users may write.
pub(super) fn refuse_writable(path: &Path) -> Result<(), StoreError> {
    let open: Vec<_> = modes(path).into_iter().filter(|(_, mode)| mode & 0o022 != 0).collect();
    let Some((first, mode)) = open.first() else { return Ok(()) };
    let files: Vec<_> = open.iter().map(|(file, _)| shell::quote(&file.display().to_string())).collect();
    Err(StoreError::Schema(format!(
        "{}: has mode {mode:04o}, so other users may write to it; `chmod 600 {}` prevents that",
        first.display(),
        files.join(" ")
    )))
}

/// Returns the modes of the database and of the files next to it that exist.
fn modes(path: &Path) -> Vec<(PathBuf, u32)> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let beside = |tail: &str| {
        let mut name = file.clone().into_os_string();
        name.push(tail);
        PathBuf::from(name)
    };
    let mode = |file: PathBuf| {
        let about = std::fs::metadata(&file).ok().filter(std::fs::Metadata::is_file)?;
        Some((file, about.permissions().mode() & 0o7777))
    };
    ["", "-wal", "-shm"].into_iter().filter_map(|tail| mode(beside(tail))).collect()
}

fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), Failure> {
    let exists: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'refinery_schema_history')",
        [],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(());
    }
    let (found, known) = (schema(connection)?, known_schema());
    if found > known {
        return Err(Failure::Store(StoreError::Schema(format!(
            "{}: the schema has version {found}, this program knows versions up to {known}; run a newer version of bulla",
            path.display()
        ))));
    }
    Ok(())
}
