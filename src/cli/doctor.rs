//! `bulla doctor`: looks at everything an installation needs, says what is wrong and what to change.

use std::sync::Arc;

use serde_json::json;

use super::{CliError, Context, open_store, print, table};
use crate::{
    config::Settings,
    fetch::Fetch,
    http::way_back,
    identity::openid::{Provider, examine},
    keyring::KeyDirectory,
};

/// One thing that was looked at: how it is, or what is wrong with it and what mends it.
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

/// Looks at all of it; exit code 6 if anything is wrong.
pub(super) async fn run(ctx: &Context) -> Result<(), CliError> {
    let mut checks = vec![Check::new("settings", Ok::<_, String>("they agree"))];
    installation(ctx, &mut checks).await;
    providers(ctx, &mut checks).await;
    report(&checks, ctx.json)
}

/// Settings that can't be used are a fault like any other, and the only one that can be found then.
pub(super) fn bad_settings(error: &CliError, as_json: bool) -> Result<(), CliError> {
    report(&[Check::new("settings", Err::<String, _>(error))], as_json)
}

/// The key ring and the database, and whether they belong together.
async fn installation(ctx: &Context, checks: &mut Vec<Check>) {
    let settings = &ctx.settings;
    let directory = KeyDirectory::new(&settings.keys).allow_group_read(settings.allow_group_read);
    let ring = directory.load();
    let described =
        ring.as_ref().map(|ring| format!("generation {}, {} keys", ring.generation, ring.keys.len()));
    checks.push(Check::new("key ring", described));
    let store = match open_store(settings, Arc::clone(&ctx.clock)).await {
        Ok(store) => store,
        Err(error) => return checks.push(Check::new("database", Err::<String, _>(error))),
    };
    checks.push(Check::new("database", store.healthy().await.map(|()| "answers and can be written")));
    let triggers = match store.missing_triggers().await {
        Ok(missing) if missing.is_empty() => Ok("all there".to_owned()),
        Ok(missing) => Err(format!(
            "{} missing or disabled: sessions can end without being revoked; enable them, or make a new database and copy the rows into it",
            missing.join(", ")
        )),
        Err(error) => Err(error.to_string()),
    };
    checks.push(Check::new("triggers", triggers));
    if let Ok(ring) = ring {
        let agreed = match store.ring_mark().await {
            Ok(mark) => ring.check_mark(mark).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        checks.push(Check::new("ring and database", agreed.map(|()| "of one installation")));
    }
}

/// Each provider, as a login would meet it.
async fn providers(ctx: &Context, checks: &mut Vec<Check>) {
    let fetch = Arc::new(Fetch::default());
    for settings in &ctx.settings.providers {
        let redirect = way_back(&origin(&ctx.settings), &settings.name);
        let provider = Provider::new(settings.clone(), Arc::clone(&fetch));
        for finding in examine(&provider, &redirect, ctx.clock.now()).await {
            checks.push(Check::new(format!("{}: {}", settings.name, finding.what), finding.found));
        }
    }
}

/// Where browsers see the server.
fn origin(settings: &Settings) -> String {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    settings.public_url.clone().unwrap_or_else(|| format!("{scheme}://localhost:{}", settings.listen.port()))
}

fn report(checks: &[Check], as_json: bool) -> Result<(), CliError> {
    let faults = checks.iter().filter(|check| check.found.is_err()).count();
    if as_json {
        let line = |check: &Check| match &check.found {
            Ok(detail) => json!({"name": check.name, "ok": true, "detail": detail}),
            Err(detail) => json!({"name": check.name, "ok": false, "detail": detail}),
        };
        let lines: Vec<_> = checks.iter().map(line).collect();
        print(&json!({"faults": faults, "checks": lines}).to_string())?;
    } else {
        let line = |check: &Check| match &check.found {
            Ok(detail) => vec!["ok".into(), check.name.clone(), detail.clone()],
            Err(detail) => vec!["FAULT".into(), check.name.clone(), detail.clone()],
        };
        print(&table(&checks.iter().map(line).collect::<Vec<_>>()))?;
    }
    match faults {
        0 => Ok(()),
        1 => Err(CliError::Faults("1 fault found".into())),
        more => Err(CliError::Faults(format!("{more} faults found"))),
    }
}
