//! `bulla user import`: adds users from a file that another system has exported, with their password hashes.

mod file;

use std::{collections::HashSet, path::PathBuf};

use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use self::file::{Entry, Faults, Format};
use crate::{
    cli::{CliError, Context, actor},
    store::{Event, Store, folded_name},
};

/// How many users are added at once. The store commits them together.
const AT_ONCE: usize = 64;
/// After how many users a line tells the progress.
const PROGRESS: usize = 1000;

/// The file to import.
#[derive(Args, Debug)]
pub(in crate::cli) struct ImportArgs {
    /// The file; - reads standard input.
    file: PathBuf,
    /// The format of the file [default: csv if its name ends with .csv, otherwise jsonl]
    #[arg(long)]
    format: Option<Format>,
    /// Give the users the roles in the file. Without this, they get no roles.
    #[arg(long)]
    with_roles: bool,
    /// Leave users as they are whose names exist already. Without this, such a name is an error.
    #[arg(long)]
    skip_existing: bool,
    /// Check the file, and import nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Returns a number of users in words.
fn count(users: usize) -> String {
    if users == 1 { "1 user".into() } else { format!("{users} users") }
}

/// Imports the users of a file.
pub(super) async fn run(args: ImportArgs, store: &dyn Store, ctx: &Context) -> Result<(), CliError> {
    let (entries, mut faults) = file::read(&args.file, args.format)?;
    let (mut entries, skipped) = without_existing(entries, store, args.skip_existing, &mut faults).await?;
    if !faults.is_empty() {
        return Err(faults.into_error("nothing was imported, because the file has faults:"));
    }
    let with_roles = entries.iter().filter(|entry| !entry.user.roles.is_empty()).count();
    if with_roles > 0 && !args.with_roles {
        ctx.say(&format!(
            "without --with-roles, the roles of {} in the file are not given",
            count(with_roles)
        ));
        entries.iter_mut().for_each(|entry| entry.user.roles.clear());
    }
    if args.dry_run {
        return report(ctx, "can be imported", entries.len(), skipped);
    }
    let (imported, faults) = add(entries, store, ctx).await;
    match faults.is_empty() {
        true => report(ctx, "imported", imported, skipped),
        false => Err(faults.into_error(&format!(
            "{} imported. Correct these lines, and run the command again with --skip-existing:",
            count(imported)
        ))),
    }
}

fn report(ctx: &Context, done: &str, users: usize, skipped: usize) -> Result<(), CliError> {
    if ctx.json {
        return ctx.print(&json!({"users": users, "skipped": skipped, "outcome": done}).to_string());
    }
    let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} existed already") };
    ctx.say(&format!("{} {done}{skipped}", count(users)));
    Ok(())
}

/// The users whose names are new, and the number of the others. A name that stands twice in the file, or that looks like another one,
/// is a fault.
async fn without_existing(
    entries: Vec<Entry>,
    store: &dyn Store,
    skip: bool,
    faults: &mut Faults,
) -> Result<(Vec<Entry>, usize), CliError> {
    let (mut new, mut skipped, mut names) = (Vec::new(), 0, HashSet::new());
    for entry in entries {
        let (line, name) = (entry.line, &entry.user.name);
        if !names.insert(folded_name(name)) {
            faults.add(
                line,
                format!("the name {name:?} stands in the file twice, or looks like another one there"),
            );
        } else if !store.is_name_taken(name).await? {
            new.push(entry);
        } else if store.user_by_name(name).await?.is_none() {
            faults.add(line, format!("the name {name:?} looks like the name of another user"));
        } else if skip {
            skipped += 1;
        } else {
            faults.add(line, format!("the user {name:?} exists already; --skip-existing leaves it as it is"));
        }
    }
    Ok((new, skipped))
}

/// Adds the users, in SQLite in the order of the file. Returns how many were added, and why the others were not.
async fn add(entries: Vec<Entry>, store: &dyn Store, ctx: &Context) -> (usize, Faults) {
    let total = entries.len();
    let mut added = stream::iter(entries)
        .map(|entry| async move {
            let event = actor::event(Event::UserAdded, "").with(json!({"imported": true}));
            (entry.line, store.add_user(entry.user, event).await)
        })
        .buffered(AT_ONCE);
    let (mut imported, mut faults) = (0, Faults::default());
    while let Some((line, result)) = added.next().await {
        match result {
            Err(error) => faults.add(line, error.to_string()),
            Ok(_) => {
                imported += 1;
                if imported % PROGRESS == 0 && imported < total {
                    ctx.say(&format!("{imported} of {total} users imported"));
                }
            }
        }
    }
    (imported, faults)
}
