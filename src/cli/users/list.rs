//! Lists users, and shows one.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::{checked_role, roles};
use crate::{
    cli::{CliError, Context, option, rfc3339, say_skipped_rows, table},
    ids::{UserId, shell},
    store::{Store, UserPage, UserQuery, UserRow},
};

/// How many users are read at a time.
const READ: u32 = 500;

/// Which users to list.
#[derive(Args, Debug)]
pub(in crate::cli) struct ListArgs {
    /// List only the users with this role.
    #[arg(long)]
    role: Option<String>,
    /// List only the users whose name contains this text; upper and lower case make no difference.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// List only disabled users.
    #[arg(long, conflicts_with = "enabled")]
    disabled: bool,
    /// List only enabled users.
    #[arg(long)]
    enabled: bool,
    /// The largest number of users to list [default: all users].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: Option<u32>,
    /// List the page that begins after this user's id, which the page before names.
    #[arg(long, value_name = "ID", value_parser = row_id)]
    after: Option<UserId>,
}

fn row_id(text: &str) -> Result<UserId, String> {
    UserId::of_row(text).ok_or_else(|| "not the id of a user; the page before names it".into())
}

impl ListArgs {
    fn query(&self) -> Result<UserQuery, CliError> {
        Ok(UserQuery {
            role: self.role.clone().map(checked_role).transpose()?,
            name: self.name.clone(),
            disabled: (self.disabled || self.enabled).then_some(self.disabled),
            after: self.after.clone(),
            limit: self.limit.unwrap_or(READ),
        })
    }

    /// Returns the arguments that list the next page.
    fn next(&self, id: &UserId) -> String {
        let mut words = String::new();
        let texts = [("--role", &self.role), ("--name", &self.name)];
        for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            let _ = write!(words, "{} ", option(name, text));
        }
        for (name, _) in
            [("--disabled", self.disabled), ("--enabled", self.enabled)].iter().filter(|(_, on)| *on)
        {
            let _ = write!(words, "{name} ");
        }
        let limit = self.limit.unwrap_or(READ);
        format!("{words}--limit {limit} --after {}", shell::quote(id.as_str()))
    }
}

/// Lists users: one page with `--limit`, otherwise all.
pub(super) async fn list(store: &dyn Store, ctx: &Context, args: &ListArgs) -> Result<(), CliError> {
    let mut query = args.query()?;
    let (mut rows, mut unreadable): (Vec<UserRow>, usize) = (Vec::new(), 0);
    let next = loop {
        let UserPage { users, next, skipped } = store.user_page(&query).await?;
        rows.extend(users);
        unreadable += skipped;
        if next.is_none() || args.limit.is_some() {
            break next;
        }
        query.after = next;
    };
    say_skipped_rows(unreadable, ctx);
    if ctx.json {
        let users: Vec<_> = rows.iter().map(as_json).collect();
        let next = next.as_ref().map(UserId::as_str);
        return ctx.print(&json!({"users": users, "next": next}).to_string());
    }
    let mut lines = vec![["ID", "NAME", "ROLES", "STATE"].map(String::from).to_vec()];
    lines.extend(
        rows.iter().map(|row| vec![row.id.to_string(), row.name.clone(), roles(row), state(row).into()]),
    );
    ctx.print(&table(&lines))?;
    if let Some(next) = next {
        ctx.say(&format!("more users follow; `bulla user list {}` lists the next page", args.next(&next)));
    }
    Ok(())
}

fn state(row: &UserRow) -> &'static str {
    if row.disabled { "disabled" } else { "enabled" }
}

fn as_json(row: &UserRow) -> Value {
    rfc3339(row.to_json(), &["created_at"])
}

/// Prints one user.
pub(super) fn show(ctx: &Context, row: &UserRow) -> Result<(), CliError> {
    if ctx.json {
        return ctx.print(&as_json(row).to_string());
    }
    ctx.print(&table(&[
        vec!["name".into(), row.name.clone()],
        vec!["id".into(), row.id.to_string()],
        vec!["roles".into(), roles(row)],
        vec!["claims".into(), Value::Object(row.claims.clone()).to_string()],
        vec!["state".into(), state(row).into()],
        vec!["added".into(), row.created_at.to_string()],
    ]))
}
