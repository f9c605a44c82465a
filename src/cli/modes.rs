//! The modes of files that hold secrets: the settings file with a password in it, the secrets of providers, the passwords of
//! PostgreSQL.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::Context;
use crate::{identity::openid::ClientSecret, ids::typed, store::Database};

/// Who besides its owner may read a file.
#[derive(Clone, Copy)]
enum Readers {
    /// Everybody: nothing secret is in it.
    All,
    /// Its group, where `allow_group_read` says so.
    Group,
    None,
}

/// The files that hold secrets or decide what the server does, as far as they are there.
fn watched(ctx: &Context) -> Vec<(PathBuf, Readers)> {
    let secret = if ctx.settings.allow_group_read { Readers::Group } else { Readers::None };
    let of_file = if holds_password(&ctx.file) { secret } else { Readers::All };
    let mut files = vec![(ctx.file.clone(), of_file)];
    files.extend(ctx.settings.providers.iter().filter_map(|provider| match &provider.secret {
        ClientSecret::File(path) => Some((path.clone(), secret)),
        ClientSecret::None | ClientSecret::Text(_) => None,
    }));
    // By the rules of libpq it is ignored if anybody else may read it.
    let passwords = std::env::var_os("PGPASSFILE").map(|path| (path.into(), Readers::None));
    files.extend(passwords.filter(|_| matches!(ctx.settings.database, Database::Postgres(_))));
    files.retain(|(file, _)| file.is_file());
    files
}

/// Those that others may read or write, each with the command that mends it. Users who may write a settings file decide where
/// the keys are.
pub(super) fn open_to_others(ctx: &Context) -> Vec<String> {
    let open = |(file, readers): (PathBuf, Readers)| {
        let mode = file.metadata().ok()?.permissions().mode() & 0o7777;
        let typed = typed::path(&file);
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
        Some(format!("{}: has mode {mode:04o}, others may {may} it; {mend}", file.display()))
    };
    watched(ctx).into_iter().filter_map(open).collect()
}

/// Whether a password stands in a settings file.
fn holds_password(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).map(zeroize::Zeroizing::new).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    match table.get("database").and_then(toml::Value::as_str).map(Database::from) {
        Some(Database::Postgres(url)) => url.holds_password(),
        _ => false,
    }
}
