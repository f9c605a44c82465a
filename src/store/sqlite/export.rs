//! Exports all data of a database for a move to another store.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, types::ValueRef};

use super::{failure::Failure, open, rows::nodes::ring_mark};
use crate::{
    clock::Timestamp,
    store::{
        StoreError,
        transfer_stream::{Part, Row, TABLES, Table, Value},
    },
};

/// How many rows are passed on at a time.
const ROWS: usize = 500;

/// Reads one snapshot of a database. Its schema must be up to date.
pub(in crate::store) fn export(
    path: &Path,
    now: Timestamp,
    take: &mut dyn FnMut(Part) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    Ok(tables(&open::connect(path)?, now, take)?)
}

fn tables(
    connection: &Connection,
    now: Timestamp,
    take: &mut dyn FnMut(Part) -> Result<(), StoreError>,
) -> Result<(), Failure> {
    connection.execute_batch("BEGIN")?;
    for table in &TABLES {
        rows(connection, table, now, take)?;
        let given_out = "SELECT seq FROM sqlite_sequence WHERE name = ?";
        let highest = connection.query_row(given_out, [table.name], |row| row.get(0)).optional()?;
        take(Part::End(highest.unwrap_or(0)))?;
    }
    Ok(take(Part::Ring(ring_mark(connection)?))?)
}

fn rows(
    connection: &Connection,
    table: &Table,
    now: Timestamp,
    take: &mut dyn FnMut(Part) -> Result<(), StoreError>,
) -> Result<(), Failure> {
    let Table { name, columns, order, until, .. } = table;
    let matter = until.map(|until| format!("WHERE {until} > {}", now.millis())).unwrap_or_default();
    let mut statement =
        connection.prepare(&format!("SELECT {columns} FROM {name} {matter} ORDER BY {order}"))?;
    let width = statement.column_count();
    let mut found = statement.query([])?;
    let mut some = Vec::with_capacity(ROWS);
    while let Some(row) = found.next()? {
        let values = (0..width).map(|at| {
            let unreadable = || {
                let column = columns.split(',').nth(at).unwrap_or_default().trim();
                StoreError::Unavailable(format!(
                    "table {name}: a row has a value in column {column} that can't be \
                    read; `bulla doctor` names the row and the statement that repairs it"
                ))
            };
            Ok(value(row.get_ref(at)?).ok_or_else(unreadable)?)
        });
        some.push(values.collect::<Result<Row, Failure>>()?);
        if some.len() == ROWS {
            take(Part::Rows(std::mem::take(&mut some)))?;
        }
    }
    if some.is_empty() { Ok(()) } else { Ok(take(Part::Rows(some))?) }
}

/// Converts a value. `None` for a fraction or a text that is not UTF-8, which no column may contain.
fn value(value: ValueRef<'_>) -> Option<Value> {
    Some(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Text(text) => Value::Text(std::str::from_utf8(text).ok()?.to_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return None,
    })
}
