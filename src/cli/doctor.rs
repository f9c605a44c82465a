//! `bulla doctor`: checks everything an installation needs, and prints the faults with their remedies.

use std::sync::Arc;

use serde_json::json;

mod clock;
mod site;
mod tls;

use super::{CliError, Context, keys::lost_ring, modes, print, suggest::Suggest, table};
use crate::{
    clock::since_boot,
    config::Settings,
    fetch::Fetch,
    http::{PREFIX, callback_url},
    identity::openid::{Provider, examine},
    keyring::{KeyDirectory, RingError},
    store::{
        Database, DatabaseFacts, Inspection, UnreadableRow,
        clock_leap::{ClockReading, detect_leap},
    },
};

/// The result of the check of the settings.
const ALL_VALID: &str = "all settings are valid";

/// The result of one check: the state that was found, or the fault with its remedy.
struct Check {
    name: String,
    found: Result<String, String>,
}

impl Check {
    fn new(name: impl Into<String>, found: Result<impl Into<String>, impl ToString>) -> Self {
        let found = found.map(Into::into).map_err(|error| error.to_string());
        Self { name: name.into(), found }
    }
}

/// Runs all checks. The exit code is 6 if any check finds a fault.
pub(super) async fn run(ctx: &Context) -> Result<(), CliError> {
    let mut checks = vec![Check::new("settings", Ok::<_, String>(ALL_VALID))];
    installation(ctx, &mut checks).await;
    secrets(ctx, &mut checks);
    checks.extend(site::examine(&ctx.settings, &Fetch::default()).await);
    if let Some(files) = &ctx.settings.tls {
        checks.push(tls::examine(files, ctx.settings.public_url.as_deref(), ctx.clock.now()));
    }
    providers(ctx, &mut checks).await;
    report(&checks, ctx.json, &ctx.suggest)
}

/// Reports settings that can't be used, as faults like any others. No other check is possible without settings.
pub(super) fn bad_settings(faults: &[String], as_json: bool, suggest: &Suggest) -> Result<(), CliError> {
    let checks: Vec<_> = faults.iter().map(|fault| Check::new("settings", Err::<String, _>(fault))).collect();
    report(&checks, as_json, suggest)
}

/// Reports that the settings can be used.
pub(super) fn good_settings(ctx: &Context) -> Result<(), CliError> {
    report(&[Check::new("settings", Ok::<_, String>(ALL_VALID))], ctx.json, &ctx.suggest)
}

/// Checks the key ring and the database, and whether they belong together. Only reads both.
async fn installation(ctx: &Context, checks: &mut Vec<Check>) {
    let settings = &ctx.settings;
    let directory = KeyDirectory::new(&settings.keys).allow_group_read(settings.allow_group_read);
    let facts = database(ctx, checks).await;
    let mark = facts.as_ref().and_then(|facts| facts.ring_mark);
    let ring = directory.load().map_err(|error| match (&error, mark) {
        // If the database has recorded another ring, a new ring is refused, so `init` would not repair this.
        (RingError::Missing(path), Some(_)) => lost_ring(path),
        _ => error.to_string(),
    });
    let described =
        ring.as_ref().map(|ring| format!("generation {}, {} keys", ring.generation, ring.keys.len()));
    checks.insert(1, Check::new("key ring", described));
    if let (Ok(ring), Some(_)) = (ring, facts) {
        checks.push(Check::new(
            "key ring and database",
            ring.check_mark(mark).map(|()| "they belong together"),
        ));
    }
}

/// Checks the database and its triggers. Returns the other facts read from it.
async fn database(ctx: &Context, checks: &mut Vec<Check>) -> Option<DatabaseFacts> {
    let database = &ctx.settings.database;
    let facts = match database.inspect(&*ctx.clock).await {
        Ok(Inspection::Present(facts)) => *facts,
        Ok(found) => {
            checks.push(Check::new("database", Err::<String, _>(unusable(database, &found))));
            return None;
        }
        Err(error) => {
            checks.push(Check::new("database", Err::<String, _>(error)));
            return None;
        }
    };
    let written = facts.unwritable.clone().map_or(Ok("reachable and writable"), Err);
    checks.push(Check::new("database", written));
    let triggers = match facts.triggers.as_slice() {
        [] => Ok("all present and unchanged"),
        missing => Err(format!(
            "{} missing, disabled or changed: a session that is deleted in a database shell is not revoked; `bulla \
             init` restores the triggers",
            missing.join(", ")
        )),
    };
    checks.push(Check::new("triggers", triggers));
    rows(&facts.unreadable, checks);
    // Uses the last reading of a server. If there is none, uses the reading that a server would take now.
    if let Some(leap) =
        detect_leap(facts.clock, None, ClockReading { now: facts.now, boot: since_boot() }).leap
    {
        checks.push(Check::new("clock", Err::<String, _>(leap)));
    }
    if let Some(fault) = clock::clock_fault(ctx.clock.now(), &facts) {
        checks.push(Check::new("clock", Err::<String, _>(fault)));
    }
    Some(facts)
}

/// Explains why a database that belongs to no installation can't be used.
pub(super) fn unusable(database: &Database, found: &Inspection) -> String {
    match found {
        Inspection::Schema { found, known } if found < known => format!(
            "{database}: the schema has version {found}, this program needs version {known}; `bulla init` updates \
             the schema, and so does the next start of the server"
        ),
        Inspection::Schema { found, known } => format!(
            "{database}: the schema has version {found}, this program knows versions up to {known}; run a newer \
             version of bulla"
        ),
        Inspection::Foreign(tables) if !tables.is_empty() && matches!(database, Database::Sqlite(_)) => {
            format!(
                "{database}: this is the database of another program (its tables: {}); name the database of Bulla with --database",
                tables.join(", ")
            )
        }
        Inspection::Missing | Inspection::Foreign(_) | Inspection::Present(_) => super::no_database(database),
    }
}

/// Reports each row that can't be read, with the statement that repairs it.
fn rows(unreadable: &[UnreadableRow], checks: &mut Vec<Check>) {
    if unreadable.is_empty() {
        checks.push(Check::new("rows", Ok::<_, String>("all rows can be read")));
    }
    checks.extend(unreadable.iter().map(|row| {
        let UnreadableRow { table, key, column } = row;
        let found = format!(
            "table {table}, row {key}: the column {column} can't be read; this statement repairs it: {}",
            row.repair_statement()
        );
        Check::new("rows", Err::<String, _>(found))
    }));
}

/// Reports files with secrets that other users may read or write.
fn secrets(ctx: &Context, checks: &mut Vec<Check>) {
    let open = modes::open_to_others(ctx);
    checks.extend(open.into_iter().map(|fault| Check::new("secrets", Err::<String, _>(fault))));
}

/// Checks each provider in the same way as a login uses it.
async fn providers(ctx: &Context, checks: &mut Vec<Check>) {
    let fetch = Arc::new(Fetch::default());
    for settings in &ctx.settings.providers {
        let redirect = callback_url(&origin(&ctx.settings), PREFIX, &settings.name);
        let provider = Provider::new(settings.clone(), Arc::clone(&fetch));
        for finding in examine(&provider, &redirect, ctx.clock.now()).await {
            checks.push(Check::new(format!("{}: {}", settings.name, finding.what), finding.found));
        }
    }
}

/// Returns the origin under which browsers reach the server.
fn origin(settings: &Settings) -> String {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    settings.public_url.clone().unwrap_or_else(|| format!("{scheme}://localhost:{}", settings.listen.port()))
}

fn report(checks: &[Check], as_json: bool, suggest: &Suggest) -> Result<(), CliError> {
    let faults = checks.iter().filter(|check| check.found.is_err()).count();
    if as_json {
        let line = |check: &Check| match &check.found {
            Ok(detail) => json!({"name": check.name, "ok": true, "detail": detail}),
            Err(detail) => json!({"name": check.name, "ok": false, "detail": suggest.complete(detail)}),
        };
        let lines: Vec<_> = checks.iter().map(line).collect();
        print(&json!({"faults": faults, "checks": lines}).to_string())?;
    } else {
        let line = |check: &Check| match &check.found {
            Ok(detail) => vec!["ok".into(), check.name.clone(), detail.clone()],
            Err(detail) => vec!["FAULT".into(), check.name.clone(), suggest.complete(detail)],
        };
        print(&table(&checks.iter().map(line).collect::<Vec<_>>()))?;
    }
    match faults {
        0 => Ok(()),
        1 => Err(CliError::Faults("1 fault found".into())),
        more => Err(CliError::Faults(format!("{more} faults found"))),
    }
}
