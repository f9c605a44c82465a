//! The command line: `bulla` and its subcommands, one module for each.

mod actor;
mod args;
mod audit;
mod clients;
mod doctor;
mod dry_run;
mod first_admin;
mod init;
pub mod keys;
mod log;
mod migrate;
mod modes;
mod serve;
mod sessions;
mod settings_source;
mod suggest;
mod tokens;
mod users;

use std::{io::Write as _, path::PathBuf, sync::Arc};

pub use args::main;

use crate::{
    clock::{Clock, SystemClock, Timestamp},
    config::Settings,
    keyring::RingError,
    store::{Database, Store, StoreError},
};

/// The default settings file.
const SETTINGS_FILE: &str = "bulla.toml";

/// The environment of a command: the resolved settings and the state of `main`.
#[derive(Debug)]
pub struct Context {
    /// The settings resolved from flags, environment and file.
    pub settings: Settings,
    /// The places that `settings` was read from.
    pub source: settings_source::SettingsSource,
    /// The settings file. It may not exist.
    pub file: PathBuf,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whether `--json` was given: data is printed as JSON on stdout.
    pub json: bool,
    /// Completes the commands that messages suggest.
    pub suggest: suggest::Suggest,
}

impl Context {
    /// Prints data to stdout, with a newline.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        print(text)
    }

    /// Prints a message for the person at the terminal to stderr. A closed stderr is not an error.
    pub fn say(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{}", self.suggest.complete(text));
    }
}

/// The reason why a command failed: the fault, its place and the remedy. Never contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command failed.
    #[error("{0}")]
    Failed(String),
    /// The command was called wrongly.
    #[error("{0}")]
    Usage(String),
    /// The named object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// There is no key ring at this path.
    #[error("{}", RingError::Missing(.0.clone()))]
    NoRing(PathBuf),
    /// A token was refused.
    #[error("{0}")]
    TokenRefused(String),
    /// The store or the network is unavailable.
    #[error("{0}")]
    Unavailable(String),
    /// A check found faults, which are already printed.
    #[error("{0}")]
    Faults(String),
}

impl CliError {
    /// The exit code (docs/design/http.md).
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) | Self::NoRing(_) => 3,
            Self::TokenRefused(_) => 4,
            Self::Unavailable(_) => 5,
            Self::Faults(_) => 6,
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Broken => Self::Unavailable(error.to_string()),
            StoreError::Schema(_)
            | StoreError::Conflict(_)
            | StoreError::LastAdmin
            | StoreError::LastWayIn
            | StoreError::Stale
            | StoreError::CallerEnded => Self::Failed(error.to_string()),
        }
    }
}

/// Protects root keys in memory from other processes of the same user: disables core dumps, and prevents debuggers from
/// attaching. Returns a warning if the system refuses this.
fn keep_memory_private() -> Option<String> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let kept =
        setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    let error = kept.err()?;
    Some(format!(
        "core dumps of this program can't be disabled ({error}); a core dump would contain the keys"
    ))
}

/// An option with its value, in a command that a message suggests. A value that begins with a hyphen needs the equals sign.
fn option(name: &str, value: &str) -> String {
    let separator = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{separator}{}", crate::ids::shell::quote(value))
}

/// Prints data to stdout, with a newline. If the reader has closed the pipe, ends the program with exit code 0.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(CliError::Failed(format!("standard output can't be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Opens the database in the settings, whether or not a server is running. Fails if it does not exist: only `init` creates it.
async fn open_store(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, CliError> {
    expect_database(&settings.database).await?;
    Ok(settings.database.open_for_command(clock, settings.allow_group_read).await?)
}

/// Fails if there is no database. The error says how to create it.
async fn expect_database(database: &Database) -> Result<(), CliError> {
    match database.exists().await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CliError::Unavailable(match database.inspect(&SystemClock).await {
            Ok(found) => doctor::unusable(database, &found),
            Err(_) => no_database(database),
        })),
        Err(error) => Err(CliError::Unavailable(format!("{database}: {error}"))),
    }
}

/// Returns the message that there is no database at this place, with the command that creates it.
fn no_database(database: &Database) -> String {
    let place = match database {
        Database::Sqlite(path) => {
            std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
        }
        Database::Postgres(url) => url.to_string(),
    };
    format!(
        "{place}: there is no database of Bulla; `bulla init` creates one. If the database is elsewhere, name it \
         with --database or run the command in its folder"
    )
}

/// Prints how many rows a list has skipped because they can't be read.
fn say_skipped_rows(skipped: usize, ctx: &Context) {
    match skipped {
        0 => {}
        1 => ctx.say("1 row can't be read and isn't listed; `bulla doctor` names it and the statement that repairs it"),
        more => ctx.say(&format!(
            "{more} rows can't be read and aren't listed; `bulla doctor` names them and the statements that repair them"
        )),
    }
}

/// The largest number of characters by which a cell can widen its column.
const WIDEST: usize = 256;

/// Formats lines of cells in columns. Replaces control characters, so that stored text from strangers can't control the terminal.
fn table(lines: &[Vec<String>]) -> String {
    let clean =
        |cell: &String| cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    let lines: Vec<Vec<String>> = lines.iter().map(|line| line.iter().map(clean).collect()).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let count = |cell: &String| cell.chars().count();
    let width = |column| lines.iter().filter_map(|line| line.get(column)).map(count).max().unwrap_or(0);
    // The limit keeps one very long cell, for example in a row inserted by hand, from making all other lines long.
    let widths: Vec<usize> = (0..columns).map(|column| width(column).min(WIDEST)).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            // `{cell:<width$}` panics if the width is above 65,535.
            cell.clone() + &" ".repeat(width.saturating_sub(count(cell)))
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Replaces the Unix milliseconds in these fields of a JSON object by times of the form RFC 3339, the only form of a time in what
/// commands print.
fn rfc3339(mut shown: serde_json::Value, fields: &[&str]) -> serde_json::Value {
    for field in fields {
        if let Some(value) = shown.get_mut(*field)
            && let Some(millis) = value.as_i64()
        {
            *value = Timestamp::from_millis(millis).to_string().into();
        }
    }
    shown
}

/// Formats how long ago a time was, for people.
fn ago(then: Timestamp, now: Timestamp) -> String {
    match now.since(then).as_secs() {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_fields_of_an_object_are_converted_to_times() {
        let shown = serde_json::json!({"at": 1_764_339_000_123_i64, "never": null, "n": 7, "in": {"at": 0}});
        let expected =
            serde_json::json!({"at": "2025-11-28T14:10:00Z", "never": null, "n": 7, "in": {"at": 0}});
        assert_eq!(rfc3339(shown, &["at", "never", "missing"]), expected);
    }

    #[test]
    fn a_table_accepts_a_cell_of_any_length() {
        let cells = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let long = "x".repeat(70_000);
        let lines = [cells(["id", &long, "a"]), cells(["7", "\u{e4}\n", "b"])];
        let shown = table(&lines);
        let (first, second) = shown.split_once('\n').unwrap();
        assert_eq!(first, format!("id  {long}  a"));
        assert_eq!(second.chars().count(), 4 + WIDEST + 3);
        assert!(second.starts_with("7   \u{e4}\u{fffd} ") && second.ends_with(" b"));
    }
}
