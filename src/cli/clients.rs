//! `bulla client`: manages the programs that may request tokens. A secret is printed only once, when it is created, and is stored
//! as a digest.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{CliError, Context, actor, open_store, rfc3339, say_skipped_rows, table};
use crate::{
    config::{format_duration, parse_duration},
    ids::{Audience, ClientId},
    oauth::registration::{self, BadClient, Registration},
    secret::SecretText,
    store::{ClientChange, ClientRow, Event, NewSecret, Store},
};

/// What to do with clients.
#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Add a client and print its id and secret; the secret is shown only once
    #[command(after_help = "Examples:\n  bulla client add reports --scope read --audience billing\n  \
                      bulla client add phone --public --redirect-uri org.example.app:/back\n  \
                      bulla client add backup --scope admin --jwks backup.jwk")]
    Add {
        /// The name, which users see when they sign in to an app.
        name: String,
        #[command(flatten)]
        permissions: Permissions,
        /// Add a public client: an app on a user's device, which can't keep a secret.
        #[arg(long)]
        public: bool,
    },
    /// List the clients
    List,
    /// Show a client
    Show {
        /// The name or id of the client.
        client: String,
    },
    /// Replace scopes, audiences, redirect URIs or keys of a client; revokes its tokens, except if only --redirect-uri is given
    Change {
        /// The name or id of the client.
        client: String,
        #[command(flatten)]
        permissions: Permissions,
    },
    /// Create a new secret; the old one stays valid for a time
    #[command(
        after_help = "Examples:\n  bulla client rotate-secret reports\n  bulla client rotate-secret reports --now"
    )]
    RotateSecret {
        /// The name or id of the client.
        client: String,
        /// How long the old secret stays valid.
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
        overlap: Duration,
        /// Invalidate the old secret at once, because others know it; also revokes the client's tokens.
        #[arg(long, conflicts_with = "overlap")]
        now: bool,
    },
    /// Disable a client: refuse its requests, revoke its tokens and end its sessions
    Disable {
        /// The name or id of the client.
        client: String,
    },
    /// Enable a disabled client
    Enable {
        /// The name or id of the client.
        client: String,
    },
    /// Delete a client, revoke its tokens and end its sessions
    Delete {
        /// The name or id of the client.
        client: String,
    },
}

/// What a client may do.
#[derive(Args, Debug)]
pub(super) struct Permissions {
    /// A scope that the client may request (repeatable). `admin` admits it to /admin; `introspect` lets it introspect all tokens.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// An audience for which the client may exchange tokens (repeatable).
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// A URI to which users may be redirected after the login (repeatable).
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// A file with the client's public keys (JSON Web Key or JWK Set); the client then signs assertions and has no secret.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

impl Permissions {
    fn is_empty(&self) -> bool {
        let lists = [&self.scopes, &self.audiences, &self.redirect_uris];
        self.jwks.is_none() && lists.iter().all(|list| list.is_empty())
    }

    fn keys(&self) -> Result<Option<Value>, CliError> {
        let Some(path) = &self.jwks else { return Ok(None) };
        let failed = |why: &dyn std::fmt::Display| CliError::Failed(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        serde_json::from_str(&text).map(Some).map_err(|_| {
            failed(
                &"the file is not JSON; a JSON Web Key or a JWK Set \
            is expected",
            )
        })
    }
}

impl From<BadClient> for CliError {
    fn from(bad: BadClient) -> Self {
        Self::Usage(bad.to_string())
    }
}

/// Runs a client command.
pub(super) async fn run(command: ClientCommand, ctx: &Context) -> Result<(), CliError> {
    let store = open_store(&ctx.settings, Arc::clone(&ctx.clock)).await?;
    match command {
        ClientCommand::Add { name, permissions, public } => {
            add(&*store, ctx, name, permissions, public).await
        }
        ClientCommand::List => list(&*store, ctx).await,
        ClientCommand::Show { client } => show(ctx, &find(&*store, &client).await?),
        ClientCommand::Change { client, permissions } => {
            if permissions.is_empty() {
                let why = "nothing to change: give --scope, --audience, --redirect-uri or --jwks";
                return Err(CliError::Usage(why.into()));
            }
            let some = |list: Vec<String>| if list.is_empty() { None } else { Some(list) };
            let jwks = permissions.keys()?.map(registration::jwks).transpose()?;
            let change = ClientChange {
                scopes: some(permissions.scopes).map(registration::scopes).transpose()?,
                audiences: some(permissions.audiences).map(registration::audiences).transpose()?,
                redirect_uris: some(permissions.redirect_uris)
                    .map(registration::redirect_uris)
                    .transpose()?,
                jwks,
                ..ClientChange::default()
            };
            let row = self::change(&*store, &client, change, Event::ClientChanged).await?;
            show(ctx, &row)
        }
        ClientCommand::RotateSecret { client, overlap, now } => {
            let overlap = if now { Duration::ZERO } else { overlap };
            rotate(&*store, ctx, &client, overlap).await
        }
        ClientCommand::Disable { client } => switch(&*store, ctx, &client, Switch::Off).await,
        ClientCommand::Enable { client } => switch(&*store, ctx, &client, Switch::On).await,
        ClientCommand::Delete { client } => {
            let row = find(&*store, &client).await?;
            store.delete_client(&row.id, actor::event(Event::ClientDeleted, "")).await?;
            if ctx.json {
                let shown = json!({"deleted": {"id": row.id.as_str(), "name": row.name}});
                return ctx.print(&shown.to_string());
            }
            ctx.say(&format!("{}: deleted, its tokens revoked", row.name));
            Ok(())
        }
    }
}

/// Returns the JSON view of a client, with times of the form RFC 3339.
fn describe(row: &ClientRow) -> Value {
    rfc3339(registration::describe(row), &["created_at", "former_secret_until"])
}

/// Returns a client by name or id. The error says how to list all clients.
async fn find(store: &dyn Store, client: &str) -> Result<ClientRow, CliError> {
    if let Ok(id) = ClientId::new(client)
        && let (Some(row), _) = store.client(&id).await?
    {
        return Ok(row);
    }
    let row = all(store).await?.into_iter().find(|row| row.name == client);
    row.ok_or_else(|| {
        CliError::NotFound(format!("there is no client {client:?}; `bulla client list` lists all clients"))
    })
}

async fn all(store: &dyn Store) -> Result<Vec<ClientRow>, CliError> {
    let mut rows: Vec<ClientRow> = Vec::new();
    loop {
        let page = store.clients(rows.last().map(|row| &row.id), 500).await?;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page);
    }
}

async fn add(
    store: &dyn Store,
    ctx: &Context,
    name: String,
    permissions: Permissions,
    public: bool,
) -> Result<(), CliError> {
    let jwks = permissions.keys()?;
    let Permissions { scopes, audiences, redirect_uris, .. } = permissions;
    let (new, secret) = Registration { name, scopes, audiences, redirect_uris, jwks, public }.client()?;
    let row = store.add_client(new, actor::event(Event::ClientAdded, "")).await?;
    print_credentials(ctx, &row, secret.as_ref())
}

/// Prints the data that the client's operator needs. The secret is printed to stdout with it, so that a pipe can pass it to the
/// place where it is stored.
fn print_credentials(ctx: &Context, row: &ClientRow, secret: Option<&SecretText>) -> Result<(), CliError> {
    if ctx.json {
        let mut shown = describe(row);
        if let Some(secret) = secret {
            shown["client_secret"] = secret.expose().into();
        }
        return ctx.print(&shown.to_string());
    }
    let mut lines = vec![vec!["client_id".to_owned(), row.id.to_string()]];
    lines.extend(secret.map(|secret| vec!["client_secret".to_owned(), secret.expose().to_owned()]));
    if secret.is_some() {
        ctx.say(&format!(
            "The secret is shown only now; `bulla client rotate-secret {}` creates a new one.",
            row.id
        ));
    }
    ctx.print(&table(&lines))
}

async fn change(
    store: &dyn Store,
    client: &str,
    change: ClientChange,
    event: Event,
) -> Result<ClientRow, CliError> {
    let row = find(store, client).await?;
    let changed = store.change_client(&row.id, change, actor::event(event, "")).await?;
    changed.ok_or_else(|| CliError::NotFound(format!("the client {} was deleted in the meantime", row.name)))
}

async fn rotate(store: &dyn Store, ctx: &Context, client: &str, overlap: Duration) -> Result<(), CliError> {
    let drawn = registration::generate_secret();
    let (secret, hash) = drawn.map_err(|error| CliError::Failed(error.to_string()))?;
    let change = ClientChange { secret: Some(NewSecret { hash, overlap }), ..ClientChange::default() };
    let row = self::change(store, client, change, Event::ClientSecret).await?;
    ctx.say(&match row.former {
        Some(_) => format!("{}: the old secret stays valid for {}", row.name, format_duration(overlap)),
        None => format!("{}: the old secret is no longer valid, its tokens revoked", row.name),
    });
    print_credentials(ctx, &row, Some(&secret))
}

/// Whether a client is enabled.
#[derive(Clone, Copy)]
enum Switch {
    On,
    Off,
}

async fn switch(store: &dyn Store, ctx: &Context, client: &str, to: Switch) -> Result<(), CliError> {
    let (disabled, event, state) = match to {
        Switch::On => (false, Event::ClientEnabled, "enabled"),
        Switch::Off => (true, Event::ClientDisabled, "disabled, its tokens revoked"),
    };
    let change = ClientChange { disabled: Some(disabled), ..ClientChange::default() };
    let row = self::change(store, client, change, event).await?;
    if ctx.json {
        return show(ctx, &row);
    }
    ctx.say(&format!("{}: {state}", row.name));
    Ok(())
}

/// Returns how a client authenticates.
fn kind(row: &ClientRow) -> &'static str {
    match (&row.secret_hash, &row.jwks, &row.former) {
        (_, Some(_), _) => "keys",
        (Some(_), None, Some(_)) => "two secrets",
        (Some(_), None, None) => "secret",
        (None, None, _) if row.is_public() => "public",
        (None, None, _) => "none",
    }
}

fn state(row: &ClientRow) -> &'static str {
    if row.disabled { "disabled" } else { "enabled" }
}

fn show(ctx: &Context, row: &ClientRow) -> Result<(), CliError> {
    if ctx.json {
        return ctx.print(&describe(row).to_string());
    }
    let audiences: Vec<_> = row.audiences.iter().map(Audience::as_str).collect();
    let mut lines = vec![
        vec!["name", &row.name],
        vec!["id", row.id.as_str()],
        vec!["authentication", kind(row)],
        vec!["state", state(row)],
    ]
    .into_iter()
    .map(|line| line.into_iter().map(str::to_owned).collect())
    .collect::<Vec<Vec<String>>>();
    lines.push(vec!["scopes".into(), row.scopes.to_string()]);
    lines.push(vec!["audiences".into(), audiences.join(" ")]);
    lines.push(vec!["redirect URIs".into(), row.redirect_uris.join(" ")]);
    lines.extend(row.former.map(|former| vec!["old secret valid until".into(), former.until.to_string()]));
    lines.push(vec!["added".into(), row.created_at.to_string()]);
    ctx.print(&table(&lines))
}

async fn list(store: &dyn Store, ctx: &Context) -> Result<(), CliError> {
    let rows = all(store).await?;
    let unreadable = store.unreadable_rows().await?;
    say_skipped_rows(unreadable.iter().filter(|row| row.table == "clients").count(), ctx);
    if ctx.json {
        return ctx.print(&json!({"clients": rows.iter().map(describe).collect::<Vec<_>>()}).to_string());
    }
    let mut lines = vec![["ID", "NAME", "AUTH", "SCOPES", "STATE"].map(String::from).to_vec()];
    lines.extend(rows.iter().map(|row| {
        vec![
            row.id.to_string(),
            row.name.clone(),
            kind(row).into(),
            row.scopes.to_string(),
            state(row).into(),
        ]
    }));
    ctx.print(&table(&lines))
}
