//! Reads rows when some of them can't be read.

use tokio_postgres::Row;

use crate::store::{UnreadableRow, postgres::failure::Failure, rows::log_skipped};

/// Converts a failure to the table, column and key of the unreadable row. `key` gives the condition that selects the row.
pub(in crate::store::postgres) fn describe(
    failure: Failure,
    key: &impl Fn() -> String,
) -> Result<UnreadableRow, Failure> {
    match failure {
        Failure::Unreadable(table, column) => Ok(UnreadableRow { table, key: key(), column }),
        failure => Err(failure),
    }
}

/// Returns a text as an SQL literal.
pub(in crate::store::postgres) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns a row that was read. A row that can't be read gives `None` and is logged.
pub(in crate::store::postgres) fn read_one<T>(
    read: Result<T, Failure>,
    key: impl Fn() -> String,
) -> Result<Option<T>, Failure> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(failure) => {
            log_skipped(&[describe(failure, &key)?]);
            Ok(None)
        }
    }
}

/// Reads several rows. Rows that can't be read are skipped and logged.
pub(in crate::store::postgres) fn read_several<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, Failure>,
    key: impl Fn(&Row) -> String,
) -> Result<Vec<T>, Failure> {
    let (mut good, mut found) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match read(row) {
            Ok(read) => good.push(read),
            Err(failure) => found.push(describe(failure, &|| key(row))?),
        }
    }
    log_skipped(&found);
    Ok(good)
}
