//! Reads rows when some of them can't be read.

use rusqlite::{Connection, Error, Params, Row, Statement, types::ValueRef};

use crate::store::{UnreadableRow, rows::log_skipped, sqlite::failure::Failure};

/// A table with its columns. The first `key` columns identify a row.
#[derive(Clone, Copy)]
pub(in crate::store::sqlite) struct Table {
    pub(in crate::store::sqlite) name: &'static str,
    pub(in crate::store::sqlite) columns: &'static str,
    pub(in crate::store::sqlite) key: usize,
}

impl Table {
    /// Describes the unreadable row that caused `error`.
    fn describe(self, row: &Row<'_>, error: &Error) -> UnreadableRow {
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
        UnreadableRow {
            table: self.name,
            key: key.collect::<Vec<_>>().join(" AND "),
            column: column.to_owned(),
        }
    }

    /// Reads one row. A row that can't be read gives `None` and is logged.
    pub(in crate::store::sqlite) fn read_one<T>(
        self,
        row: &Row<'_>,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Option<T> {
        match read(row) {
            Ok(read) => Some(read),
            Err(error) => {
                log_skipped(&[self.describe(row, &error)]);
                None
            }
        }
    }

    /// Reads the rows of a statement as [`read_counted`](Self::read_counted) does.
    pub(in crate::store::sqlite) fn read_several<T>(
        self,
        statement: &mut Statement<'_>,
        values: impl Params,
        limit: u32,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Failure> {
        Ok(self.read_counted(statement, values, limit, read)?.0)
    }

    /// Reads the rows of a statement until `limit` rows could be read, and counts the others. Rows that can't be read are skipped
    /// and logged. The statement itself has no limit: a page with only unreadable rows would look like the end of the list.
    pub(in crate::store::sqlite) fn read_counted<T>(
        self,
        statement: &mut Statement<'_>,
        values: impl Params,
        limit: u32,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<(Vec<T>, usize), Failure> {
        let mut rows = statement.query(values)?;
        let (mut good, mut unreadable) = (Vec::new(), Vec::new());
        while good.len() < limit as usize
            && let Some(row) = rows.next()?
        {
            match read(row) {
                Ok(read) => good.push(read),
                Err(error) => unreadable.push(self.describe(row, &error)),
            }
        }
        log_skipped(&unreadable);
        Ok((good, unreadable.len()))
    }

    /// Finds the rows of the table that can't be read.
    pub(in crate::store::sqlite) fn find_unreadable<T>(
        self,
        connection: &Connection,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        found: &mut Vec<UnreadableRow>,
    ) -> Result<(), Failure> {
        let mut statement = connection.prepare(&format!("SELECT {} FROM {}", self.columns, self.name))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Err(error) = read(row) {
                found.push(self.describe(row, &error));
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
