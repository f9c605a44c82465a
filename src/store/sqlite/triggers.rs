//! Checks that the triggers and the unique index on user names are the ones that the migrations created, and creates them again.
//! A conflict clause needs this index to detect a taken name.

use std::sync::OnceLock;

use rusqlite::{Connection, OptionalExtension as _};

use super::{failure::Failure, open};
use crate::store::StoreError;

/// A trigger or index: its kind, its name, and the statement that creates it, as SQLite stores it.
struct Definition {
    kind: String,
    name: String,
    sql: String,
}

const MADE: &str =
    "SELECT type, name, sql FROM sqlite_master WHERE type = 'trigger' OR sql LIKE 'CREATE UNIQUE INDEX%'
    ORDER BY name";

/// Returns the triggers and indexes that the migrations create. The migrations are run once on an empty database in memory.
fn from_migrations() -> Result<&'static [Definition], Failure> {
    static MADE_ONCE: OnceLock<Vec<Definition>> = OnceLock::new();
    if let Some(made) = MADE_ONCE.get() {
        return Ok(made);
    }
    let mut memory = Connection::open_in_memory()?;
    open::migrate(&mut memory).map_err(|error| StoreError::Schema(error.to_string()))?;
    let mut statement = memory.prepare(MADE)?;
    let definition =
        |row: &rusqlite::Row<'_>| Ok(Definition { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? });
    let made = statement.query_map([], definition)?.collect::<Result<_, _>>()?;
    Ok(MADE_ONCE.get_or_init(|| made))
}

/// Returns the names of the triggers and indexes that are missing or changed. If a newer program has migrated the schema, only
/// the names are checked.
pub(super) fn missing(connection: &Connection) -> Result<Vec<String>, Failure> {
    Ok(wrong(connection)?.into_iter().map(|definition| definition.name.clone()).collect())
}

fn wrong(connection: &Connection) -> Result<Vec<&'static Definition>, Failure> {
    let newer = open::schema(connection)? > open::known_schema();
    let mut kept = connection.prepare_cached("SELECT sql FROM sqlite_master WHERE type = ? AND name = ?")?;
    let mut wrong = Vec::new();
    for definition in from_migrations()? {
        let sql: Option<String> =
            kept.query_row([&definition.kind, &definition.name], |row| row.get(0)).optional()?;
        if sql.is_none_or(|sql| !newer && sql != definition.sql) {
            wrong.push(definition);
        }
    }
    Ok(wrong)
}

/// Creates the missing or changed triggers and indexes again; returns their names.
pub(super) fn restore(connection: &Connection) -> Result<Vec<String>, Failure> {
    let wrong = wrong(connection)?;
    for Definition { kind, name, sql } in &wrong {
        connection.execute_batch(&format!("DROP {kind} IF EXISTS \"{name}\"; {sql};"))?;
    }
    Ok(wrong.into_iter().map(|definition| definition.name.clone()).collect())
}
