//! Finds the place of a setting in `bulla.toml`: its line for error messages, and the folder against which relative paths are
//! resolved.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::store::Database;

/// The settings that are paths.
const PATHS: [&str; 3] = ["keys", "tls_cert", "tls_key"];

/// The name and the text of a settings file.
pub(super) struct Places<'a> {
    file: &'a Path,
    text: &'a str,
}

impl<'a> Places<'a> {
    pub(super) const fn of(file: &'a Path, text: &'a str) -> Self {
        Self { file, text }
    }

    /// Returns the place of a key, given the names of its tables and its own: `in bulla.toml, line 3`.
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

    /// Returns the value of a setting. A relative path is resolved against the file's folder, not against the working directory.
    pub(super) fn beside_file(&self, name: &str, text: String) -> String {
        match name {
            "database" => match text.trim().parse::<Database>() {
                // A value that names no database is refused later, when the settings are resolved.
                Ok(database) => database.beside(self.folder()).unwrap_or(text),
                Err(_) => text,
            },
            name if PATHS.contains(&name) => self.path(&text),
            _ => text,
        }
    }

    /// Resolves a path against the file's folder.
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

/// Returns the line of a byte position, counted from 1.
pub(super) fn line(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}
