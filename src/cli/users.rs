//! `bulla user`: adds, shows and changes users. Passwords are read from a prompt or from standard input, never from an argument.

use std::{io::Read as _, sync::Arc};

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Context, actor, open_store, say_skipped_rows, table};
use crate::{
    identity::{Hasher, PasswordRule},
    ids::shell,
    secret::SecretText,
    store::{Event, Identity, NAME_RULE, NewUser, Store, UserChange, UserRow, is_good_name},
};

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; asks for the password
    #[command(
        after_help = "Examples:\n  bulla user add ada --role admin\n  pass show ada | bulla user add ada --password-stdin"
    )]
    Add {
        /// The user's name, for the login.
        name: String,
        /// A role of the user (repeatable).
        #[arg(long = "role")]
        roles: Vec<String>,
        /// Read the password from standard input (its first line).
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the users
    List,
    /// Show a user
    Show {
        /// The user's name.
        name: String,
    },
    /// Add or remove roles; effective at the next renewal of the access token
    #[command(
        after_help = "Examples:\n  bulla user role ada --add ops\n  bulla user role ada --remove admin"
    )]
    Role {
        /// The user's name.
        name: String,
        /// A role to add (repeatable).
        #[arg(long)]
        add: Vec<String>,
        /// A role to remove (repeatable).
        #[arg(long)]
        remove: Vec<String>,
    },
    /// Set a password; ends all sessions of the user
    Passwd {
        /// The user's name.
        name: String,
        /// Read the password from standard input (its first line).
        #[arg(long)]
        password_stdin: bool,
    },
    /// Disable a user: refuse logins, and end all sessions at once
    Disable {
        /// The user's name.
        name: String,
    },
    /// Enable a disabled user
    Enable {
        /// The user's name.
        name: String,
    },
    /// Delete a user, and end all sessions at once
    Delete {
        /// The user's name.
        name: String,
    },
}

/// Runs a user command.
pub(super) async fn run(command: UserCommand, ctx: &Context) -> Result<(), CliError> {
    let store = open_store(&ctx.settings, Arc::clone(&ctx.clock)).await?;
    match command {
        UserCommand::Add { name, roles, password_stdin } => {
            add(&*store, ctx, name, roles, password_stdin).await
        }
        UserCommand::List => list(&*store, ctx).await,
        UserCommand::Show { name } => show(ctx, &find(&*store, &name).await?),
        UserCommand::Role { name, add, remove } => {
            if add.is_empty() && remove.is_empty() {
                return Err(CliError::Usage("nothing to change: give --add ROLE or --remove ROLE".into()));
            }
            let user = find(&*store, &name).await?;
            // A role that is both added and removed is added.
            let remove = remove.into_iter().filter(|role| !add.contains(role)).collect();
            let change = UserChange { add_roles: add, remove_roles: remove, ..UserChange::default() };
            change_user(&*store, ctx, &user, change, Event::UserChanged).await
        }
        UserCommand::Passwd { name, password_stdin } => passwd(&*store, ctx, &name, password_stdin).await,
        UserCommand::Disable { name } => {
            let user = find(&*store, &name).await?;
            let change = UserChange { disabled: Some(true), ..UserChange::default() };
            change_user(&*store, ctx, &user, change, Event::UserDisabled).await
        }
        UserCommand::Enable { name } => {
            let user = find(&*store, &name).await?;
            let change = UserChange { disabled: Some(false), ..UserChange::default() };
            change_user(&*store, ctx, &user, change, Event::UserEnabled).await
        }
        UserCommand::Delete { name } => {
            let user = find(&*store, &name).await?;
            store.delete_user(&user.id, actor::event(Event::UserDeleted, "")).await?;
            ctx.say(&format!("{name}: deleted, all sessions ended"));
            Ok(())
        }
    }
}

/// Returns a user by name. The error says how to list all users.
pub(super) async fn find(store: &dyn Store, name: &str) -> Result<UserRow, CliError> {
    let missing =
        || CliError::NotFound(format!("there is no user {name:?}; `bulla user list` lists all users"));
    store.user_by_name(name).await?.ok_or_else(missing)
}

async fn add(
    store: &dyn Store,
    ctx: &Context,
    name: String,
    roles: Vec<String>,
    from_stdin: bool,
) -> Result<(), CliError> {
    if !is_good_name(&name) {
        return Err(CliError::Usage(NAME_RULE.into()));
    }
    if store.user_by_name(&name).await?.is_some() {
        return Err(CliError::Failed(format!(
            "the user {name:?} exists already; `bulla user show {}` shows it",
            shell::quote(&name)
        )));
    }
    let hash = new_password(ctx, from_stdin).await?;
    let user = NewUser { name, password_hash: Some(hash), roles, ..NewUser::default() };
    let row = store.add_user(user, actor::event(Event::UserAdded, "")).await?;
    if ctx.json {
        return show(ctx, &row);
    }
    ctx.say(&format!("{}: added with id {}", row.name, row.id));
    Ok(())
}

async fn passwd(store: &dyn Store, ctx: &Context, name: &str, from_stdin: bool) -> Result<(), CliError> {
    let user = find(store, name).await?;
    let hash = new_password(ctx, from_stdin).await?;
    store.change_password(&user.id, hash, None, actor::event(Event::PasswordChanged, "")).await?;
    ctx.say(&format!("{name}: password set, all sessions ended"));
    for linked in store.newly_linked(&user.id).await? {
        let when = linked.linked_at.map_or_else(|| "at an unknown time".into(), |at| format!("on {at}"));
        let Identity { issuer, subject } = linked.identity;
        ctx.say(&format!("{name} can also log in with the identity {subject:?} at {issuer} (linked {when})"));
    }
    Ok(())
}

/// Asks for a new password (twice if at a terminal), checks it and hashes it.
async fn new_password(ctx: &Context, from_stdin: bool) -> Result<String, CliError> {
    let password = if from_stdin { stdin_line()? } else { prompt()? };
    let rule = PasswordRule { min: ctx.settings.password_min };
    rule.check(&password).map_err(CliError::Failed)?;
    Hasher::new(1, 1).hash(&password).await.map_err(|error| CliError::Failed(error.to_string()))
}

fn stdin_line() -> Result<SecretText, CliError> {
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = std::io::stdin().lock().take(8192).read_to_string(&mut text);
    read.map_err(|error| CliError::Failed(format!("standard input can't be read: {error}")))?;
    let line = text.split('\n').next().unwrap_or_default();
    Ok(SecretText::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

fn prompt() -> Result<SecretText, CliError> {
    let ask = |prompt| {
        rpassword::prompt_password(prompt).map_err(|error| {
            CliError::Failed(format!(
                "there is no terminal to ask for the password ({error}); use --password-stdin"
            ))
        })
    };
    let (first, second) = (ask("Password: ")?, ask("Repeat the password: ")?);
    if first != second {
        return Err(CliError::Failed("the two passwords differ; nothing was changed".into()));
    }
    Ok(SecretText::new(first))
}

async fn change_user(
    store: &dyn Store,
    ctx: &Context,
    user: &UserRow,
    change: UserChange,
    event: Event,
) -> Result<(), CliError> {
    let changed = store.change_user(&user.id, change, actor::event(event, "")).await?;
    let row = changed
        .ok_or_else(|| CliError::NotFound(format!("the user {} was deleted in the meantime", user.name)))?;
    if ctx.json {
        return show(ctx, &row);
    }
    let state = if row.disabled { "disabled, all sessions ended" } else { "enabled" };
    ctx.say(&format!("{}: {state}, roles {}", row.name, roles(&row)));
    Ok(())
}

fn roles(row: &UserRow) -> String {
    if row.roles.is_empty() { "none".into() } else { row.roles.join(", ") }
}

fn show(ctx: &Context, row: &UserRow) -> Result<(), CliError> {
    if ctx.json {
        return ctx.print(&row.to_json().to_string());
    }
    ctx.print(&table(&[
        vec!["name".into(), row.name.clone()],
        vec!["id".into(), row.id.to_string()],
        vec!["roles".into(), roles(row)],
        vec!["claims".into(), serde_json::Value::Object(row.claims.clone()).to_string()],
        vec!["state".into(), if row.disabled { "disabled" } else { "enabled" }.into()],
        vec!["added".into(), row.created_at.to_string()],
    ]))
}

async fn list(store: &dyn Store, ctx: &Context) -> Result<(), CliError> {
    let mut rows: Vec<UserRow> = Vec::new();
    loop {
        let page = store.users(rows.last().map(|row| &row.id), 500).await?;
        if page.is_empty() {
            break;
        }
        rows.extend(page);
    }
    say_skipped_rows(store, "users", ctx).await?;
    if ctx.json {
        return ctx
            .print(&json!({"users": rows.iter().map(UserRow::to_json).collect::<Vec<_>>()}).to_string());
    }
    let mut lines = vec![["ID", "NAME", "ROLES", "STATE"].map(String::from).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let state = if row.disabled { "disabled" } else { "enabled" };
        vec![row.id.to_string(), row.name.clone(), roles(row), state.into()]
    }));
    ctx.print(&table(&lines))
}
