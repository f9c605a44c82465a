//! `bulla migrate`: moves an installation from a SQLite file to a PostgreSQL database that several nodes share.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use serde_json::json;

use super::{CliError, Context, actor, expect_database};
use crate::store::{
    Database, NODE_TIMEOUT, NodeRow, PostgresUrl, Store, StoreError, TransferOutcome, transfer,
};

/// From where to where.
#[derive(Args, Debug)]
pub(super) struct MigrateArgs {
    /// The SQLite file, `sqlite:PATH` or `PATH` [default: the `database` of the settings]
    #[arg(long, value_name = "FILE")]
    from: Option<Database>,
    /// postgres://user@host/name [default: the `database` of the settings]
    #[arg(long, value_name = "URL")]
    to: Option<Database>,
    /// Copy although a server still uses the file, as a rehearsal; later changes in the file are not copied.
    #[arg(long)]
    rehearse: bool,
}

impl MigrateArgs {
    /// Whether the command line contains a password, which all users of the machine can see.
    pub(super) fn shows_password(&self) -> bool {
        matches!(&self.to, Some(Database::Postgres(url)) if url.holds_password())
    }

    fn source_and_target(&self, settings: &Database) -> Result<(PathBuf, PostgresUrl), CliError> {
        let usage =
            |text: &str| Err(CliError::Usage(format!("{text}; `bulla migrate --help` shows the usage")));
        match (self.from.as_ref().unwrap_or(settings), self.to.as_ref().unwrap_or(settings)) {
            (Database::Sqlite(from), Database::Postgres(to)) => Ok((from.clone(), to.clone())),
            _ if matches!(self.from, Some(Database::Postgres(_)))
                || matches!(self.to, Some(Database::Sqlite(_))) =>
            {
                usage("only a move from SQLite to PostgreSQL is possible")
            }
            (Database::Postgres(_), _) => usage("--from is missing: name the SQLite file to move from"),
            _ => usage("--to is missing: name the PostgreSQL database to move to (or set BULLA_DATABASE)"),
        }
    }
}

/// Moves users, identities, sessions, clients, revocations, used nonces and the audit.
pub(super) async fn run(args: &MigrateArgs, ctx: &Context) -> Result<(), CliError> {
    let (from, to) = args.source_and_target(&ctx.settings.database)?;
    let old = Database::from(from.as_path());
    expect_database(&old).await.map_err(|error| match error {
        // If the file is missing, opening it would create a new, empty database, and there would be nothing to move.
        CliError::Unavailable(_) if !from.exists() => CliError::Unavailable(format!(
            "{}: the file does not exist; name the SQLite file of the old installation with --from FILE",
            from.display()
        )),
        error => error,
    })?;
    let left = |error: StoreError| named(&old, error);
    let store =
        old.open_for_command(Arc::clone(&ctx.clock), ctx.settings.allow_group_read).await.map_err(left)?;
    if !args.rehearse {
        wait_until_unused(&*store, &old, ctx).await?;
    }
    drop(store);
    let moved = match transfer(&from, &to, ctx.clock.now(), &actor::actor()).await {
        Ok(moved) => moved,
        Err(StoreError::Conflict(why)) => return Err(CliError::Failed(why)),
        Err(error) => {
            return Err(match named(&Database::Postgres(to), error) {
                CliError::Unavailable(why) => CliError::Unavailable(format!(
                    "{why}; run this command again, it moves everything or nothing"
                )),
                other => other,
            });
        }
    };
    report(&moved, &old, &Database::Postgres(to), ctx)
}

fn named(database: &Database, error: StoreError) -> CliError {
    match error.into() {
        CliError::Unavailable(why) => CliError::Unavailable(format!("{database}: {why}")),
        CliError::Failed(why) => CliError::Failed(format!("{database}: {why}")),
        other => other,
    }
}

/// Waits until no server uses the file. A server that was just stopped looks like a server whose next report is due, so this
/// takes some seconds.
async fn wait_until_unused(store: &dyn Store, database: &Database, ctx: &Context) -> Result<(), CliError> {
    let first = store.nodes().await?;
    if first.is_empty() {
        return Ok(());
    }
    ctx.say(&format!(
        "a server has used {database} in the last {} s; checking whether it has stopped",
        NODE_TIMEOUT.as_secs()
    ));
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let nodes = store.nodes().await?;
        if nodes.is_empty() {
            return Ok(());
        }
        let said_again = |node: &&NodeRow| !first.contains(node);
        if let Some(node) = nodes.iter().find(said_again) {
            return Err(CliError::Failed(format!(
                "{database} is in use by the server {}: its later changes would be lost; stop the server and run \
                 this command again (--rehearse copies nevertheless)",
                node.name
            )));
        }
    }
}

fn report(moved: &TransferOutcome, from: &Database, to: &Database, ctx: &Context) -> Result<(), CliError> {
    let (from, to) = (from.to_string(), to.to_string());
    match moved {
        TransferOutcome::AlreadyTransferred(at) => {
            ctx.say(&format!("{from} was moved to {to} at {at} and hasn't changed since: nothing to do"));
            if ctx.json {
                ctx.print(&json!({"from": from, "to": to, "already": at.to_string()}).to_string())?
            }
        }
        TransferOutcome::Transferred(rows) => {
            let counts: serde_json::Map<_, _> =
                rows.iter().map(|(table, n)| ((*table).into(), (*n).into())).collect();
            let text: Vec<_> = rows.iter().map(|(table, n)| format!("{n} {table}")).collect();
            ctx.say(&format!("moved from {from} to {to}: {}", text.join(", ")));
            if ctx.json {
                ctx.print(&json!({"from": from, "to": to, "rows": counts}).to_string())?
            }
        }
    }
    ctx.say("next: set `database` to the PostgreSQL database, keep the keys directory, start the server, and let no \
        server use the SQLite file");
    Ok(())
}
