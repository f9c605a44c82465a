//! `bulla user`: adds, shows and changes users. Passwords are read from a prompt or from standard input, never from an argument.

mod change;
mod import;
mod list;
mod password;

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use self::{list::show, password::new_password};
use super::{CliError, Context, actor, dry_run::count, open_store, rfc3339};
use crate::{
    ids::shell,
    store::{Event, Identity, NAME_RULE, NewUser, ROLE_RULE, Store, UserRow, is_good_name, is_good_role},
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
    /// Add the users of another system from a file, with their password hashes
    ///
    /// The hashes of argon2, bcrypt, scrypt and PBKDF2 are accepted as other systems export them. Each is replaced by one of
    /// Bulla's own when its user logs in for the first time.
    #[command(
        after_help = "Examples:\n  bulla user import users.jsonl --dry-run\n  bulla user import users.csv --with-roles"
    )]
    Import(import::ImportArgs),
    /// List the users
    #[command(
        after_help = "Examples:\n  bulla user list --role admin\n  bulla user list --name love --disabled\n  bulla user list --limit 100"
    )]
    List(list::ListArgs),
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
    /// Show, replace or remove the claims, which tokens carry; effective at the next renewal of the access token
    #[command(
        after_help = "Examples:\n  bulla user claims ada\n  bulla user claims ada --set '{\"team\":\"blue\"}'\n  bulla user claims ada --clear"
    )]
    Claims {
        /// The user's name.
        name: String,
        /// Replace all claims by this JSON object.
        #[arg(long, value_name = "JSON", conflicts_with = "clear")]
        set: Option<String>,
        /// Remove all claims.
        #[arg(long)]
        clear: bool,
    },
    /// Give a user another name; ends all sessions of the user
    #[command(
        after_help = "Examples:\n  bulla user rename ada 'Ada Lovelace' --dry-run\n  bulla user rename ada 'Ada Lovelace'"
    )]
    Rename {
        /// The user's name.
        name: String,
        /// The new name, for the login.
        new: String,
        /// Only print how many sessions would end.
        #[arg(long)]
        dry_run: bool,
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
        /// Only print how many sessions would end.
        #[arg(long)]
        dry_run: bool,
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
        /// Only print how many sessions would end.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs a user command.
pub(super) async fn run(command: UserCommand, ctx: &Context) -> Result<(), CliError> {
    let store = &*open_store(&ctx.settings, Arc::clone(&ctx.clock)).await?;
    match command {
        UserCommand::Add { name, roles, password_stdin } => {
            add(store, ctx, name, roles, password_stdin).await
        }
        UserCommand::Import(args) => import::run(args, store, ctx).await,
        UserCommand::List(args) => list::list(store, ctx, &args).await,
        UserCommand::Show { name } => show(ctx, &find(store, &name).await?),
        UserCommand::Role { name, add, remove } => {
            change::roles(store, ctx, &find(store, &name).await?, add, remove).await
        }
        UserCommand::Claims { name, set, clear } => {
            change::claims(store, ctx, &find(store, &name).await?, set, clear).await
        }
        UserCommand::Rename { name, new, dry_run } => {
            change::rename(store, ctx, &find(store, &name).await?, new, dry_run).await
        }
        UserCommand::Passwd { name, password_stdin } => passwd(store, ctx, &name, password_stdin).await,
        UserCommand::Disable { name, dry_run } => {
            change::disable(store, ctx, &find(store, &name).await?, dry_run).await
        }
        UserCommand::Enable { name } => change::enable(store, ctx, &find(store, &name).await?).await,
        UserCommand::Delete { name, dry_run } => {
            change::delete(store, ctx, &find(store, &name).await?, dry_run).await
        }
    }
}

/// Returns a user by name. The error says how to list all users.
pub(super) async fn find(store: &dyn Store, name: &str) -> Result<UserRow, CliError> {
    let missing =
        || CliError::NotFound(format!("there is no user {name:?}; `bulla user list` lists all users"));
    store.user_by_name(name).await?.ok_or_else(missing)
}

/// Refuses a role that breaks [`ROLE_RULE`].
fn checked_role(role: String) -> Result<String, CliError> {
    match is_good_role(&role) {
        true => Ok(role),
        false => Err(CliError::Usage(format!("the role {role:?} is not accepted: {ROLE_RULE}"))),
    }
}

fn roles(row: &UserRow) -> String {
    if row.roles.is_empty() { "none".into() } else { row.roles.join(", ") }
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
    let roles = roles.into_iter().map(checked_role).collect::<Result<_, _>>()?;
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
    let sessions = store.count_sessions(Some(&user.id)).await?;
    ctx.say(&format!("{name}: ending {}", count(sessions)));
    store.change_password(&user.id, hash, None, actor::event(Event::PasswordChanged, "")).await?;
    let linked = store.newly_linked(&user.id).await?;
    if ctx.json {
        let linked: Vec<_> = linked.iter().map(|one| rfc3339(one.to_json(), &["linked_at"])).collect();
        let shown = json!({"id": user.id.as_str(), "name": user.name, "recently_linked": linked});
        return ctx.print(&shown.to_string());
    }
    ctx.say(&format!("{name}: password set, all sessions ended"));
    for linked in linked {
        let when = linked.linked_at.map_or_else(|| "at an unknown time".into(), |at| format!("on {at}"));
        let Identity { issuer, subject } = linked.identity;
        ctx.say(&format!("{name} can also log in with the identity {subject:?} at {issuer} (linked {when})"));
    }
    Ok(())
}
