//! `bulla session`: lists and ends sessions, also while a server runs.

use std::{fmt::Write as _, net::IpAddr, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    CliError, Context, actor, ago,
    dry_run::{count, dry_run_report},
    open_store, option, rfc3339, say_skipped_rows, table, users,
};
use crate::{
    ids::{Sid, UserId},
    store::{
        Event, ListedSession, SessionEnd, SessionKey, SessionPage, SessionQuery, Store,
        device_name_with_version,
    },
};

/// The number of sessions of one page, if `--limit` does not say another.
const PAGE: u32 = 50;

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List live sessions, newest first, page by page
    #[command(
        after_help = "Examples:\n  bulla session list --user ada\n  bulla session list --ip 203.0.113.7 --limit 200\n  \
                      bulla session list --agent firefox --json"
    )]
    List(ListArgs),
    /// End sessions; all servers refuse them within a second
    #[command(
        after_help = "Examples:\n  bulla session revoke 0t4mBqJkT0WQfqk7mFZQ1g\n  bulla session revoke --user ada\n  \
                      bulla session revoke --all --dry-run"
    )]
    Revoke {
        /// The id of the session, as `bulla session list` shows it.
        #[arg(required_unless_present_any = ["user", "all"], conflicts_with_all = ["user", "all"], allow_hyphen_values = true)]
        sid: Option<String>,
        /// End all sessions of this user.
        #[arg(long, conflicts_with = "all")]
        user: Option<String>,
        /// End all sessions of all users.
        #[arg(long)]
        all: bool,
        /// Only print how many sessions would end.
        #[arg(long, conflicts_with = "sid")]
        dry_run: bool,
    },
}

/// Which sessions to list.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// List only the sessions of this user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// List only the sessions with this address.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// List only the sessions whose user agent contains this text; upper and lower case make no difference.
    #[arg(long, value_name = "TEXT")]
    agent: Option<String>,
    /// The largest number of sessions to list.
    #[arg(long, value_name = "NUMBER", default_value_t = PAGE, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// List the page that begins after this key, which the page before names.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    after: Option<SessionKey>,
}

impl ListArgs {
    /// Returns the arguments that list the next page.
    fn next(&self, key: SessionKey) -> String {
        let mut words = String::new();
        let mut add = |name: &str, value: &str| {
            let _ = write!(words, "{} ", option(name, value));
        };
        if let Some(user) = &self.user {
            add("--user", user);
        }
        if let Some(ip) = self.ip {
            add("--ip", &ip.to_string());
        }
        if let Some(agent) = &self.agent {
            add("--agent", agent);
        }
        if self.limit != PAGE {
            add("--limit", &self.limit.to_string());
        }
        format!("{words}--after {key}")
    }
}

/// Runs a session command.
pub(super) async fn run(command: SessionCommand, ctx: &Context) -> Result<(), CliError> {
    let store = open_store(&ctx.settings, Arc::clone(&ctx.clock)).await?;
    match command {
        SessionCommand::List(args) => list(&*store, ctx, &args).await,
        SessionCommand::Revoke { sid: Some(sid), .. } => {
            let sid = sid.parse::<Sid>().map_err(|error| CliError::Usage(error.to_string()))?;
            end_one(&*store, ctx, sid).await
        }
        SessionCommand::Revoke { user, dry_run, .. } => {
            let user = match user {
                Some(name) => Some(users::find(&*store, &name).await?.id),
                None => None,
            };
            end_several(&*store, ctx, user, dry_run).await
        }
    }
}

async fn list(store: &dyn Store, ctx: &Context, args: &ListArgs) -> Result<(), CliError> {
    let user = match &args.user {
        Some(name) => Some(users::find(store, name).await?.id),
        None => None,
    };
    let ListArgs { agent, after, limit, .. } = args;
    let (agent, ip) = (agent.clone(), args.ip.map(|ip| ip.to_string()));
    let query = SessionQuery { user, ip, agent, after: *after, limit: *limit };
    let SessionPage { sessions, next, skipped, now } = store.session_page(&query).await?;
    say_skipped_rows(skipped, ctx);
    if ctx.json {
        let sessions: Vec<_> = sessions.iter().map(as_json).collect();
        let next = next.map(|key| key.to_string());
        return ctx.print(&json!({"sessions": sessions, "next": next}).to_string());
    }
    let mut lines = vec![["SID", "USER", "BEGUN", "RENEWED", "ADDRESS", "AGENT"].map(String::from).to_vec()];
    lines.extend(sessions.iter().map(|ListedSession { row, user_name }| {
        vec![
            row.sid.to_string(),
            user_name.clone().unwrap_or_else(|| row.user_id.to_string()),
            ago(row.created_at, now),
            ago(row.rotated_at, now),
            row.device.ip.clone(),
            device_name_with_version(&row.device.user_agent),
        ]
    }));
    ctx.print(&table(&lines))?;
    if let Some(next) = next {
        ctx.say(&format!(
            "more sessions follow; `bulla session list {}` lists the next page",
            args.next(next)
        ));
    }
    Ok(())
}

fn as_json(listed: &ListedSession) -> serde_json::Value {
    rfc3339(listed.to_json(), &["created_at", "rotated_at", "idle_expires_at", "expires_at"])
}

async fn end_one(store: &dyn Store, ctx: &Context, sid: Sid) -> Result<(), CliError> {
    let ended = store.end_sessions(SessionEnd::One(sid), actor::event(Event::SessionRevoked, "")).await?;
    if ended.is_empty() {
        return Err(CliError::NotFound(
            "there is no live session with this id; `bulla session list` lists all live sessions".into(),
        ));
    }
    say_ended(ctx, &ended)
}

async fn end_several(
    store: &dyn Store,
    ctx: &Context,
    user: Option<UserId>,
    dry_run: bool,
) -> Result<(), CliError> {
    let live = store.count_sessions(user.as_ref()).await?;
    if dry_run {
        return dry_run_report(ctx, "", live);
    }
    ctx.say(&format!("ending {}", count(live)));
    let which = user.map_or(SessionEnd::All, SessionEnd::AllOfUser);
    let ended = store.end_sessions(which, actor::event(Event::SessionRevoked, "")).await?;
    say_ended(ctx, &ended)
}

fn say_ended(ctx: &Context, ended: &[Sid]) -> Result<(), CliError> {
    if ctx.json {
        let sids: Vec<_> = ended.iter().map(Sid::to_string).collect();
        return ctx.print(&json!({"revoked": sids}).to_string());
    }
    ctx.say(&format!("{} ended", count(ended.len() as u64)));
    Ok(())
}
