//! The rows of a transfer between two stores, as plain values, in the order in which they travel.

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::StoreError;

/// A table that moves. The table `nodes` does not move: each server reports again to the new database.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The columns that move, in the order of a row's values.
    pub(super) columns: &'static str,
    /// The order of the rows. The same rows in the same order give the same fingerprint.
    pub(super) order: &'static str,
    /// The column whose numbers are never used twice.
    pub(super) numbers: Option<&'static str>,
    /// The column with the expiry of a row. Expired rows are not moved.
    pub(super) until: Option<&'static str>,
}

const fn table(name: &'static str, columns: &'static str, order: &'static str) -> Table {
    Table { name, columns, order, numbers: None, until: None }
}

/// The tables, in the order in which they move: users come before the rows that refer to them. The column `n` of `sessions` only
/// gives the order of its rows; the new store assigns new numbers in the same order.
pub(super) const TABLES: [Table; 7] = [
    Table {
        numbers: Some("id"),
        ..table("users", "id, name, folded, password_hash, roles, claims, disabled, created_at", "id")
    },
    table("identities", "issuer, subject, user_id, linked_at", "issuer, subject"),
    table(
        "sessions",
        "sid, user_id, secret_hash, generation, rotated_at, pardoned_gen, pardoned_at, created_at, idle_expires_at,
         expires_at, transport, user_agent, ip, client_id, scope, auth_time",
        "n",
    ),
    table(
        "clients",
        "id, name, secret_hash, former_hash, former_until, jwks, scopes, audiences, redirect_uris, disabled, created_at,
         public",
        "id",
    ),
    Table {
        numbers: Some("seq"),
        until: Some("expires_at"),
        ..table("revocations", "seq, target, revoked_at, expires_at, at_end", "seq")
    },
    Table { until: Some("expires_at"), ..table("used", "hash, expires_at", "hash") },
    Table { numbers: Some("seq"), ..table("audit", "seq, at, event, actor, subject, detail", "seq") },
];

/// A column's value, independent of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The values of [`Table::columns`].
pub(super) type Row = Vec<Value>;

/// The highest ring generation that a database has recorded, with that ring's fingerprint.
pub(super) type RingMark = (u64, [u8; 32]);

/// A message from the old store: for each table its rows in batches, then `End`. The mark of the ring comes last.
#[derive(Debug)]
pub(super) enum Part {
    Rows(Vec<Row>),
    /// The highest number that was ever used in the column [`Table::numbers`].
    End(i64),
    Ring(Option<RingMark>),
}

/// The old store.
#[derive(Debug)]
pub(super) struct Source {
    parts: mpsc::Receiver<Result<Part, StoreError>>,
    digest: Sha256,
}

/// The next part of a table.
pub(super) enum Next {
    Rows(Vec<Row>),
    End(i64),
}

impl Source {
    /// A source of the parts that arrive from the old store.
    pub(super) fn new(parts: mpsc::Receiver<Result<Part, StoreError>>) -> Self {
        Self { parts, digest: Sha256::new() }
    }

    async fn part(&mut self) -> Result<Part, StoreError> {
        let ended = || StoreError::Unavailable("the database could not be read completely".into());
        self.parts.recv().await.ok_or_else(ended)?
    }

    /// Returns the next batch of rows of a table, or its end.
    pub(super) async fn next(&mut self, table: &Table) -> Result<Next, StoreError> {
        match self.part().await? {
            Part::Rows(rows) => {
                // Tables with an expiry stay out of the fingerprint: rows that expire between two moves must not make the two
                // moves differ.
                if table.until.is_none() {
                    rows.iter().flatten().for_each(|value| value.add_to(&mut self.digest));
                }
                Ok(Next::Rows(rows))
            }
            Part::End(highest) => Ok(Next::End(highest)),
            Part::Ring(_) => Err(StoreError::Unavailable(format!("table {} is missing", table.name))),
        }
    }

    /// Called after all tables. Returns the mark of the ring and the fingerprint of all rows read.
    pub(super) async fn end(mut self) -> Result<(Option<RingMark>, String), StoreError> {
        let Part::Ring(mark) = self.part().await? else {
            return Err(StoreError::Unavailable("the database has more tables than expected".into()));
        };
        Ok((mark, self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

impl Value {
    /// Adds the value to the digest so that different rows give different input.
    fn add_to(&self, digest: &mut Sha256) {
        let number;
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Null => (0, &[]),
            Self::Integer(integer) => {
                number = integer.to_be_bytes();
                (1, &number)
            }
            Self::Text(text) => (2, text.as_bytes()),
            Self::Bytes(bytes) => (3, bytes),
        };
        digest.update([kind]);
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails for a new table or column until the developer decides whether it moves or stays.
    #[test]
    fn every_table_and_column_moves_or_is_known_to_stay() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("bulla.db");
        drop(
            crate::store::sqlite::SqliteStore::open(&path, std::sync::Arc::new(crate::clock::SystemClock))
                .unwrap(),
        );
        let schema = rusqlite::Connection::open(&path).unwrap();
        let all =
            "SELECT t.name || '.' || c.name FROM pragma_table_list() AS t, pragma_table_info(t.name) AS c
            WHERE t.type = 'table'";
        let mut all = schema.prepare(all).unwrap();
        let all = all.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
        let stay = ["sqlite_", "refinery_", "nodes.", "ring.", "clock.", "replaced.", "sessions.n"];
        let stays = |name: &String| stay.iter().any(|stay| name.starts_with(stay));
        let mut found: Vec<String> = all.filter(|name| !stays(name)).collect();
        let columns = |table: &Table| {
            table
                .columns
                .split(',')
                .map(|column| format!("{}.{}", table.name, column.trim()))
                .collect::<Vec<_>>()
        };
        let mut known: Vec<String> = TABLES.iter().flat_map(columns).collect();
        found.sort();
        known.sort();
        assert_eq!(found, known);
    }

    #[test]
    fn rows_that_differ_have_another_fingerprint() {
        let digest = |row: &[Value]| {
            let mut digest = Sha256::new();
            row.iter().for_each(|value| value.add_to(&mut digest));
            digest.finalize()
        };
        let text = |text: &str| Value::Text(text.into());
        let rows = [
            vec![text("ab"), text("c")],
            vec![text("a"), text("bc")],
            vec![text("abc")],
            vec![Value::Bytes(b"abc".into())],
            vec![Value::Null],
            vec![Value::Integer(0)],
            vec![],
        ];
        for (at, row) in rows.iter().enumerate() {
            assert!(rows[..at].iter().all(|other| digest(other) != digest(row)), "{row:?}");
        }
    }
}
