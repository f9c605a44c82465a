//! Checks the modes of files with secrets: a settings file with a password, the secrets of providers, the passwords of
//! PostgreSQL.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::Context;
use crate::{identity::openid::ClientSecret, ids::shell, store::Database};

/// The users who may read a file in addition to its owner.
#[derive(Clone, Copy)]
enum Readers {
    /// All users, because the file contains no secret.
    All,
    /// The file's group, because `allow_group_read` is set.
    Group,
    None,
}

/// Returns the existing files that contain secrets or control the server.
fn files_to_check(ctx: &Context) -> Vec<(PathBuf, Readers)> {
    let secret = if ctx.settings.allow_group_read { Readers::Group } else { Readers::None };
    let of_file = if holds_password(&ctx.file) { secret } else { Readers::All };
    let mut files = vec![(ctx.file.clone(), of_file)];
    files.extend(ctx.settings.providers.iter().filter_map(|provider| match &provider.secret {
        ClientSecret::File(path) => Some((path.clone(), secret)),
        ClientSecret::None | ClientSecret::Text(_) => None,
    }));
    // By the rules of libpq, this file is ignored if other users may read it.
    let passwords = std::env::var_os("PGPASSFILE").map(|path| (path.into(), Readers::None));
    files.extend(passwords.filter(|_| matches!(ctx.settings.database, Database::Postgres(_))));
    files.retain(|(file, _)| file.is_file());
    files
}

/// Returns the files that other users may read or write, each with the command that repairs it. A user who may write the settings
/// file decides where the keys are.
pub(super) fn open_to_others(ctx: &Context) -> Vec<String> {
    let open = |(file, readers): (PathBuf, Readers)| {
        let mode = file.metadata().ok()?.permissions().mode() & 0o7777;
        let typed = shell::quote_path(&file);
        let (wrong, mend) = match readers {
            Readers::All => (0o022, format!("`chmod go-w {typed}`")),
            Readers::Group => (0o037, format!("`chmod g-wx,o= {typed}`")),
            Readers::None => (0o077, format!("`chmod go= {typed}`")),
        };
        let may = match mode & wrong {
            0 => return None,
            bits if bits & 0o022 != 0 => "write",
            _ => "read",
        };
        Some(format!(
            "{}: has mode {mode:04o}, so other users may {may} it; {mend} prevents that",
            file.display()
        ))
    };
    files_to_check(ctx).into_iter().filter_map(open).collect()
}

/// Whether a settings file contains a password.
fn holds_password(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).map(zeroize::Zeroizing::new).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    match table.get("database").and_then(toml::Value::as_str).map(Database::from) {
        Some(Database::Postgres(url)) => url.holds_password(),
        _ => false,
    }
}
