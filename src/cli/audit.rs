//! `bulla audit`: prints the audit log, and exports it.

mod ecs;
mod export;

use std::{collections::HashSet, sync::Arc, time::Duration};

use clap::{Args, Subcommand};

use super::{CliError, Context, open_store};
use crate::{
    clock::Timestamp,
    config::parse_duration,
    ids::UserId,
    store::{AUDIT_PAGE_MAX, AuditQuery, AuditRow, Event, Store, read_audit_event, read_audit_time},
};

/// How often new events are read while the log is followed.
const LOOK: Duration = Duration::from_millis(300);

/// The number of events that are printed without `--limit`.
const LIMIT: u32 = 50;

/// What to print.
#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    #[command(flatten)]
    filters: Filters,
    /// Keep running, and print new events.
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    /// The number of newest events to print [default: 50].
    #[arg(long)]
    limit: Option<u32>,
}

impl AuditArgs {
    fn has_options(&self) -> bool {
        let Filters { since, until, user, event } = &self.filters;
        let filtered = since.is_some() || until.is_some() || user.is_some() || event.is_some();
        filtered || self.follow || self.limit.is_some()
    }
}

/// What to do with the audit log besides printing it.
#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Print the events as JSON lines for a SIEM, from the oldest
    #[command(
        after_help = "Examples:\n  bulla audit export --since 2026-11-01T00:00:00Z\n  bulla audit export --after 1200"
    )]
    Export(export::ExportArgs),
}

/// Which events to print.
#[derive(Args, Debug)]
struct Filters {
    /// Print only events since this time: 2026-11-20T19:00:00Z, or how long ago: 2h.
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    since: Option<Time>,
    /// Print only events before this time: 2026-11-20T19:00:00Z, or how long ago: 2h.
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    until: Option<Time>,
    /// Print only events that this user caused or that are about this user: a name, or the id of a deleted user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print only events of this kind: login, login.failed, user.changed, …
    #[arg(long, value_parser = read_event)]
    event: Option<Event>,
}

/// A time on the command line.
#[derive(Clone, Copy, Debug)]
enum Time {
    /// A point in time.
    At(Timestamp),
    /// A duration before the present time.
    Ago(Duration),
}

impl Time {
    fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(duration) => now.minus(duration),
        }
    }
}

fn read_time(text: &str) -> Result<Time, String> {
    let ago = || parse_duration(text).ok().map(Time::Ago);
    // A short number is meant as a duration, and its unit is missing.
    let is_short_number = text.len() < 11 && text.bytes().all(|byte| byte.is_ascii_digit());
    let at = read_audit_time(text).filter(|_| !is_short_number).map(Time::At);
    at.or_else(ago).ok_or_else(|| {
        "not a time; write it in UTC, for example 2026-11-20T19:00:00Z, or write how long ago it was, for example 2h".into()
    })
}

fn read_event(text: &str) -> Result<Event, String> {
    let form = || "not a kind of event; write it in small letters, for example login or login.failed".into();
    read_audit_event(text).ok_or_else(form)
}

/// Prints events, one per line.
pub(super) async fn run(args: &AuditArgs, ctx: &Context) -> Result<(), CliError> {
    if args.command.is_some() && args.has_options() {
        return Err(CliError::Usage("the options of an export are written after the word export".into()));
    }
    let store = open_store(&ctx.settings, Arc::clone(&ctx.clock)).await?;
    if let Some(AuditCommand::Export(args)) = &args.command {
        return export::run(args, &*store, ctx).await;
    }
    let limit = args.limit.unwrap_or(LIMIT);
    // The row before the first one tells whether more events fit.
    let query = AuditQuery { limit: limit.saturating_add(1), ..args.filters.query(&*store, ctx).await? };
    let mut rows = store.find_audit(query.clone()).await?;
    let has_more = rows.len() > limit as usize;
    if has_more {
        rows.remove(0);
    }
    if let Some(Event::Other(kind)) = args.filters.event.as_ref().filter(|_| rows.is_empty()) {
        ctx.say(&format!("this version of bulla writes no event of the kind {kind}"));
    }
    if args.filters.since.is_some() && has_more {
        ctx.say(&format!("only the newest {} events are printed; --limit sets another number", rows.len()));
    }
    // Numbers can be assigned in one order and committed in another, so an event between the shown ones may still be missing.
    // Following therefore starts before them and skips the events that were already shown.
    let shown: HashSet<i64> = rows.iter().map(|row| row.seq).collect();
    let mut last = match rows.first() {
        Some(row) => row.seq.saturating_sub(1),
        None => store.audit(None, 1).await?.last().map_or(0, |row| row.seq),
    };
    let mut more_follow = false;
    loop {
        for row in &rows {
            ctx.print(&line(row, ctx.json)?)?;
        }
        if !args.follow {
            return Ok(());
        }
        if !more_follow {
            tokio::time::sleep(LOOK).await;
        }
        // The filters are applied here, because a filtered query with `after` can hold back the newest rows.
        rows = store.audit(Some(last), AUDIT_PAGE_MAX).await?;
        last = rows.last().map_or(last, |row| row.seq);
        more_follow = rows.len() >= AUDIT_PAGE_MAX as usize;
        rows.retain(|row| query.matches(row) && !shown.contains(&row.seq));
    }
}

impl Filters {
    async fn query(&self, store: &dyn Store, ctx: &Context) -> Result<AuditQuery, CliError> {
        let now = ctx.clock.now();
        let resolve = |time: Option<Time>| time.map(|time| time.resolve(now));
        let (since, until) = (resolve(self.since), resolve(self.until));
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(CliError::Usage(format!(
                "no event can be since {since} and before {until}; --since must be earlier than --until"
            )));
        }
        let user = match &self.user {
            Some(name) => Some(user(store, name).await?),
            None => None,
        };
        Ok(AuditQuery { since, until, user, event: self.event.clone(), ..AuditQuery::newest(AUDIT_PAGE_MAX) })
    }
}

/// Finds the id of a user by the name, or takes the text as an id if the log has events of a user with this id. The log keeps the
/// events of deleted users.
async fn user(store: &dyn Store, name: &str) -> Result<UserId, CliError> {
    if let Some(row) = store.user_by_name(name).await? {
        return Ok(row.id);
    }
    if let Ok(id) = name.parse::<UserId>() {
        let found = AuditQuery { user: Some(id.clone()), ..AuditQuery::newest(1) };
        if !store.find_audit(found).await?.is_empty() {
            return Ok(id);
        }
    }
    Err(CliError::NotFound(format!(
        "there is no user {name:?}, and the audit log has no event of a user with this id; `bulla user list` lists all users"
    )))
}

fn line(row: &AuditRow, json: bool) -> Result<String, CliError> {
    if json {
        return serde_json::to_string(row).map_err(|error| CliError::Failed(error.to_string()));
    }
    let who = |text: &str| if text.is_empty() { "-".into() } else { text.escape_debug().to_string() };
    Ok(format!(
        "{} {:<18} {} {} {}",
        row.at,
        row.event,
        who(&row.actor.to_string()),
        who(&row.subject),
        row.detail
    ))
}
