//! Reads the file of an import: JSON lines or CSV.

use std::{io::Read as _, path::Path};

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    cli::CliError,
    identity::is_acceptable_hash,
    session::check_claims,
    store::{NAME_RULE, NewUser, ROLE_RULE, is_good_name, is_good_role},
};

/// The largest file in bytes.
const LARGEST: u64 = 256 << 20;
/// How many faults are printed.
const PRINTED: usize = 20;
/// The fields that both formats have.
const FIELDS: &str = "name, password_hash, roles, disabled";

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Format {
    /// One JSON object per line: name, password_hash, roles, claims, disabled.
    Jsonl,
    /// Columns: name, password_hash, roles, disabled, claims.NAME.
    Csv,
}

/// A user in the file, and the number of the line.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) user: NewUser,
}

/// The faults of a file or of an import: line numbers and sentences without any hash.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(u64, String)>);

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, line: u64, fault: impl Into<String>) {
        self.0.push((line, fault.into()));
    }

    /// The error of a command that found these faults. `outcome` says what the command has done.
    pub(super) fn into_error(mut self, outcome: &str) -> CliError {
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

/// Reads a file. Without a format, its name decides.
pub(super) fn read(file: &Path, format: Option<Format>) -> Result<(Vec<Entry>, Faults), CliError> {
    let text = text(file)?;
    let is_csv = file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let mut faults = Faults::default();
    let entries = match format.unwrap_or(if is_csv { Format::Csv } else { Format::Jsonl }) {
        Format::Jsonl => json_lines(&text, &mut faults),
        Format::Csv => csv_rows(&text, &mut faults)?,
    };
    Ok((entries, faults))
}

fn text(file: &Path) -> Result<String, CliError> {
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

/// An object of the file. Each field is read as any value, so that the parser's errors contain no values.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    name: Value,
    password_hash: Value,
    roles: Value,
    claims: Value,
    disabled: Value,
    #[serde(flatten)]
    others: Map<String, Value>,
}

fn json_lines(text: &str, faults: &mut Faults) -> Vec<Entry> {
    let mut entries = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, object) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match json_fields(object).and_then(|fields| entry(line, fields)) {
            Ok(entry) => entries.push(entry),
            Err(fault) => faults.add(line, fault),
        }
    }
    entries
}

fn json_fields(line: &str) -> Result<Fields, String> {
    if !line.trim_start().starts_with('{') {
        return Err("each line must be a JSON object".into());
    }
    let fields: Fields = serde_json::from_str(line).map_err(|error| {
        // The parser counts the lines of the object only.
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default();
        format!("can't be read at column {}: {text}", error.column())
    })?;
    match fields.others.keys().next() {
        None => Ok(fields),
        Some(name) => {
            // Another text could be a hash, or control the terminal.
            let plain =
                name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let shown =
                if plain { format!("the field {name} is unknown") } else { "a field is unknown".into() };
            let hint = if name == "password" { "; passwords in plain text are not imported" } else { "" };
            Err(format!("{shown}; the fields are {FIELDS} and claims{hint}"))
        }
    }
}

fn csv_rows(text: &str, faults: &mut Faults) -> Result<Vec<Entry>, CliError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
    let columns = reader
        .headers()
        .map_err(|error| CliError::Failed(format!("the first line can't be read: {error}")))?;
    let columns: Vec<String> = columns.iter().map(str::to_owned).collect();
    let is_claim = |name: &str| name.strip_prefix("claims.").is_some_and(|claim| !claim.is_empty());
    for (at, column) in columns.iter().enumerate() {
        if !FIELDS.split(", ").any(|field| field == column) && !is_claim(column) {
            return Err(CliError::Failed(format!(
                "the column {column:?} is unknown; the columns are {FIELDS} and claims.NAME"
            )));
        }
        if columns[..at].contains(column) {
            return Err(CliError::Failed(format!("the column {column:?} stands in the first line twice")));
        }
    }
    let (mut entries, mut lines) = (Vec::new(), Lines { text: text.as_bytes(), counted: 0, line: 1 });
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = lines.of(error.position());
                faults.add(line, "the line has another number of columns than the first line");
                continue;
            }
        };
        let line = lines.of(record.position());
        match csv_fields(&columns, &record).and_then(|fields| entry(line, fields)) {
            Ok(entry) => entries.push(entry),
            Err(fault) => faults.add(line, fault),
        }
    }
    Ok(entries)
}

/// Counts the lines of a text up to a place. The places must come in their order.
struct Lines<'a> {
    text: &'a [u8],
    counted: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of a record. The position that the parser reports can be that of the line ends before it.
    fn of(&mut self, position: Option<&csv::Position>) -> u64 {
        let reported = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(0);
        let rest = self.text.get(reported..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let start = (reported + blank).min(self.text.len()).max(self.counted);
        self.line += self.text[self.counted..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted = start;
        self.line
    }
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
            other => {
                let claim = other.strip_prefix("claims.").unwrap_or(other);
                claims.insert(claim.to_owned(), cell.into());
            }
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
    check_claims(&roles, &claims)?;
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
