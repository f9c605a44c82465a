//! Says how many sessions a command ends, or would end with `--dry-run`.

use serde_json::json;

use super::{CliError, Context};

/// Prints what a command would do and how many sessions it would end, without doing it. `what` is empty, or the change and `, and `.
pub(super) fn dry_run_report(ctx: &Context, what: &str, sessions: u64) -> Result<(), CliError> {
    if ctx.json {
        return ctx.print(&json!({"dry_run": true, "sessions": sessions}).to_string());
    }
    ctx.print(&format!("dry run: {what}{} would end; nothing was changed", count(sessions)))
}

/// Returns a number of sessions in words.
pub(super) fn count(sessions: u64) -> String {
    if sessions == 1 { "1 session".into() } else { format!("{sessions} sessions") }
}
