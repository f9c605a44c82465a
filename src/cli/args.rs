//! Defines the command line for clap and builds the [`Context`] from it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{CommandFactory as _, Parser, Subcommand};

use super::{
    CliError, Context, SETTINGS_FILE, audit, clients, doctor, init, keys, log, migrate, serve, sessions,
    settings_source::SettingsSource, suggest::Suggest, tokens, users,
};
use crate::{clock::SystemClock, store::Database};

/// Sessions without JWT: opaque sealed tokens, two cookies, revocation by deletion, keys that roll over.
#[derive(Debug, Parser)]
#[command(
    name = "bulla",
    version,
    max_term_width = 100,
    after_help = "A setting is read from its flag, then from BULLA_* in the environment, then from bulla.toml; the \
        first one counts.\n\nExamples:\n  bulla serve --init              create what is missing, then serve on \
        http://localhost:8080\n  bulla user add ada --role admin\n  bulla session list --user ada\n  bulla keys \
        rotate\n  bulla token seal '{\"id\":\"42\"}'\n\nExit codes: 0 success, 1 failure, 2 wrong usage or setting, \
        3 not found, 4 token refused,\n5 store or network unavailable, 6 a check found faults."
)]
pub(super) struct Cli {
    /// The keys directory [default: keys]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) keys: Option<PathBuf>,
    /// The database: a SQLite file, or postgres://user@host/name [default: bulla.db]
    #[arg(long, global = true, value_name = "FILE|URL")]
    pub(super) database: Option<String>,
    /// The settings file [default: bulla.toml, if it exists]
    #[arg(long, global = true, env = "BULLA_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Accept keys and a database file that their group may read (as Kubernetes mounts secrets)
    #[arg(long, global = true)]
    allow_group_read: bool,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a key ring, a database and a bulla.toml
    #[command(after_help = "Examples:\n  bulla init\n  bulla init --suite aes-256-gcm")]
    Init(init::InitArgs),
    /// Run the server: logins, sessions and the admin routes
    #[command(
        after_help = "Examples:\n  bulla serve --init\n  bulla serve --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key key.pem"
    )]
    Serve(serve::ServeArgs),
    /// List, roll over, revoke and export keys
    Keys(keys::KeysArgs),
    /// Add, list, change and delete users
    #[command(subcommand)]
    User(users::UserCommand),
    /// List and end sessions
    #[command(subcommand)]
    Session(sessions::SessionCommand),
    /// Add, list, change and delete OAuth clients: programs that may request tokens
    #[command(subcommand)]
    Client(clients::ClientCommand),
    /// Seal, open and inspect tokens
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// Print the audit log
    #[command(
        after_help = "Examples:\n  bulla audit --limit 20\n  bulla audit --since 2h --user ada\n  bulla audit --since \
        2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z --event login.failed\n  bulla audit --follow --json"
    )]
    Audit(audit::AuditArgs),
    /// Move all data from a SQLite file to PostgreSQL; all users stay logged in
    ///
    /// Stop the old server first. The command moves everything or nothing: it can be interrupted and run again.
    #[command(
        after_help = "Examples:\n  bulla migrate --from bulla.db --to postgres://bulla@db.example.org/bulla\n  \
                      BULLA_DATABASE=postgres://… bulla migrate --from sqlite:/var/lib/bulla/bulla.db"
    )]
    Migrate(migrate::MigrateArgs),
    /// Check settings, keys, database and providers; print each fault and what to change
    #[command(
        after_help = "Examples:\n  bulla doctor\n  bulla doctor --json\n\nExit code 6: faults were found."
    )]
    Doctor,
    /// Check the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  bulla completions bash > /etc/bash_completion.d/bulla")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write a page for every command
    #[command(after_help = "Examples:\n  bulla man | man -l -\n  bulla man --dir /usr/local/share/man/man1")]
    Man {
        /// Write one page for each command and subcommand to this directory, and create the directory if it is missing
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check flags, environment and settings file; print each fault
    ///
    /// The command reads no key and opens no database, so it can check a new settings file before it is put in place.
    #[command(
        after_help = "Examples:\n  bulla config check\n  bulla --config new.toml config check --json\n\nExit code 6: faults were found."
    )]
    Check,
}

/// Runs the program: parses the command line, runs the command, prints errors. Returns the exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() && log::of_arguments(&arguments).is_json() {
                log::fail(error.to_string().trim_end());
            } else {
                // A closed pipe must not change the exit code.
                let _ = error.print();
            }
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let warning = super::keep_memory_private();
    let suggest =
        Suggest::new(cli.config.as_deref(), cli.keys.as_deref(), cli.database.as_deref(), &arguments);
    let log = match cli.command {
        Command::Serve(_) => log::of_server(&cli.settings_file()),
        _ => log::Format::Text,
    };
    let done = actix_web::rt::System::new().block_on(run(cli, suggest.clone(), warning));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error_text = suggest.complete(&error.to_string());
            match log.is_json() {
                true => log::fail(&error_text),
                false => {
                    use std::io::Write as _;
                    let _ = writeln!(std::io::stderr(), "bulla: {error_text}");
                }
            }
            ExitCode::from(error.exit_code())
        }
    }
}

impl Cli {
    fn settings_file(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| SETTINGS_FILE.into())
    }
}

async fn run(cli: Cli, suggest: Suggest, warning: Option<String>) -> Result<(), CliError> {
    match &cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "bulla", &mut script);
            return super::print(&String::from_utf8_lossy(&script));
        }
        Command::Man { dir: Some(dir) } => return write_manual(dir),
        Command::Man { dir: None } => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|error| CliError::Failed(error.to_string()))?;
            return super::print(&String::from_utf8_lossy(&page));
        }
        _ => {}
    }
    let file = cli.settings_file();
    let flags = flags(&cli);
    // A settings file that was named must exist, unless `init` is about to create it.
    let may_be_missing = cli.config.is_none() || matches!(cli.command, Command::Init(_));
    let source = SettingsSource { flags: flags.clone(), file: file.clone(), may_be_missing };
    let mut settings = match source.read() {
        Err(faults) if matches!(cli.command, Command::Doctor | Command::Config(_)) => {
            return doctor::bad_settings(&faults, cli.json, &suggest);
        }
        settings => settings.map_err(|faults| {
            CliError::Usage(faults.into_iter().next().unwrap_or_else(|| "the settings can't be used".into()))
        })?,
    };
    settings.warnings.extend(warning);
    let shown = match (&cli.database, &settings.database, &cli.command) {
        (_, _, Command::Migrate(args)) if args.shows_password() => true,
        (Some(_), Database::Postgres(url), _) => url.holds_password(),
        _ => false,
    };
    if shown {
        settings.warnings.push(
            "a password on the command line is visible to all users of this machine; pass it in BULLA_DATABASE or PGPASSFILE"
                .into(),
        );
    }
    let clock = Arc::new(SystemClock);
    let ctx = Context { settings, source, file: file.clone(), clock, json: cli.json, suggest };
    // `serve` writes its warnings to its log instead.
    if !matches!(cli.command, Command::Serve(_)) {
        ctx.settings.warnings.iter().for_each(|warning| ctx.say(&format!("warning: {warning}")));
    }
    let done = command(cli.command, &flags, &file, &ctx).await;
    match done {
        Err(CliError::NoRing(path)) => Err(keys::no_ring(path, &ctx).await),
        done => done,
    }
}

async fn command(
    command: Command,
    flags: &[(&'static str, String)],
    file: &Path,
    ctx: &Context,
) -> Result<(), CliError> {
    match command {
        Command::Init(args) => init::run(&args, flags, file, ctx).await,
        Command::Serve(args) => serve::run(&args, ctx).await,
        Command::Keys(args) => keys::run(args, ctx).await,
        Command::User(command) => users::run(command, ctx).await,
        Command::Session(command) => sessions::run(command, ctx).await,
        Command::Client(command) => clients::run(command, ctx).await,
        Command::Token(command) => tokens::run(command, ctx).await,
        Command::Migrate(args) => migrate::run(&args, ctx).await,
        Command::Audit(args) => audit::run(&args, ctx).await,
        Command::Doctor => doctor::run(ctx).await,
        Command::Config(ConfigCommand::Check) => doctor::good_settings(ctx),
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

/// Returns the flags that are settings.
fn flags(cli: &Cli) -> Vec<(&'static str, String)> {
    let mut flags = Vec::new();
    flags.extend(cli.keys.as_ref().map(|path| ("keys", path.display().to_string())));
    flags.extend(cli.database.clone().map(|database| ("database", database)));
    flags.extend(cli.allow_group_read.then(|| ("allow_group_read", "true".to_owned())));
    if let Command::Serve(args) = &cli.command {
        flags.extend(args.settings());
    }
    flags
}

/// Writes a manual page for every command and subcommand.
fn write_manual(dir: &Path) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        CliError::Failed(format!("the manual pages can't be written to {}: {error}", dir.display()))
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_subcommand_has_a_manual_page() {
        fn pages(command: &clap::Command, name: &str, found: &mut Vec<String>) {
            found.push(format!("{name}.1"));
            command
                .get_subcommands()
                .for_each(|sub| pages(sub, &format!("{name}-{}", sub.get_name()), found));
        }
        let mut expected = Vec::new();
        pages(&Cli::command(), "bulla", &mut expected);
        assert!(expected.contains(&"bulla-user-add.1".to_owned()), "{expected:?}");
        expected.sort();
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("share/man1");
        write_manual(&dir).unwrap();
        let entries = std::fs::read_dir(&dir).unwrap();
        let mut written: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        written.sort();
        assert_eq!(written, expected);
    }

    #[test]
    fn the_definition_of_every_command_is_valid() {
        Cli::command().debug_assert();
        // An argument of a command must not have the name of a global argument. clap detects this only when the argument is used.
        let globals: Vec<_> = Cli::command().get_arguments().map(|arg| arg.get_id().clone()).collect();
        let mut rooms: Vec<clap::Command> = Cli::command().get_subcommands().cloned().collect();
        while let Some(room) = rooms.pop() {
            for argument in room.get_arguments() {
                let (room, id) = (room.get_name(), argument.get_id());
                assert!(!globals.contains(id), "`{room}` has an argument {id}, as every command has");
            }
            rooms.extend(room.get_subcommands().cloned());
        }
    }
}
