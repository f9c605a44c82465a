//! Which database: chosen once, at start.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use super::{
    Found, Store, StoreError,
    postgres::{PostgresStore, PostgresUrl},
    sqlite::SqliteStore,
};
use crate::clock::Clock;

/// Where an installation keeps its data. `Debug` and `Display` show no password.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file: one machine.
    Sqlite(PathBuf),
    /// A server that any number of nodes share.
    Postgres(PostgresUrl),
}

/// A text that names no database. Doesn't repeat it: a password may stand in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadDatabase(pub String);

impl Database {
    /// Opens it; makes what is missing (the file, the tables) and brings the schema up to date.
    pub async fn open(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => Arc::new(SqliteStore::open(path, clock)?),
            Self::Postgres(url) => Arc::new(PostgresStore::open(url).await?),
        })
    }

    /// Whether there is an installation's database already.
    pub async fn exists(&self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(path) => SqliteStore::exists(path),
            Self::Postgres(url) => PostgresStore::exists(url).await,
        }
    }

    /// What it is and how it is, by reading alone: nothing is made, migrated or written.
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
            Self::Sqlite(path) if path.as_os_str().is_empty() => {
                return Err(BadDatabase("must be a path, or postgres://user@host/name".into()));
            }
            Self::Sqlite(_) if text.contains("://") => {
                return Err(BadDatabase(
                    "must be the path of a SQLite file, or postgres://user@host/name".into(),
                ));
            }
            Self::Sqlite(_) => {}
        }
        Ok(database)
    }
}

impl From<&str> for Database {
    /// A URL of PostgreSQL, checked when it is opened, or a path, with `sqlite:` before it or not.
    fn from(text: &str) -> Self {
        match text.starts_with("postgres://") || text.starts_with("postgresql://") {
            true => Self::Postgres(PostgresUrl::new(text)),
            false => Self::Sqlite(text.strip_prefix("sqlite:").unwrap_or(text).into()),
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
