//! Checks that the triggers and their functions are the ones that the migrations created, and creates them again.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use super::{connect::Connector, failure::Failure, migrate, pool::Pool};
use crate::store::StoreError;

/// The trigger that wakes the nodes. It is not checked, because the nodes also read without it.
const NOTIFY_TRIGGER: &str = "revoked";
/// The function that returns the time. It is not checked, because a wrong time is detected by its values
/// ([`crate::store::clock_leap`]).
const CLOCK_FUNCTION: &str = "bulla_now";

/// The result of the migrations: the statement that creates each function and each trigger, by name.
#[derive(Debug, Default)]
struct Definitions {
    functions: BTreeMap<String, String>,
    triggers: BTreeMap<String, String>,
}

impl Definitions {
    /// Collects the statements in the order of the migrations; a later statement replaces an earlier one.
    fn of<'a>(migrations: impl IntoIterator<Item = &'a str>) -> Self {
        let mut definitions = Self::default();
        for statement in migrations.into_iter().flat_map(statements) {
            let words: Vec<&str> = statement.split_whitespace().take(5).collect();
            let function = |text: &str| text.split('(').next().unwrap_or_default().to_owned();
            match words[..] {
                ["CREATE", "OR", "REPLACE", "FUNCTION", name] | ["CREATE", "FUNCTION", name, ..] => {
                    definitions.functions.insert(function(name), statement);
                }
                ["CREATE", "CONSTRAINT", "TRIGGER", name, ..] | ["CREATE", "TRIGGER", name, ..] => {
                    definitions.triggers.insert(name.to_owned(), statement);
                }
                ["DROP", "FUNCTION", name, ..] => drop(definitions.functions.remove(&function(name))),
                ["DROP", "TRIGGER", name, ..] => drop(definitions.triggers.remove(name)),
                _ => {}
            }
        }
        definitions.functions.remove(CLOCK_FUNCTION);
        definitions
    }

    fn from_migrations() -> Self {
        Self::of(migrate::migrations().iter().map(String::as_str))
    }

    /// Returns the triggers that run a function, or the function's name if no trigger runs it.
    fn used_by(&self, function: &str) -> Vec<String> {
        let call = format!("EXECUTE FUNCTION {function}()");
        let triggers = self.triggers.iter().filter(|(_, sql)| sql.ends_with(&call));
        let names: Vec<String> = triggers.map(|(name, _)| name.clone()).collect();
        if names.is_empty() { vec![function.to_owned()] } else { names }
    }
}

/// Splits a script into statements without comments. Semicolons in both kinds of quotes and in `$$` bodies do not end a
/// statement.
fn statements(script: &str) -> Vec<String> {
    let (mut found, mut statement, mut rest) = (Vec::new(), String::new(), script);
    while let Some(next) = rest.chars().next() {
        let end_of = |open: usize, close: &str| {
            rest[open..].find(close).map_or(rest.len(), |at| open + at + close.len())
        };
        let taken = match next {
            '-' if rest.starts_with("--") => {
                rest = &rest[end_of(2, "\n")..];
                continue;
            }
            ';' => {
                found.push(std::mem::take(&mut statement).trim().to_owned());
                rest = &rest[1..];
                continue;
            }
            '$' if rest.starts_with("$$") => end_of(2, "$$"),
            '\'' => end_of(1, "'"),
            '"' => end_of(1, "\""),
            other => other.len_utf8(),
        };
        statement.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    found
}

fn body(function: &str) -> &str {
    function.split("$$").nth(1).unwrap_or_default()
}

/// Removes the differences between the server's text of a trigger and ours: whitespace, parentheses and case.
fn plain(trigger: &str) -> String {
    trigger
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')'))
        .flat_map(char::to_lowercase)
        .collect()
}

const TRIGGERS: &str = "SELECT tgname::text, pg_get_triggerdef(t.oid, true),
      tgenabled = 'A' OR tgenabled = 'O' AND current_setting('session_replication_role') <> 'replica'
    FROM pg_trigger AS t WHERE tgname = ANY($1) AND NOT tgisinternal AND pg_table_is_visible(tgrelid)";
const FUNCTIONS: &str = "SELECT proname::text, prosrc, prosecdef,
      EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search\\_path=%')
    FROM pg_proc WHERE proname = ANY($1) AND pg_function_is_visible(oid)";

/// Returns the names of triggers that are missing or disabled, or whose text or function has changed. Returns all of them if this
/// role's sessions run as a replica, because triggers do not fire then. If a newer program has migrated the schema, only the
/// names are checked.
pub(super) async fn missing(pool: &Pool) -> Result<Vec<String>, StoreError> {
    let mut definitions = Definitions::from_migrations();
    definitions.triggers.remove(NOTIFY_TRIGGER);
    let newer = migrate::is_newer(pool).await?;
    let names: Vec<&String> = definitions.triggers.keys().collect();
    let triggers = pool.rows(TRIGGERS, &[&names]).await?;
    let mut wrong = wrong_triggers(&definitions, &triggers, newer)?;
    if !newer {
        let names: Vec<&String> = definitions.functions.keys().collect();
        let functions = pool.rows(FUNCTIONS, &[&names]).await?;
        wrong.extend(wrong_functions(&definitions, &functions)?);
    }
    wrong.retain(|name| name != NOTIFY_TRIGGER);
    wrong.sort();
    wrong.dedup();
    Ok(wrong)
}

fn wrong_triggers(definitions: &Definitions, rows: &[Row], newer: bool) -> Result<Vec<String>, Failure> {
    let mut right = Vec::new();
    for row in rows {
        let (name, definition, enabled): (String, String, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let same = definitions.triggers.get(&name).is_some_and(|made| plain(made) == plain(&definition));
        if enabled && (same || newer) {
            right.push(name);
        }
    }
    Ok(definitions.triggers.keys().filter(|name| !right.contains(name)).cloned().collect())
}

fn wrong_functions(definitions: &Definitions, rows: &[Row]) -> Result<Vec<String>, Failure> {
    let mut right = Vec::new();
    for row in rows {
        let (name, source): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (as_owner, own_path): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
        let same = definitions.functions.get(&name).is_some_and(|made| {
            let definer = made.contains("SECURITY DEFINER");
            body(made) == source && as_owner == definer && (own_path || !definer)
        });
        if same {
            right.push(name);
        }
    }
    let wrong = definitions.functions.keys().filter(|name| !right.contains(name));
    Ok(wrong.flat_map(|name| definitions.used_by(name)).collect())
}

/// Sets the search path of the functions. They run with the rights of their owner, and must use the tables of this schema whatever
/// the caller's search path is.
const OWN_PATH: &str = r"DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN
    SELECT p.oid FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
    WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'bulla\_%' AND t.typname = 'trigger'
  LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', f, current_schema());
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
END $$;";

/// Creates all functions and triggers again, in one transaction.
pub(super) async fn restore(connector: &Connector) -> Result<(), StoreError> {
    let definitions = Definitions::from_migrations();
    let mut script = String::from("BEGIN;\n");
    for sql in definitions.functions.values() {
        script.push_str(&sql.replacen("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1));
        script.push_str(";\n");
    }
    script.push_str(OWN_PATH);
    for (name, sql) in &definitions.triggers {
        let table =
            sql.split(" ON ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
        script.push_str(&format!("DROP TRIGGER IF EXISTS {name} ON {table};\n{sql};\n"));
    }
    script.push_str("COMMIT;");
    let (client, _driving) = migrate::connect(connector).await?;
    Ok(client.batch_execute(&script).await.map_err(Failure::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_migration_replaces_an_earlier_definition() {
        let definitions = Definitions::of([
            "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN; one; END $$;\n-- a comment; with a semicolon\n\
             CREATE TRIGGER a AFTER DELETE ON t EXECUTE FUNCTION f();\nCREATE TRIGGER b AFTER INSERT ON t EXECUTE FUNCTION f();",
            "DROP TRIGGER b ON t; CREATE OR REPLACE FUNCTION f() RETURNS trigger AS $$ two; $$;
             ALTER TABLE t ADD CONSTRAINT \"one; two\" CHECK (x <> ';'); CREATE CONSTRAINT TRIGGER c AFTER INSERT ON t EXECUTE FUNCTION g();",
        ]);
        assert_eq!(definitions.triggers.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(body(&definitions.functions["f"]), " two; ");
        assert_eq!(
            (definitions.used_by("f"), definitions.used_by("h")),
            (vec!["a".to_owned()], vec!["h".to_owned()])
        );
    }

    #[test]
    fn a_trigger_compares_equal_in_the_servers_notation() {
        let made = "CREATE TRIGGER a AFTER UPDATE OF x ON t FOR EACH ROW\n  WHEN (OLD.x <> NEW.x) EXECUTE FUNCTION f()";
        let kept = "CREATE TRIGGER a AFTER UPDATE OF x ON t FOR EACH ROW WHEN ((old.x <> new.x)) EXECUTE FUNCTION f()";
        assert_eq!(plain(made), plain(kept));
        assert_ne!(plain(made), plain(&kept.replace("<>", "=")));
    }
}
