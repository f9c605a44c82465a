//! Rows that the program can't read: rows written by hand while the triggers were missing, or before the triggers existed.
//!
//! If a caller asks for such a row by its id, an unreadable session counts as ended, an unreadable user as disabled and without
//! roles, and an unreadable client as unknown. A list skips such rows. Both cases are logged.

/// A row that the program can't read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// The table of the row.
    pub table: &'static str,
    /// The condition of an SQL statement that selects the row: `id = 7`.
    pub key: String,
    /// The first column that can't be read.
    pub column: String,
}

impl UnreadableRow {
    /// Returns the SQL statement that repairs the row.
    pub fn repair_statement(&self) -> String {
        let Self { table, key, column } = self;
        let value = match (*table, column.as_str()) {
            ("users", "roles") | ("clients", "scopes" | "audiences" | "redirect_uris") => "'[]'",
            ("users", "claims") => "'{}'",
            ("users", "password_hash")
            | ("clients", "secret_hash" | "former_hash" | "former_until" | "jwks") => "NULL",
            ("users" | "clients", "created_at" | "disabled") => "0",
            ("users", "name") => "'user ' || id",
            ("clients", "name") => "id",
            // Deleting a session ends it: the user must log in again. Servers write their rows of `nodes` and `ring` again.
            _ => return format!("DELETE FROM {table} WHERE {key};"),
        };
        format!("UPDATE {table} SET {column} = {value} WHERE {key};")
    }
}

/// Logs that a list skipped unreadable rows. Writes one line for all of them.
pub(in crate::store) fn log_skipped(bad: &[UnreadableRow]) {
    let Some(first) = bad.first() else { return };
    tracing::warn!(
        table = first.table,
        rows = bad.len(),
        first = %first.key,
        column = %first.column,
        "rows can't be read and are skipped; `bulla doctor` names each row and the statement that repairs it"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_with_an_empty_value_is_repaired_and_other_rows_are_deleted() {
        let bad =
            |table, key: &str, column: &str| UnreadableRow { table, key: key.into(), column: column.into() };
        assert_eq!(
            bad("users", "id = 7", "roles").repair_statement(),
            "UPDATE users SET roles = '[]' WHERE id = 7;"
        );
        assert_eq!(
            bad("clients", "id = 'c'", "jwks").repair_statement(),
            "UPDATE clients SET jwks = NULL WHERE id = 'c';"
        );
        assert_eq!(
            bad("sessions", "sid = 'x'", "transport").repair_statement(),
            "DELETE FROM sessions WHERE sid = 'x';"
        );
    }
}
