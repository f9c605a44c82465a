//! The database of an installation, chosen once at start: a SQLite file or a PostgreSQL server.

#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(
        unused_variables,
        unreachable_code,
        reason = "a build with one database leaves out the arms of the other"
    )
)]

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

#[cfg(feature = "postgres")]
use super::postgres::{Options as PostgresOptions, PostgresStore, PostgresUrl};
#[cfg(feature = "sqlite")]
use super::sqlite::{Options, SqliteStore};
use super::{
    BadDatabase, Inspection, Store, StoreError,
    time_budget::{COMMAND_QUERY_LIMIT, REQUEST_BUDGET},
};
use crate::clock::Clock;

/// The place where an installation keeps its data. `Debug` and `Display` show no password.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Database {
    /// A SQLite file, for one machine.
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
    /// A PostgreSQL server that any number of nodes share.
    #[cfg(feature = "postgres")]
    Postgres(PostgresUrl),
    /// A database that this build does not support. It can't be opened.
    #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
    Unsupported,
}

#[cfg(all(feature = "sqlite", feature = "postgres"))]
const MUST: &str = "must be the path of a SQLite file, or postgres://user@host/name";
#[cfg(all(feature = "sqlite", not(feature = "postgres")))]
const MUST: &str = "must be the path of a SQLite file (for PostgreSQL, build with the feature `postgres`)";
#[cfg(all(feature = "postgres", not(feature = "sqlite")))]
const MUST: &str = "must be postgres://user@host/name (for a SQLite file, build with the feature `sqlite`)";
#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
const MUST: &str = "can't be used: build with the feature `sqlite` or `postgres`";

impl Database {
    /// Opens the database. Creates missing parts (the file, the tables) and migrates the schema to the newest version.
    ///
    /// # Errors
    ///
    /// `Schema` if the database can't be used by this program, `Unavailable` if it can't be reached, read or written.
    pub async fn open(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
        self.open_for_server(clock, false).await
    }

    /// Like [`Self::open`], but accepts a SQLite file that its group can read if `allow_group_read` is true.
    pub(crate) async fn open_for_server(
        &self,
        clock: Arc<dyn Clock>,
        allow_group_read: bool,
    ) -> Result<Arc<dyn Store>, StoreError> {
        self.open_with(clock, allow_group_read, REQUEST_BUDGET).await
    }

    /// Like [`Self::open_for_server`], for a command of the command line: its queries may take longer than those of a server.
    pub(crate) async fn open_for_command(
        &self,
        clock: Arc<dyn Clock>,
        allow_group_read: bool,
    ) -> Result<Arc<dyn Store>, StoreError> {
        self.open_with(clock, allow_group_read, COMMAND_QUERY_LIMIT).await
    }

    async fn open_with(
        &self,
        clock: Arc<dyn Clock>,
        allow_group_read: bool,
        query_limit: Duration,
    ) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => {
                let named = |error: BadDatabase| StoreError::Unavailable(format!("database: {error}"));
                check_path(path).map_err(named)?;
                let lock_limit = query_limit.saturating_sub(Duration::from_millis(200));
                let options = Options { allow_group_read, lock_limit, ..Options::default() };
                Arc::new(SqliteStore::open_with(path, clock, options)?)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let options = PostgresOptions { query_limit, ..PostgresOptions::default() };
                Arc::new(PostgresStore::open_with(url, options).await?)
            }
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            Self::Unsupported => return Err(StoreError::Unavailable(format!("database: {MUST}"))),
        })
    }

    /// Returns the text that names the same database, with relative paths resolved against `folder`. `None` if it has no relative
    /// path.
    pub(crate) fn beside(&self, folder: PathBuf) -> Option<String> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) if path.is_relative() => {
                Some(format!("sqlite:{}", folder.join(path).display()))
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => None,
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => url.beside(&folder),
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            Self::Unsupported => None,
        }
    }

    /// Whether the database of an installation already exists.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the database can't be reached or read, `Schema` if its server is not supported.
    pub async fn exists(&self) -> Result<bool, StoreError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => SqliteStore::exists(path),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => PostgresStore::exists(url).await,
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            Self::Unsupported => Err(StoreError::Unavailable(format!("database: {MUST}"))),
        }
    }

    /// Examines the database by reading only: creates, migrates and writes nothing.
    pub(crate) async fn inspect(&self, clock: &dyn Clock) -> Result<Inspection, StoreError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => SqliteStore::inspect(path, clock),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => PostgresStore::inspect(url).await,
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            Self::Unsupported => Err(StoreError::Unavailable(format!("database: {MUST}"))),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => path.display().fmt(f),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => url.fmt(f),
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            Self::Unsupported => f.write_str("an unsupported database"),
        }
    }
}

impl FromStr for Database {
    type Err = BadDatabase;

    fn from_str(text: &str) -> Result<Self, BadDatabase> {
        let database = Self::from(text);
        match &database {
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => drop(url.parse()?),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) if text.contains("://") => {
                return Err(BadDatabase(format!("{MUST}, not another URL")));
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => check_path(path)?,
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            Self::Unsupported => return Err(BadDatabase(MUST.into())),
        }
        Ok(database)
    }
}

/// Refuses a path that looks like the address of a database. Opening it would create a file whose name contains the address, with
/// the password. A user who means such a path writes `./` before it.
#[cfg(feature = "sqlite")]
fn check_path(path: &Path) -> Result<(), BadDatabase> {
    let bad = |what: &str| Err(BadDatabase(format!("{MUST}{what}")));
    let text = path.to_string_lossy();
    let first = text.split('/').next().unwrap_or_default();
    // Oracle writes an address as `user/password@host/name`.
    let relative = if text.starts_with(['/', '.']) { "" } else { &*text };
    let scheme = first.split_once(':').is_some_and(|(scheme, _)| scheme.len() > 1 || scheme.is_empty());
    let written = "; if this is the path of a file, write ./ before it";
    match () {
        () if text.is_empty() => bad(""),
        () if text.chars().any(char::is_control) => bad(", without control characters"),
        () if text.contains('?') => bad(", without parameters"),
        () if scheme && first != "." => bad(&format!(", without a scheme before a colon{written}")),
        () if text.starts_with("//") => bad(", not a URL without its scheme"),
        () if relative.contains(['=', ';', '@']) => {
            bad(&format!(", not the parameters of a connection (key=value){written}"))
        }
        () => Ok(()),
    }
}

impl From<&str> for Database {
    /// Parses a PostgreSQL URL, which is checked when it is opened, or a path with or without the prefix `sqlite:`.
    fn from(text: &str) -> Self {
        match text.starts_with("postgres://") || text.starts_with("postgresql://") {
            #[cfg(feature = "postgres")]
            true => Self::Postgres(PostgresUrl::new(text)),
            #[cfg(feature = "sqlite")]
            false => Self::Sqlite(match text.strip_prefix("sqlite:") {
                // The prefix says that the text is a path, so a colon or an equals sign in it has no special meaning.
                Some(path) if path.contains([':', '=', ';', '@']) && !path.starts_with([':', '/', '.']) => {
                    Path::new(".").join(path)
                }
                path => path.unwrap_or(text).into(),
            }),
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            _ => Self::Unsupported,
        }
    }
}

#[cfg(feature = "sqlite")]
impl From<PathBuf> for Database {
    fn from(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }
}

#[cfg(feature = "sqlite")]
impl From<&Path> for Database {
    fn from(path: &Path) -> Self {
        Self::Sqlite(path.into())
    }
}

impl From<&Self> for Database {
    fn from(database: &Self) -> Self {
        database.clone()
    }
}

#[cfg(all(test, feature = "sqlite", feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_path_or_a_url_and_shows_no_password() {
        for (text, shows) in [
            ("bulla.db", "bulla.db"),
            ("./a=b.db", "./a=b.db"),
            ("/srv/a=b/c:d.db", "/srv/a=b/c:d.db"),
            ("sqlite:a=b.db", "./a=b.db"),
            ("sqlite:/var/lib/bulla.db", "/var/lib/bulla.db"),
            ("postgres://ada:hunter2@db.example:5433/bulla", "postgres://ada@db.example:5433/bulla"),
            ("postgresql://ada@db.example/bulla?password=hunter2", "postgres://ada@db.example/bulla"),
            ("postgres://a:hunter2@one,two:5433/b", "postgres://a@one,two:5433/b"),
            ("postgres:///bulla?host=/run/pg&user=ada", "postgres://ada@/run/pg/bulla"),
        ] {
            let database: Database = text.parse().unwrap();
            assert_eq!(database.to_string(), shows);
            assert!(!format!("{database:?}").contains("hunter2"));
        }
        for bad in [
            "host=h user=u password=hunter2 dbname=d",
            "host=/run/pg password=hunter2",
            "password = hunter2 host = h",
            "mysql:hunter2",
            "jdbc:postgresql:hunter2",
            "postgres:hunter2",
            "file:bulla.db?mode=rwc",
            "bulla.db?mode=rwc",
            "sqlite:bulla.db?mode=rwc",
            "sqlserver:server=h;password=hunter2",
            "Server=h;Database=d;User Id=u;Password=hunter2;",
            "Driver={SQL Server};Pwd=hunter2",
            "ada:hunter2@h/d",
            "ada/hunter2@h:1521/d",
            "//ada:hunter2@h/d",
            "h/d;password=hunter2",
            "(DESCRIPTION=(ADDRESS=(HOST=hunter2)))",
            ":memory:",
            "sqlite::memory:",
            "a\nb",
            "",
            "sqlite:",
            "sqlite://bulla.db",
            "mysql://ada:hunter2@h/d",
            "postgres://ada:hunter2@h:port/d",
            "postgres://h/d?ssl=hunter2",
        ] {
            let error = bad.parse::<Database>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
