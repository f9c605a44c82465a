//! The command line.

mod actor;
mod args;
mod audit;
mod clients;
mod doctor;
mod first_admin;
mod init;
pub mod keys;
mod log;
mod migrate;
mod modes;
mod serve;
mod sessions;
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

/// What a command works with: the settings, resolved, and what `main` holds.
#[derive(Debug)]
pub struct Context {
    /// Flags, environment and file, resolved.
    pub settings: Settings,
    /// The settings file, which may be missing.
    pub file: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// `--json`: data as JSON on stdout.
    pub json: bool,
    /// How the commands that messages suggest are typed here.
    pub suggest: suggest::Suggest,
}

impl Context {
    /// Prints data to stdout, with a newline.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        print(text)
    }

    /// Says something to the person at the terminal, on stderr. That nobody listens is no failure.
    pub fn say(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{}", self.suggest.typed(text));
    }
}

/// Why a command failed: what is wrong, where, and what mends it. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// It was called wrongly.
    #[error("{0}")]
    Usage(String),
    /// What it names isn't there.
    #[error("{0}")]
    NotFound(String),
    /// There is no key ring at this path.
    #[error("{}", RingError::Missing(.0.clone()))]
    NoRing(PathBuf),
    /// A token was refused.
    #[error("{0}")]
    TokenRefused(String),
    /// The store or the network is away.
    #[error("{0}")]
    Unavailable(String),
    /// A check found faults; they are printed already.
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
            | StoreError::Moved
            | StoreError::Ended => Self::Failed(error.to_string()),
        }
    }
}

/// Keeps root keys out of core dumps and out of the hands of other processes of this user: no core is written, and none may
/// be taken with a debugger. Returns a warning where the system refuses that.
fn keep_memory_private() -> Option<String> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let kept =
        setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    let error = kept.err()?;
    Some(format!("a core dump of this program can't be prevented ({error}); it would hold the keys"))
}

/// Prints data to stdout, with a newline. A reader that has seen enough ends the program, as pipes do.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(CliError::Failed(format!("standard output can't be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// The database of the settings, beside a running server or without one. It is made by `init` alone.
async fn open_store(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, CliError> {
    expect_database(&settings.database).await?;
    Ok(settings.database.open_for(clock, settings.allow_group_read).await?)
}

/// An error that says what makes it, where there is no database.
async fn expect_database(database: &Database) -> Result<(), CliError> {
    match database.exists().await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CliError::Unavailable(match database.look(&SystemClock).await {
            Ok(found) => doctor::unusable(database, &found),
            Err(_) => no_database(database),
        })),
        Err(error) => Err(CliError::Unavailable(format!("{database}: {error}"))),
    }
}

/// Says where no database is, and what makes one there.
fn no_database(database: &Database) -> String {
    let place = match database {
        Database::Sqlite(path) => {
            std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
        }
        Database::Postgres(url) => url.to_string(),
    };
    format!(
        "{place}: there is no database of Bulla; `bulla init` makes one. If there is one elsewhere, name it with \
         --database or run the command in its folder"
    )
}

/// Says how many rows of a table a list has passed over.
async fn say_unread(store: &dyn Store, table: &str, ctx: &Context) -> Result<(), CliError> {
    match store.bad_rows().await?.iter().filter(|row| row.table == table).count() {
        0 => {}
        1 => ctx.say("1 row can't be read and isn't listed; `bulla doctor` names it and the statement that mends it"),
        more => ctx.say(&format!(
            "{more} rows can't be read and aren't listed; `bulla doctor` names them and the statements that mend them"
        )),
    }
    Ok(())
}

/// Characters up to which a cell widens its column.
const WIDEST: usize = 256;

/// Lines of cells, in columns. Control characters of a stranger's text don't reach the terminal.
fn table(lines: &[Vec<String>]) -> String {
    let clean =
        |cell: &String| cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    let lines: Vec<Vec<String>> = lines.iter().map(|line| line.iter().map(clean).collect()).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let count = |cell: &String| cell.chars().count();
    let width = |column| lines.iter().filter_map(|line| line.get(column)).map(count).max().unwrap_or(0);
    // One very long cell, as in a row typed in by hand, makes no other line longer.
    let widths: Vec<usize> = (0..columns).map(|column| width(column).min(WIDEST)).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            // `{cell:<width$}` panics where a width is beyond 65,535.
            cell.clone() + &" ".repeat(width.saturating_sub(count(cell)))
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// How long ago, as a person would say it.
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
    fn a_cell_of_any_length_makes_a_table() {
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
