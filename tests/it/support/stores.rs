//! Provides the database of a test, so that the same test runs over every store.

use std::path::PathBuf;

use bulla::internals::store::Database;

use super::cluster::{self, Created};

/// The kinds of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
    /// PostgreSQL where every transaction is SERIALIZABLE unless it sets another level.
    Serializable,
}

tokio::task_local! {
    /// The store that the current test uses.
    static KIND: Kind;
}

/// The store that the current test uses; SQLite by default.
pub fn kind() -> Kind {
    KIND.try_with(|kind| *kind).unwrap_or(Kind::Sqlite)
}

/// Runs a test over a store if that store is available.
pub async fn over(kind: Kind, test: impl Future<Output = ()>) {
    if kind == Kind::Sqlite || cluster::shared().is_some() {
        // Boxed, because the futures are large and the stack of a test's thread is small.
        KIND.scope(kind, Box::pin(test)).await;
    }
}

/// Makes a test for each store of each function; with `serializable;` also for a PostgreSQL with that level.
macro_rules! every_store {
    (serializable; $($name:ident),* $(,)?) => {
        $(mod $name {
            $crate::support::stores::every_store!(@test on_sqlite, Sqlite, $name);
            $crate::support::stores::every_store!(@test on_postgres, Postgres, $name);
            $crate::support::stores::every_store!(@test on_serializable_postgres, Serializable, $name);
        })*
    };
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            $crate::support::stores::every_store!(@test on_sqlite, Sqlite, $name);
            $crate::support::stores::every_store!(@test on_postgres, Postgres, $name);
        })*
    };
    (@test $test:ident, $kind:ident, $name:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $crate::support::stores::over($crate::support::stores::Kind::$kind, super::$name()).await;
        }
    };
}
pub(crate) use every_store;

/// The database of one test.
pub enum TestDatabase {
    Sqlite(tempfile::TempDir),
    Postgres(Created),
}

impl TestDatabase {
    pub fn new() -> Self {
        let kind = kind();
        if kind == Kind::Sqlite {
            return Self::Sqlite(tempfile::tempdir().unwrap());
        }
        let created = cluster::shared().expect("asked for before").create();
        if kind == Kind::Serializable {
            let level = "SET default_transaction_isolation = 'serializable'";
            let shell = cluster::Shell::connect(&created.url).unwrap();
            shell.run(&format!("ALTER DATABASE {} {level}", created.name)).unwrap();
        }
        Self::Postgres(created)
    }

    pub fn database(&self) -> Database {
        match self {
            Self::Sqlite(_) => self.file().into(),
            Self::Postgres(created) => created.url.as_str().into(),
        }
    }

    /// The file of a SQLite database.
    pub fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(folder) => folder.path().join("bulla.db"),
            Self::Postgres(_) => panic!("this test is about SQLite's file"),
        }
    }

    /// A connection like that of a database shell.
    pub fn shell(&self) -> Shell {
        match self {
            Self::Sqlite(_) => {
                let shell = rusqlite::Connection::open(self.file()).unwrap();
                shell.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
                Shell::Sqlite(shell)
            }
            Self::Postgres(created) => Shell::Postgres(cluster::Shell::connect(&created.url).unwrap()),
        }
    }
}

/// A database shell.
pub enum Shell {
    Sqlite(rusqlite::Connection),
    Postgres(cluster::Shell),
}

impl Shell {
    /// The rows of one statement, or of the last of several.
    pub fn try_run(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        match self {
            Self::Postgres(shell) => shell.run(sql),
            Self::Sqlite(shell) => sqlite(shell, sql).map_err(|error| error.to_string()),
        }
    }

    pub fn run(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column of the first row.
    pub fn value(&self, sql: &str) -> String {
        self.run(sql)[0][0].clone()
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.value(sql).parse().unwrap()
    }
}

fn sqlite(shell: &rusqlite::Connection, sql: &str) -> rusqlite::Result<Vec<Vec<String>>> {
    use rusqlite::{fallible_iterator::FallibleIterator as _, types::Value};
    let mut all = Vec::new();
    let mut statements = rusqlite::Batch::new(shell, sql);
    while let Some(mut statement) = statements.next()? {
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text = |at| match row.get(at).unwrap() {
                Value::Null => String::new(),
                Value::Integer(number) => number.to_string(),
                Value::Real(number) => number.to_string(),
                Value::Text(text) => text,
                Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            };
            all.push((0..columns).map(text).collect());
        }
    }
    Ok(all)
}
