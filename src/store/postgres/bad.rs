//! Reading rows of which some can't be read.

use futures_util::TryStreamExt as _;
use tokio_postgres::Row;

use super::{clients, failure::Failure, identities, nodes, pool::Pool, sessions, users};
use crate::store::{BadRow, StoreError, bad::passed_over, patience::PATIENCE};

/// What can't be read: table and column. `key` is the condition that names the row.
fn bad(failure: Failure, key: &impl Fn() -> String) -> Result<BadRow, Failure> {
    match failure {
        Failure::Unreadable(table, column) => Ok(BadRow { table, key: key(), column }),
        failure => Err(failure),
    }
}

/// A text as a statement writes it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One row; one that can't be read is `None`, said in the log.
pub(super) fn one<T>(read: Result<T, Failure>, key: impl Fn() -> String) -> Result<Option<T>, Failure> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(failure) => {
            passed_over(&[bad(failure, &key)?]);
            Ok(None)
        }
    }
}

/// Several rows; those that can't be read are passed over, said in the log.
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

/// Every row that can't be read. Row by row: there may be millions.
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
    // Its statements have no deadline any more.
    drop(deadpool_postgres::Object::take(client));
    Ok(found?)
}
