//! `bulla audit`: prints the audit log.

use std::{collections::HashSet, sync::Arc, time::Duration};

use clap::Args;

use super::{CliError, Context, open_store};
use crate::store::AuditRow;

/// How often new events are read while the log is followed.
const LOOK: Duration = Duration::from_millis(300);

/// What to print.
#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    /// Keep running, and print new events.
    #[arg(long)]
    follow: bool,
    /// The number of newest events to print.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// Prints events, one per line.
pub(super) async fn run(args: &AuditArgs, ctx: &Context) -> Result<(), CliError> {
    let store = open_store(&ctx.settings, Arc::clone(&ctx.clock)).await?;
    let mut rows = store.audit(None, args.limit).await?;
    // Numbers can be assigned in one order and committed in another, so an event between the shown ones may still be missing.
    // Following therefore starts before them and skips the events that were already shown.
    let shown: HashSet<i64> = rows.iter().map(|row| row.seq).collect();
    let mut last = match rows.first() {
        Some(row) => row.seq.saturating_sub(1),
        None => store.audit(None, 1).await?.last().map_or(0, |row| row.seq),
    };
    loop {
        for row in &rows {
            ctx.print(&line(row, ctx.json)?)?;
        }
        if !args.follow {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
        rows = store.audit(Some(last), 1000).await?;
        last = rows.last().map_or(last, |row| row.seq);
        rows.retain(|row| !shown.contains(&row.seq));
    }
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
