//! Finds the rows that can't be read.

use futures_util::TryStreamExt as _;
use tokio_postgres::Row;

use super::{
    failure::Failure,
    pool::Pool,
    rows::{clients, identities, ring, sessions, unreadable::describe, users},
};
use crate::store::{StoreError, UnreadableRow};

/// Returns every row that can't be read. The rows are streamed one by one, because there may be millions.
pub(super) async fn find(pool: &Pool) -> Result<Vec<UnreadableRow>, StoreError> {
    let client = pool.client(pool.timed_query().deadline()).await?;
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
            (ring::all_rings(), ring::check_ring, ring::key_ring),
        ] {
            let mut rows = std::pin::pin!(client.query_raw(&sql, std::iter::empty::<i32>()).await?);
            while let Some(row) = rows.try_next().await? {
                if let Err(failure) = read(&row) {
                    found.push(describe(failure, &|| key(&row))?);
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
