//! The triggers, and the unique index that lets a conflict clause see a user's name: whether they are what the migrations
//! made, and making them so again.

use std::sync::OnceLock;

use rusqlite::{Connection, OptionalExtension as _};

use super::open;
use crate::store::StoreError;

/// A trigger or index: its kind, its name, and the statement that makes it, as SQLite keeps it.
struct Guard {
    kind: String,
    name: String,
    sql: String,
}

const MADE: &str =
    "SELECT type, name, sql FROM sqlite_master WHERE type = 'trigger' OR sql LIKE 'CREATE UNIQUE INDEX%'
    ORDER BY name";

/// What the migrations make: they are run over an empty database in memory, once.
fn made() -> Result<&'static [Guard], StoreError> {
    static MADE_ONCE: OnceLock<Vec<Guard>> = OnceLock::new();
    if let Some(made) = MADE_ONCE.get() {
        return Ok(made);
    }
    let mut memory = Connection::open_in_memory()?;
    open::migrate(&mut memory).map_err(|error| StoreError::Schema(error.to_string()))?;
    let mut statement = memory.prepare(MADE)?;
    let guard =
        |row: &rusqlite::Row<'_>| Ok(Guard { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? });
    let made = statement.query_map([], guard)?.collect::<Result<_, _>>()?;
    Ok(MADE_ONCE.get_or_init(|| made))
}

/// The names of those that are missing or changed. Of a schema that a newer program has brought up to date only the names are
/// known.
pub(super) fn missing(connection: &Connection) -> Result<Vec<String>, StoreError> {
    Ok(wrong(connection)?.into_iter().map(|guard| guard.name.clone()).collect())
}

fn wrong(connection: &Connection) -> Result<Vec<&'static Guard>, StoreError> {
    let newer = open::schema(connection)? > open::known_schema();
    let mut kept = connection.prepare_cached("SELECT sql FROM sqlite_master WHERE type = ? AND name = ?")?;
    let mut wrong = Vec::new();
    for guard in made()? {
        let sql: Option<String> = kept.query_row([&guard.kind, &guard.name], |row| row.get(0)).optional()?;
        if sql.is_none_or(|sql| !newer && sql != guard.sql) {
            wrong.push(guard);
        }
    }
    Ok(wrong)
}

/// Makes those that are missing or changed again; returns their names.
pub(super) fn restore(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let wrong = wrong(connection)?;
    for Guard { kind, name, sql } in &wrong {
        connection.execute_batch(&format!("DROP {kind} IF EXISTS \"{name}\"; {sql};"))?;
    }
    Ok(wrong.into_iter().map(|guard| guard.name.clone()).collect())
}
