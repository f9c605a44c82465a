//! `bulla session`: lists and ends sessions, also while a server runs.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Context, actor, ago, open_store, say_skipped_rows, table, users};
use crate::{
    ids::Sid,
    store::{Event, SessionEnd, SessionRow},
};

/// The largest number of sessions in a list.
const MOST: u32 = 10_000;

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List live sessions
    List {
        /// List only the sessions of this user.
        #[arg(long)]
        user: Option<String>,
    },
    /// End sessions; all servers refuse them within a second
    #[command(
        after_help = "Examples:\n  bulla session revoke 0t4mBqJkT0WQfqk7mFZQ1g\n  bulla session revoke --user ada\n  bulla session revoke --all"
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
    },
}

/// Runs a session command.
pub(super) async fn run(command: SessionCommand, ctx: &Context) -> Result<(), CliError> {
    let store = open_store(&ctx.settings, Arc::clone(&ctx.clock)).await?;
    match command {
        SessionCommand::List { user } => {
            let user = match user {
                Some(name) => Some(users::find(&*store, &name).await?.id),
                None => None,
            };
            let (rows, now) = store.sessions(user.as_ref(), MOST).await?;
            say_skipped_rows(&*store, "sessions", ctx).await?;
            if rows.len() >= MOST as usize {
                ctx.say(&format!(
                    "only the newest {MOST} sessions are listed; --user NAME lists the sessions of one user"
                ));
            }
            if ctx.json {
                let rows: Vec<_> = rows.iter().map(SessionRow::to_json).collect();
                return ctx.print(&json!({"sessions": rows}).to_string());
            }
            let mut lines =
                vec![["SID", "USER", "BEGUN", "RENEWED", "ADDRESS", "AGENT"].map(String::from).to_vec()];
            lines.extend(rows.iter().map(|row| {
                let agent: String = row.device.user_agent.chars().take(40).collect();
                let (begun, renewed) = (ago(row.created_at, now), ago(row.rotated_at, now));
                vec![
                    row.sid.to_string(),
                    row.user_id.to_string(),
                    begun,
                    renewed,
                    row.device.ip.clone(),
                    agent,
                ]
            }));
            ctx.print(&table(&lines))
        }
        SessionCommand::Revoke { sid, user, .. } => {
            let which = match (sid, user) {
                (Some(sid), _) => {
                    SessionEnd::One(sid.parse::<Sid>().map_err(|error| CliError::Usage(error.to_string()))?)
                }
                (None, Some(name)) => SessionEnd::AllOfUser(users::find(&*store, &name).await?.id),
                (None, None) => SessionEnd::All,
            };
            let one = matches!(which, SessionEnd::One(_));
            let ended = store.end_sessions(which, actor::event(Event::SessionRevoked, "")).await?;
            if one && ended.is_empty() {
                return Err(CliError::NotFound(
                    "there is no live session with this id; `bulla session list` lists all \
                    live sessions"
                        .into(),
                ));
            }
            if ctx.json {
                let sids: Vec<_> = ended.iter().map(Sid::to_string).collect();
                return ctx.print(&json!({"revoked": sids}).to_string());
            }
            ctx.say(&format!(
                "{} ended",
                if ended.len() == 1 { "1 session".into() } else { format!("{} sessions", ended.len()) }
            ));
            Ok(())
        }
    }
}
