//! Rows that the program can't read: written by hand while the triggers were away, or before there were any.
//!
//! Where one row is asked for, a session that can't be read has ended, a user is disabled and without roles, a client is unknown;
//! a list passes over such rows. Both say so in the log.

/// A row that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its table.
    pub table: &'static str,
    /// Which row, as the condition of a statement: `id = 7`.
    pub key: String,
    /// The first column that can't be read.
    pub column: String,
}

impl BadRow {
    /// The statement that mends it.
    pub fn mend(&self) -> String {
        let Self { table, key, column } = self;
        let value = match (*table, column.as_str()) {
            ("users", "roles") | ("clients", "scopes" | "audiences" | "redirect_uris") => "'[]'",
            ("users", "claims") => "'{}'",
            ("users", "password_hash")
            | ("clients", "secret_hash" | "former_hash" | "former_until" | "jwks") => "NULL",
            ("users" | "clients", "created_at" | "disabled") => "0",
            ("users", "name") => "'user ' || id",
            ("clients", "name") => "id",
            // A session that is deleted has ended: its user logs in anew. Servers write their rows of `nodes` and `ring` again.
            _ => return format!("DELETE FROM {table} WHERE {key};"),
        };
        format!("UPDATE {table} SET {column} = {value} WHERE {key};")
    }
}

/// Says that rows were passed over: one line, however many there are.
pub(super) fn passed_over(bad: &[BadRow]) {
    let Some(first) = bad.first() else { return };
    tracing::warn!(
        table = first.table,
        rows = bad.len(),
        first = %first.key,
        column = %first.column,
        "rows can't be read and are passed over; `bulla doctor` names each and the statement that mends it"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_has_an_empty_value_is_mended_and_any_other_row_is_deleted() {
        let bad = |table, key: &str, column: &str| BadRow { table, key: key.into(), column: column.into() };
        assert_eq!(bad("users", "id = 7", "roles").mend(), "UPDATE users SET roles = '[]' WHERE id = 7;");
        assert_eq!(
            bad("clients", "id = 'c'", "jwks").mend(),
            "UPDATE clients SET jwks = NULL WHERE id = 'c';"
        );
        assert_eq!(bad("sessions", "sid = 'x'", "transport").mend(), "DELETE FROM sessions WHERE sid = 'x';");
    }
}
