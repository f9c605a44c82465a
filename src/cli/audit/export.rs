//! `bulla audit export`: prints the audit log as JSON lines for a SIEM, from the oldest event.

use std::collections::HashMap;

use clap::{Args, ValueEnum};

use super::{
    CliError, Context, Filters,
    ecs::{self, Names},
};
use crate::{
    ids::UserId,
    store::{AUDIT_PAGE_MAX, Actor, AuditQuery, AuditRow, Store},
};

/// The most names of users that are kept in memory.
const NAMES_MAX: usize = 10_000;

/// What to export.
#[derive(Args, Debug)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    filters: Filters,
    /// Start after the event with this number: `event.sequence` in the last line of the export before.
    #[arg(long, value_name = "SEQ", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..1 << 53))]
    after: i64,
    /// The format of the lines.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
}

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object on each line, with the field names of the Elastic Common Schema.
    Jsonl,
}

/// Prints all events that match, page by page.
pub(super) async fn run(args: &ExportArgs, store: &dyn Store, ctx: &Context) -> Result<(), CliError> {
    let Format::Jsonl = args.format;
    let mut query = AuditQuery {
        after: Some(args.after),
        limit: AUDIT_PAGE_MAX,
        ..args.filters.query(store, ctx).await?
    };
    let mut names = NameCache { store, known: HashMap::new() };
    loop {
        let rows = store.find_audit(query.clone()).await?;
        let mut lines = Vec::with_capacity(rows.len());
        for row in &rows {
            lines.push(ecs::document(row, names.of(row).await?).to_string());
        }
        let Some(last) = rows.last() else { return Ok(()) };
        ctx.print(&lines.join("\n"))?;
        query.after = Some(last.seq);
    }
}

/// The names of the users that were looked up. `None`: there is no such user.
struct NameCache<'a> {
    store: &'a dyn Store,
    known: HashMap<String, Option<String>>,
}

impl NameCache<'_> {
    /// Returns the names of an event: those that the event itself has, then those in the table of users.
    async fn of(&mut self, row: &AuditRow) -> Result<Names, CliError> {
        let said = row.detail["name"].as_str().map(str::to_owned);
        if ecs::is_about_user(&row.event) {
            let actor = match &row.actor {
                Actor::User(id) => self.find(id.as_str()).await?,
                _ => None,
            };
            let subject = match said {
                Some(name) => Some(name),
                None => self.find(&row.subject).await?,
            };
            return Ok(Names { actor, subject });
        }
        let actor = match (&row.actor, said.filter(|_| row.event == "login")) {
            (Actor::User(_), Some(name)) => Some(name),
            (Actor::User(id), None) => self.find(id.as_str()).await?,
            _ => None,
        };
        Ok(Names { actor, subject: None })
    }

    async fn find(&mut self, id: &str) -> Result<Option<String>, CliError> {
        if let Some(name) = self.known.get(id) {
            return Ok(name.clone());
        }
        let name = match UserId::new(id) {
            Ok(id) => self.store.user(&id).await?.filter(|user| !user.is_unreadable()).map(|user| user.name),
            Err(_) => None,
        };
        if self.known.len() >= NAMES_MAX {
            self.known.clear();
        }
        self.known.insert(id.to_owned(), name.clone());
        Ok(name)
    }
}
