//! `bulla keys`: manages the keys directory. No other command changes an existing key ring (docs/design/keys.md).

mod database;
mod export;
mod report;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use self::database::{Database, names};
use crate::{
    cli::{CliError, Context, actor},
    clock::{SKEW, Timestamp},
    config::{format_duration, parse_duration},
    ids::{Audience, Kid, Purpose},
    keyring::{KeyDirectory, KeyState, Ring, RingError, Suite},
    session::{Policy, SERVICE_MAX_AGE},
    store::{Event, Inspection},
};

/// How long a rotation waits for servers by default. A server that has died counts as gone after this time.
const WAIT: &str = "10s";
/// How long a retired key is kept by default.
const KEEP: Duration = Duration::from_secs(2 * 3600);

/// `bulla keys` and what it is to do.
#[derive(Args, Debug)]
pub struct KeysArgs {
    /// Don't use the database: write no audit events, and don't check which servers have loaded the key ring
    #[arg(long, global = true)]
    no_database: bool,
    #[command(subcommand)]
    command: KeysCommand,
}

/// The commands that list, roll over, revoke and export keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys and their states, and the generation of the key ring on each server.
    List,
    /// Roll over: the staged key becomes active, the active key is retired, and a new key is staged.
    ///
    /// Refused while the staged key is too young, or a server has not loaded it yet.
    Rotate(RotateArgs),
    /// Revoke a key: all tokens sealed with it are refused at once.
    #[command(
        after_help = "Examples:\n  bulla keys revoke 9f3c21ab\n  bulla keys revoke --all    # the ring was stolen"
    )]
    Revoke(RevokeArgs),
    /// Refuse all tokens sealed before a time.
    #[command(
        after_help = "Examples:\n  bulla keys not-before now\n  bulla keys not-before 2026-11-20T19:00:00Z"
    )]
    NotBefore {
        /// `now`, or a time in UTC.
        #[arg(default_value = "now", value_parser = parse_when)]
        when: When,
    },
    /// Print derived keys for a service that opens tokens without the server.
    #[command(
        after_help = "Examples:\n  bulla keys export --audience billing --out billing.keys.json\n  bulla keys export --audience billing --format env --out billing.env\n  bulla keys export --purpose service --audience billing"
    )]
    Export(ExportArgs),
    /// Load the key ring as a server does, and check whether it can be rolled over.
    Check {
        /// The minimum age of the staged key.
        #[arg(long, default_value = "10m", value_parser = parse_duration)]
        min_staged: Duration,
    },
}

/// How to roll over.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  bulla keys rotate\n  bulla keys rotate --now --keep 4h")]
pub struct RotateArgs {
    /// Roll over however young the staged key is; servers that have not loaded it yet refuse the new tokens.
    #[arg(long, conflicts_with = "min_staged")]
    now: bool,
    /// The minimum age of the staged key.
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    min_staged: Duration,
    /// How long a retired key is kept; at least the longest life of a token plus one minute [default: 2h].
    #[arg(long, value_parser = parse_duration)]
    keep: Option<Duration>,
    /// How long to wait, before and after the rollover, for servers that have not loaded the key ring; 0s: no waiting.
    #[arg(long, default_value = WAIT, value_parser = parse_duration)]
    wait: Duration,
}

/// What to revoke.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct RevokeArgs {
    /// The id of the key, as `bulla keys list` shows it.
    kid: Option<Kid>,
    /// Revoke all keys, including the staged key; all users must log in again.
    #[arg(long)]
    all: bool,
}

/// What to export.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The purpose of the tokens: `access`, `service`, or a purpose of your own.
    #[arg(long, default_value = "access")]
    purpose: Purpose,
    /// The audience: the service that opens the tokens.
    #[arg(long, conflicts_with = "own")]
    audience: Option<Audience>,
    /// Export the keys of the server's own cookies; their holder can forge access tokens of all users.
    #[arg(long)]
    own: bool,
    /// The maximum age of a token, for a purpose of your own.
    #[arg(long, value_parser = parse_duration)]
    max_age: Option<Duration>,
    /// The output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The file to write (mode 0600) instead of stdout.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// How an export is written down.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Format {
    /// One JSON object, as the client libraries read it.
    #[default]
    Json,
    /// A line for an environment file: `BULLA_EXPORT=` and the JSON object in base64url.
    Env,
    /// A JWK Set (RFC 7517).
    Jwk,
}

/// A time given on the command line.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// The time at which the command runs.
    Now,
    /// The given time.
    At(Timestamp),
}

fn parse_when(text: &str) -> Result<When, String> {
    if text == "now" {
        return Ok(When::Now);
    }
    text.parse().map(When::At).map_err(|e| format!("`{text}` is neither `now` nor a time: {e}"))
}

/// Returns the note to print when keys of a suite are created, if there is one.
pub const fn suite_note(suite: Suite) -> Option<&'static str> {
    match suite {
        Suite::Aes256Gcm => Some(
            "note: a key of suite aes-256-gcm may seal at most 2^32 tokens on all servers together; roll over well before that",
        ),
        _ => None,
    }
}

/// Runs a keys command.
pub async fn run(args: KeysArgs, ctx: &Context) -> Result<(), CliError> {
    let keys = KeyDirectory::new(&ctx.settings.keys).allow_group_read(ctx.settings.allow_group_read);
    let database = match &args.command {
        _ if args.no_database => Database::none(),
        KeysCommand::Rotate(_) => {
            keys.load()?;
            Database::open_required(ctx).await?
        }
        _ => Database::open(ctx).await,
    };
    let now = ctx.clock.now();
    match args.command {
        KeysCommand::List => {
            let ring = keys.load()?;
            report::list(ctx, &ring, &database.nodes(ctx).await, now)
        }
        KeysCommand::Rotate(args) => rotate(ctx, &keys, &database, &args, now).await,
        KeysCommand::Revoke(args) => revoke(ctx, &keys, &database, &args, now).await,
        KeysCommand::NotBefore { when } => not_before(ctx, &keys, &database, when, now).await,
        KeysCommand::Export(args) => export::export(ctx, &keys, &database, &args).await,
        KeysCommand::Check { min_staged } => {
            let mark = database.mark(ctx).await;
            report::check(ctx, &keys, mark, min_staged, now)
        }
    }
}

async fn rotate(
    ctx: &Context,
    keys: &KeyDirectory,
    database: &Database,
    args: &RotateArgs,
    now: Timestamp,
) -> Result<(), CliError> {
    let least = least_keep(&ctx.settings.policy);
    let keep = args.keep.unwrap_or(KEEP.max(least));
    if keep < least {
        return Err(CliError::Usage(format!(
            "--keep {} is too short: tokens are valid for up to {}, and their key must be kept longer than that; use \
             at least --keep {}s",
            format_duration(keep),
            format_duration(least - SKEW),
            least.as_secs()
        )));
    }
    let old = keys.load()?;
    old.check_mark(database.mark(ctx).await)?;
    // A server without this ring does not have its staged key. It would refuse tokens sealed under that key.
    let behind =
        if args.now { Vec::new() } else { database.servers_behind(ctx, old.generation, args.wait).await };
    if !behind.is_empty() {
        return Err(CliError::Failed(format!(
            "not rolled over: generation {} of the key ring is not yet loaded on {}; distribute the keys directory, \
             or give --now to roll over nevertheless",
            old.generation,
            names(&behind)
        )));
    }
    let min_staged = if args.now { Duration::ZERO } else { args.min_staged };
    let keep = match database.clock_doubt(old.newest_change(), now).await {
        None => keep,
        Some(doubt) => {
            ctx.say(&format!("warning: no retired key is deleted: {doubt}"));
            Duration::MAX
        }
    };
    let ring = keys.rotate(min_staged, keep, now)?;
    let active = ring.active().map(|key| key.kid.to_string()).unwrap_or_default();
    let staged = ring.staged().map(|key| key.kid.to_string());
    let detail = json!({ "generation": ring.generation, "staged": staged });
    database.record(ctx, actor::event(Event::KeyRotated, active).with(detail)).await;
    note_suite(ctx, &ring);
    let behind = match args.wait.is_zero() {
        true => Vec::new(),
        false => database.servers_behind(ctx, ring.generation, args.wait).await,
    };
    if !behind.is_empty() {
        ctx.say(&format!(
            "warning: generation {} of the key ring is not yet loaded on {}",
            ring.generation,
            names(&behind)
        ));
    }
    report::changed(ctx, &ring, now)
}

async fn revoke(
    ctx: &Context,
    keys: &KeyDirectory,
    database: &Database,
    args: &RevokeArgs,
    now: Timestamp,
) -> Result<(), CliError> {
    let mark = database.mark(ctx).await;
    let mut old = keys.listing().ok();
    let ring = match args.kid {
        Some(kid) => {
            // A revocation may repair a damaged ring, so it continues if the ring can't be loaded. It stops if the ring is an old
            // copy.
            if let Ok(old) = keys.load() {
                old.check_mark(mark)?;
            }
            old = Some(keys.listing()?);
            keys.revoke(kid, now)?
        }
        None => keys.revoke_all(mark.map_or(0, |(generation, _)| generation), now)?,
    };
    let revoked = |kid| ring.keys.iter().any(|key| key.kid == kid && key.state == KeyState::Revoked);
    // If the ring was lost, the names of its keys are unknown.
    let kids = old.iter().flat_map(|old| &old.keys);
    if old.is_none() {
        let detail = json!({ "generation": ring.generation, "all": true });
        database.record(ctx, actor::event(Event::KeyRevoked, "").with(detail)).await;
    }
    for key in kids.filter(|key| key.state != KeyState::Revoked && revoked(key.kid)) {
        let detail = json!({ "generation": ring.generation, "all": args.all });
        database.record(ctx, actor::event(Event::KeyRevoked, key.kid.to_string()).with(detail)).await;
    }
    note_suite(ctx, &ring);
    report::changed(ctx, &ring, now)
}

async fn not_before(
    ctx: &Context,
    keys: &KeyDirectory,
    database: &Database,
    when: When,
    now: Timestamp,
) -> Result<(), CliError> {
    let old = keys.load()?;
    old.check_mark(database.mark(ctx).await)?;
    let not_before = match when {
        When::Now => now.max(old.not_before),
        When::At(time) if time > now => {
            return Err(CliError::Usage(format!(
                "{time} is in the future: all tokens, including new ones, would be refused until then"
            )));
        }
        When::At(time) => time,
    };
    if not_before < old.not_before {
        ctx.say(&format!(
            "warning: tokens sealed between {not_before} and {} are accepted again",
            old.not_before
        ));
    }
    let ring = keys.not_before(not_before, now)?;
    let detail = json!({ "generation": ring.generation, "not_before": not_before });
    database.record(ctx, actor::event(Event::KeyNotBefore, "").with(detail)).await;
    report::changed(ctx, &ring, now)
}

/// Returns the remedy for a lost ring that the database has recorded.
pub(super) fn lost_ring(path: &std::path::Path) -> String {
    format!(
        "{}: the key ring is missing. The database has recorded a key ring, so bulla init does not create a new one; \
         restore the newest copy of the keys directory. If there is no copy, `bulla keys revoke --all` creates a new \
         key ring, and all users must log in again",
        path.display()
    )
}

/// Explains why there is no ring at a path: either none was ever created, or it was lost.
pub(super) async fn no_ring(path: std::path::PathBuf, ctx: &Context) -> CliError {
    match ctx.settings.database.inspect(&*ctx.clock).await {
        Ok(Inspection::Present(facts)) if facts.ring_mark.is_some() => CliError::NotFound(lost_ring(&path)),
        _ => CliError::NoRing(path),
    }
}

/// Returns the longest remaining life of a token under a retired key, plus the skew.
fn least_keep(policy: &Policy) -> Duration {
    policy.access_max_age.max(policy.refresh_idle).max(SERVICE_MAX_AGE) + SKEW
}

fn note_suite(ctx: &Context, ring: &Ring) {
    if let Some(note) = ring.staged().and_then(|key| suite_note(key.suite)) {
        ctx.say(note);
    }
}

impl From<RingError> for CliError {
    fn from(error: RingError) -> Self {
        match error {
            RingError::Missing(path) => Self::NoRing(path),
            RingError::NoSuchKey(_) => Self::NotFound(error.to_string()),
            RingError::Bad { .. } | RingError::Denied(_) | RingError::Refused(_) => {
                Self::Failed(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retired_key_outlives_every_token_and_the_skew() {
        let mut policy = Policy::default();
        assert_eq!(least_keep(&policy), Duration::from_secs(3660));
        policy.refresh_idle = Duration::from_secs(12 * 3600);
        assert_eq!(least_keep(&policy), Duration::from_secs(12 * 3600 + 60));
    }
}
