//! The modes of files that hold secrets: the settings file with a password in it, the secrets of providers, the TLS key.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::Context;
use crate::{identity::openid::ClientSecret, ids::typed, store::Database};

/// The files that hold secrets or decide what the server does.
fn watched(ctx: &Context) -> Vec<PathBuf> {
    let secret = |provider: &crate::identity::openid::ProviderSettings| match &provider.secret {
        ClientSecret::File(path) => Some(path.clone()),
        ClientSecret::None | ClientSecret::Text(_) => None,
    };
    let mut files: Vec<_> = ctx.settings.providers.iter().filter_map(secret).collect();
    files.insert(0, ctx.file.clone());
    files.retain(|file| file.is_file());
    files.dedup();
    files
}

/// Those that others may read or write, each with the command that mends it. A settings file without a password may be read; whoever may write it decides where
/// the keys are. A group may read what `allow_group_read` says.
pub(super) fn open_to_others(ctx: &Context) -> Vec<String> {
    let open = |file: PathBuf| {
        let mode = file.metadata().ok()?.permissions().mode() & 0o7777;
        let may_be_read = file == ctx.file && !holds_password(&file);
        let typed = typed::path(&file);
        let (wrong, mend) = match (may_be_read, ctx.settings.allow_group_read) {
            (true, _) => (0o022, format!("`chmod go-w {typed}`")),
            (false, true) => (0o037, format!("`chmod g-wx,o= {typed}`")),
            (false, false) => (0o077, format!("`chmod go= {typed}`")),
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
