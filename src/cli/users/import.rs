//! `bulla user import`: adds users from a file that another system has exported, with their password hashes.

use std::{
    collections::HashSet,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    cli::{CliError, Context, actor},
    identity::is_acceptable_hash,
    session::RESERVED_CLAIMS,
    store::{Event, NAME_RULE, NewUser, ROLE_RULE, Store, is_good_name, is_good_role},
};

/// The largest file in bytes.
const LARGEST: u64 = 256 << 20;
/// How many faults are printed.
const PRINTED: usize = 20;
/// How many users are added at once. The store commits them together.
const AT_ONCE: usize = 64;
/// After how many users a line tells the progress.
const PROGRESS: usize = 1000;

/// The file to import.
#[derive(Args, Debug)]
pub(in crate::cli) struct ImportArgs {
    /// The file; - reads standard input.
    file: PathBuf,
    /// The format of the file [default: csv if its name ends with .csv, otherwise jsonl]
    #[arg(long)]
    format: Option<Format>,
    /// Give the users the roles in the file. Without this, they get no roles.
    #[arg(long)]
    with_roles: bool,
    /// Leave users as they are whose names exist already. Without this, such a name is an error.
    #[arg(long)]
    skip_existing: bool,
    /// Check the file, and import nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One JSON object per line: name, password_hash, roles, claims, disabled.
    Jsonl,
    /// Columns: name, password_hash, roles, disabled, claims.NAME.
    Csv,
}

/// A user in the file, and the number of the line.
#[derive(Debug)]
struct Entry {
    line: u64,
    user: NewUser,
}

/// The faults of a file or of an import: line numbers and sentences without any hash.
#[derive(Debug, Default)]
struct Faults(Vec<(u64, String)>);

impl Faults {
    fn add(&mut self, line: u64, fault: impl Into<String>) {
        self.0.push((line, fault.into()));
    }

    /// The error of a command that found these faults. `outcome` says what the command has done.
    fn into_error(mut self, outcome: &str) -> CliError {
        self.0.sort();
        let mut text = outcome.to_owned();
        for (line, fault) in self.0.iter().take(PRINTED) {
            text += &format!("\nline {line}: {fault}");
        }
        if self.0.len() > PRINTED {
            text += &format!("\nand {} more", self.0.len() - PRINTED);
        }
        CliError::Failed(text)
    }
}

fn users(number: usize) -> String {
    if number == 1 { "1 user".into() } else { format!("{number} users") }
}

/// Imports the users of a file.
pub(super) async fn run(args: ImportArgs, store: &dyn Store, ctx: &Context) -> Result<(), CliError> {
    let text = read(&args.file)?;
    let is_csv = args.file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let mut faults = Faults::default();
    let entries = match args.format.unwrap_or(if is_csv { Format::Csv } else { Format::Jsonl }) {
        Format::Jsonl => json_lines(&text, &mut faults),
        Format::Csv => csv_rows(&text, &mut faults)?,
    };
    let (mut entries, skipped) = without_existing(entries, store, args.skip_existing, &mut faults).await?;
    if !faults.0.is_empty() {
        return Err(faults.into_error("nothing was imported, because the file has faults:"));
    }
    let with_roles = entries.iter().filter(|entry| !entry.user.roles.is_empty()).count();
    if with_roles > 0 && !args.with_roles {
        ctx.say(&format!(
            "without --with-roles, the roles of {} in the file are not given",
            users(with_roles)
        ));
        entries.iter_mut().for_each(|entry| entry.user.roles.clear());
    }
    if args.dry_run {
        return report(ctx, "can be imported", entries.len(), skipped);
    }
    let (imported, faults) = add(entries, store, ctx).await;
    match faults.0.is_empty() {
        true => report(ctx, "imported", imported, skipped),
        false => Err(faults.into_error(&format!(
            "{} imported. Correct these lines, and run the command again with --skip-existing:",
            users(imported)
        ))),
    }
}

fn report(ctx: &Context, done: &str, users: usize, skipped: usize) -> Result<(), CliError> {
    if ctx.json {
        return ctx.print(&json!({"users": users, "skipped": skipped, "outcome": done}).to_string());
    }
    let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} existed already") };
    ctx.say(&format!("{} {done}{skipped}", self::users(users)));
    Ok(())
}

fn read(file: &Path) -> Result<String, CliError> {
    let failed =
        |error: std::io::Error| CliError::Failed(format!("{} can't be read: {error}", file.display()));
    let mut text = String::new();
    let limited = LARGEST + 1;
    if file == Path::new("-") {
        std::io::stdin().lock().take(limited).read_to_string(&mut text).map_err(failed)?;
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        opened.take(limited).read_to_string(&mut text).map_err(failed)?;
    }
    if text.len() as u64 > LARGEST {
        return Err(CliError::Failed(format!(
            "{} is larger than {} MiB; split it and import the parts",
            file.display(),
            LARGEST >> 20
        )));
    }
    Ok(text)
}

/// An object of the file. Each field is read as any value, so that the parser's errors can't contain one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    name: Value,
    password_hash: Value,
    roles: Value,
    claims: Value,
    disabled: Value,
}

fn json_lines(text: &str, faults: &mut Faults) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (line, object) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let read = serde_json::from_str(object).map_err(|error| unreadable(&error));
        match read.and_then(|fields| entry(line, fields)) {
            Ok(entry) => entries.push(entry),
            Err(fault) => faults.add(line, fault),
        }
    }
    entries
}

/// The fault of a line that is not such an object. The text of the parser counts the lines of the object only.
fn unreadable(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let hint = if text.contains("`password`,") { "; passwords in plain text are not imported" } else { "" };
    format!("can't be read at column {}: {text}{hint}", error.column())
}

fn csv_rows(text: &str, faults: &mut Faults) -> Result<Vec<Entry>, CliError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
    let columns = reader
        .headers()
        .map_err(|error| CliError::Failed(format!("the first line can't be read: {error}")))?;
    let columns: Vec<String> = columns.iter().map(str::to_owned).collect();
    let known = ["name", "password_hash", "roles", "disabled"];
    let is_claim = |name: &str| name.strip_prefix("claims.").is_some_and(|claim| !claim.is_empty());
    if let Some(other) = columns.iter().find(|name| !known.contains(&name.as_str()) && !is_claim(name)) {
        return Err(CliError::Failed(format!(
            "the column {other:?} is unknown; the columns are name, password_hash, roles, disabled and claims.NAME"
        )));
    }
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                faults.add(line, "the line has another number of columns than the first line");
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        match csv_fields(&columns, &record).and_then(|fields| entry(line, fields)) {
            Ok(entry) => entries.push(entry),
            Err(fault) => faults.add(line, fault),
        }
    }
    Ok(entries)
}

fn csv_fields(columns: &[String], record: &csv::StringRecord) -> Result<Fields, String> {
    let mut fields = Fields::default();
    let mut claims = Map::new();
    for (column, cell) in columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        match column.as_str() {
            "name" => fields.name = cell.into(),
            "password_hash" => fields.password_hash = cell.into(),
            "roles" => fields.roles = cell.split([',', ' ']).filter(|role| !role.is_empty()).collect(),
            "disabled" => {
                fields.disabled = match cell {
                    "true" | "1" => true.into(),
                    "false" | "0" => false.into(),
                    _ => return Err("disabled must be true or false".into()),
                }
            }
            claim => drop(claims.insert(claim.trim_start_matches("claims.").to_owned(), cell.into())),
        }
    }
    fields.claims = claims.into();
    Ok(fields)
}

/// Checks the fields of a user.
fn entry(line: u64, fields: Fields) -> Result<Entry, String> {
    let Value::String(name) = fields.name else { return Err("name is missing or no text".into()) };
    if !is_good_name(&name) {
        return Err(NAME_RULE.into());
    }
    let password_hash = match fields.password_hash {
        Value::Null => None,
        Value::String(hash) if is_acceptable_hash(&hash) => Some(hash),
        _ => {
            return Err("password_hash has an unknown format or costs too much; docs/operations.md lists the formats and \
                        the largest costs"
                .into());
        }
    };
    let roles = match fields.roles {
        Value::Null => Vec::new(),
        Value::Array(roles) => roles.into_iter().map(role).collect::<Option<_>>().ok_or(ROLE_RULE)?,
        _ => return Err("roles must be a list of texts".into()),
    };
    let claims = match fields.claims {
        Value::Null => Map::new(),
        Value::Object(claims) => claims,
        _ => return Err("claims must be an object".into()),
    };
    if let Some(reserved) = RESERVED_CLAIMS.iter().find(|name| claims.contains_key(**name)) {
        return Err(format!("the claim {reserved} is reserved for Bulla; give it another name"));
    }
    let disabled = match fields.disabled {
        Value::Null => false,
        Value::Bool(disabled) => disabled,
        _ => return Err("disabled must be true or false".into()),
    };
    let user = NewUser { name, password_hash, roles, claims, disabled, ..NewUser::default() };
    Ok(Entry { line, user })
}

fn role(role: Value) -> Option<String> {
    if let Value::String(role) = role { Some(role).filter(|role| is_good_role(role)) } else { None }
}

/// The users whose names are new, and the number of the others. A name that stands twice in the file is a fault.
async fn without_existing(
    entries: Vec<Entry>,
    store: &dyn Store,
    skip: bool,
    faults: &mut Faults,
) -> Result<(Vec<Entry>, usize), CliError> {
    let (mut new, mut skipped, mut names) = (Vec::new(), 0, HashSet::new());
    for entry in entries {
        let name = &entry.user.name;
        if !names.insert(name.to_lowercase()) {
            faults.add(entry.line, format!("the name {name:?} stands in the file twice"));
        } else if store.user_by_name(name).await?.is_none() {
            new.push(entry);
        } else if skip {
            skipped += 1;
        } else {
            faults.add(
                entry.line,
                format!("the user {name:?} exists already; --skip-existing leaves it as it is"),
            );
        }
    }
    Ok((new, skipped))
}

/// Adds the users in the order of the file. Returns how many were added, and why the others were not.
async fn add(entries: Vec<Entry>, store: &dyn Store, ctx: &Context) -> (usize, Faults) {
    let total = entries.len();
    let mut added = stream::iter(entries)
        .map(|entry| async move {
            let event = actor::event(Event::UserAdded, "").with(json!({"imported": true}));
            (entry.line, store.add_user(entry.user, event).await)
        })
        .buffered(AT_ONCE);
    let (mut imported, mut faults) = (0, Faults::default());
    while let Some((line, result)) = added.next().await {
        match result {
            Ok(_) => imported += 1,
            Err(error) => faults.add(line, error.to_string()),
        }
        if imported % PROGRESS == 0 && imported < total {
            ctx.say(&format!("{imported} of {total} users imported"));
        }
    }
    (imported, faults)
}
