//! Where something stands in `bulla.toml`: the line for an error, and the folder that relative paths start from.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::store::Database;

/// Settings that are paths.
const PATHS: [&str; 3] = ["keys", "tls_cert", "tls_key"];

/// The text of a file, and its name.
pub(super) struct Places<'a> {
    file: &'a Path,
    text: &'a str,
}

impl<'a> Places<'a> {
    pub(super) const fn of(file: &'a Path, text: &'a str) -> Self {
        Self { file, text }
    }

    /// The place of a key, by the names of the tables around it and its own: `in bulla.toml, line 3`.
    pub(super) fn of_key(&self, names: &[&str]) -> String {
        let line = self.find(names).map(|line| format!(", line {line}")).unwrap_or_default();
        format!("in {}{line}", self.file.display())
    }

    fn find(&self, names: &[&str]) -> Option<usize> {
        let root = DeTable::parse(self.text).ok()?;
        let (mut table, mut found) = (root.get_ref(), None);
        for (depth, name) in names.iter().enumerate() {
            let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
            found = Some(line(self.text, key.span().start));
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ if depth + 1 == names.len() => {}
                _ => break,
            }
        }
        found
    }

    /// A setting's text; a relative path starts from the file's folder, not from where a command runs.
    pub(super) fn beside_file(&self, name: &str, text: String) -> String {
        match name {
            "database" => match text.trim().parse::<Database>() {
                // What is no database is refused where the settings are resolved.
                Ok(database) => database.beside(self.folder()).unwrap_or(text),
                Err(_) => text,
            },
            name if PATHS.contains(&name) => self.path(&text),
            _ => text,
        }
    }

    /// A path from the file's folder.
    pub(super) fn path(&self, text: &str) -> String {
        if text.trim().is_empty() {
            return text.to_owned();
        }
        self.folder().join(text.trim()).display().to_string()
    }

    fn folder(&self) -> PathBuf {
        self.file.parent().map(Path::to_owned).unwrap_or_default()
    }
}

/// The line of a byte, counted from 1.
pub(super) fn line(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}
