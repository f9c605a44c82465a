//! Reads rows when some of them can't be read.

use futures_util::TryStreamExt as _;
use tokio_postgres::Row;

use super::{clients, failure::Failure, identities, nodes, pool::Pool, sessions, users};
use crate::store::{BadRow, StoreError, bad::passed_over, patience::PATIENCE};

/// Converts a failure to the table, column and key of the unreadable row. `key` gives the condition that selects the row.
fn bad(failure: Failure, key: &impl Fn() -> String) -> Result<BadRow, Failure> {
    match failure {
        Failure::Unreadable(table, column) => Ok(BadRow { table, key: key(), column }),
        failure => Err(failure),
    }
}

/// Returns a text as an SQL literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns a row that was read. A row that can't be read gives `None` and is logged.
pub(super) fn one<T>(read: Result<T, Failure>, key: impl Fn() -> String) -> Result<Option<T>, Failure> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(failure) => {
            passed_over(&[bad(failure, &key)?]);
            Ok(None)
        }
    }
}

/// Reads several rows. Rows that can't be read are skipped and logged.
pub(super) fn some<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, Failure>,
    key: impl Fn(&Row) -> String,
) -> Result<Vec<T>, Failure> {
    let (mut good, mut found) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match read(row) {
            Ok(read) => good.push(read),
            Err(failure) => found.push(bad(failure, &|| key(row))?),
        }
    }
    passed_over(&found);
    Ok(good)
}

/// Returns every row that can't be read. The rows are streamed one by one, because there may be millions.
pub(super) async fn rows(pool: &Pool) -> Result<Vec<BadRow>, StoreError> {
    let client = pool.client(tokio::time::Instant::now() + PATIENCE).await?;
    let all = async {
        let mut found = Vec::new();
        client.batch_execute("SET statement_timeout = 0").await?;
        for (sql, read, key) in [
            (
                users::all_rows(),
                users::check as fn(&Row) -> Result<(), Failure>,
                users::key as fn(&Row) -> String,
            ),
            (sessions::all_rows(), sessions::check, sessions::key),
            (clients::all_rows(), clients::check, clients::key),
            (identities::all_rows(), identities::check, identities::key),
            (nodes::all_rings(), nodes::check_ring, nodes::key_ring),
        ] {
            let mut rows = std::pin::pin!(client.query_raw(&sql, std::iter::empty::<i32>()).await?);
            while let Some(row) = rows.try_next().await? {
                if let Err(failure) = read(&row) {
                    found.push(bad(failure, &|| key(&row))?);
                }
            }
        }
        Ok::<_, Failure>(found)
    };
    let found = all.await;
    // Closes the connection instead of returning it to the pool, because its statements have no timeout any more.
    drop(deadpool_postgres::Object::take(client));
    Ok(found?)
}
