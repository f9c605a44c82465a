//! The database of an installation, chosen once at start: a SQLite file or a PostgreSQL server.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use super::{
    BadDatabase, Found, Store, StoreError,
    postgres::{PostgresStore, PostgresUrl},
    sqlite::{Options, SqliteStore},
};
use crate::clock::Clock;

/// The place where an installation keeps its data. `Debug` and `Display` show no password.
#[derive(Clone, Debug)]
pub enum Database {
    /// A SQLite file, for one machine.
    Sqlite(PathBuf),
    /// A PostgreSQL server that any number of nodes share.
    Postgres(PostgresUrl),
}

const MUST: &str = "must be the path of a SQLite file, or postgres://user@host/name";

impl Database {
    /// Opens the database. Creates missing parts (the file, the tables) and migrates the schema to the newest version.
    pub async fn open(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
        self.open_for(clock, false).await
    }

    /// Like [`Self::open`], but accepts a SQLite file that its group can read if `allow_group_read` is true.
    pub async fn open_for(
        &self,
        clock: Arc<dyn Clock>,
        allow_group_read: bool,
    ) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => {
                let named = |error: BadDatabase| StoreError::Unavailable(format!("database: {error}"));
                check_path(path).map_err(named)?;
                let options = Options { allow_group_read, ..Options::default() };
                Arc::new(SqliteStore::open_with(path, clock, options)?)
            }
            Self::Postgres(url) => Arc::new(PostgresStore::open(url).await?),
        })
    }

    /// Returns the text of the same database with relative paths resolved against `folder`. `None` if it has no relative path.
    pub(crate) fn beside(&self, folder: PathBuf) -> Option<String> {
        match self {
            Self::Sqlite(path) if path.is_relative() => {
                Some(format!("sqlite:{}", folder.join(path).display()))
            }
            Self::Sqlite(_) => None,
            Self::Postgres(url) => url.beside(&folder),
        }
    }

    /// Whether the database of an installation already exists.
    pub async fn exists(&self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(path) => SqliteStore::exists(path),
            Self::Postgres(url) => PostgresStore::exists(url).await,
        }
    }

    /// Examines the database by reading only: creates, migrates and writes nothing.
    pub(crate) async fn look(&self, clock: &dyn Clock) -> Result<Found, StoreError> {
        match self {
            Self::Sqlite(path) => SqliteStore::look(path, clock),
            Self::Postgres(url) => PostgresStore::look(url).await,
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl FromStr for Database {
    type Err = BadDatabase;

    fn from_str(text: &str) -> Result<Self, BadDatabase> {
        let database = Self::from(text);
        match &database {
            Self::Postgres(url) => drop(url.parse()?),
            Self::Sqlite(_) if text.contains("://") => {
                return Err(BadDatabase(format!("{MUST}, not another URL")));
            }
            Self::Sqlite(path) => check_path(path)?,
        }
        Ok(database)
    }
}

/// Refuses a path that looks like the address of a database, because opening it would create a file with that name, password
/// included. The user can write such a path with `./` before it.
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
            true => Self::Postgres(PostgresUrl::new(text)),
            false => Self::Sqlite(match text.strip_prefix("sqlite:") {
                // The prefix says that the text is a path, so a colon or an equals sign in it has no special meaning.
                Some(path) if path.contains([':', '=', ';', '@']) && !path.starts_with([':', '/', '.']) => {
                    Path::new(".").join(path)
                }
                path => path.unwrap_or(text).into(),
            }),
        }
    }
}

impl From<PathBuf> for Database {
    fn from(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }
}

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

#[cfg(test)]
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
