//! Reads rows when some of them can't be read.

use rusqlite::{Connection, Error, Params, Row, Statement, types::ValueRef};

use super::{audit, clients, clock_mark, identities, nodes, nonces, revocations, sessions, users};
use crate::store::{BadRow, StoreError, bad::passed_over};

/// A table with its columns. The first `key` columns identify a row.
#[derive(Clone, Copy)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static str,
    pub(super) key: usize,
}

impl Table {
    /// Describes the unreadable row that caused `error`.
    fn bad(self, row: &Row<'_>, error: &Error) -> BadRow {
        let names: Vec<&str> = self.columns.split(',').map(str::trim).collect();
        let at = match error {
            Error::InvalidColumnType(at, ..)
            | Error::FromSqlConversionFailure(at, ..)
            | Error::IntegralValueOutOfRange(at, _)
            | Error::Utf8Error(at, _) => *at,
            _ => 0,
        };
        let value = |at| row.get_ref(at).map_or_else(|_| "NULL".to_owned(), literal);
        let key = names.iter().take(self.key).enumerate().map(|(at, name)| match value(at) {
            null if null == "NULL" => format!("{name} IS NULL"),
            value => format!("{name} = {value}"),
        });
        let column = names.get(at).copied().unwrap_or_default();
        BadRow { table: self.name, key: key.collect::<Vec<_>>().join(" AND "), column: column.to_owned() }
    }

    /// Reads one row. A row that can't be read gives `None` and is logged.
    pub(super) fn one<T>(
        self,
        row: &Row<'_>,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Option<T> {
        match read(row) {
            Ok(read) => Some(read),
            Err(error) => {
                passed_over(&[self.bad(row, &error)]);
                None
            }
        }
    }

    /// Reads the rows of a statement until `limit` rows could be read. Rows that can't be read are skipped and logged. The
    /// statement itself has no limit: a page with only unreadable rows would look like the end of the list.
    pub(super) fn some<T>(
        self,
        statement: &mut Statement<'_>,
        values: impl Params,
        limit: u32,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut rows = statement.query(values)?;
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        while good.len() < limit as usize
            && let Some(row) = rows.next()?
        {
            match read(row) {
                Ok(read) => good.push(read),
                Err(error) => bad.push(self.bad(row, &error)),
            }
        }
        passed_over(&bad);
        Ok(good)
    }

    fn look<T>(
        self,
        connection: &Connection,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        found: &mut Vec<BadRow>,
    ) -> Result<(), StoreError> {
        let mut statement = connection.prepare(&format!("SELECT {} FROM {}", self.columns, self.name))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Err(error) = read(row) {
                found.push(self.bad(row, &error));
            }
        }
        Ok(())
    }
}

/// Returns a value as an SQL literal.
fn literal(value: ValueRef<'_>) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match value {
        ValueRef::Null => "NULL".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Blob(bytes) => format!("x'{}'", hex(bytes)),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', "''")),
            _ => format!("CAST(x'{}' AS TEXT)", hex(text)),
        },
    }
}

/// Returns every row that can't be read.
pub(super) fn rows(connection: &Connection) -> Result<Vec<BadRow>, StoreError> {
    let mut found = Vec::new();
    users::TABLE.look(connection, users::from_row, &mut found)?;
    identities::TABLE.look(connection, identities::from_row, &mut found)?;
    sessions::TABLE.look(connection, sessions::from_row, &mut found)?;
    clients::TABLE.look(connection, clients::from_row, &mut found)?;
    revocations::TABLE.look(connection, revocations::from_row, &mut found)?;
    nonces::TABLE.look(connection, |row| row.get::<_, i64>(1), &mut found)?;
    audit::TABLE.look(connection, audit::from_row, &mut found)?;
    nodes::TABLE.look(connection, nodes::from_row, &mut found)?;
    nodes::RING.look(
        connection,
        |row| Ok((row.get::<_, u64>(1)?, row.get::<_, [u8; 32]>(2)?)),
        &mut found,
    )?;
    clock_mark::TABLE.look(connection, clock_mark::from_row, &mut found)?;
    Ok(found)
}
