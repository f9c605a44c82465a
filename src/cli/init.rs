//! `bulla init`: creates a key ring, a database and a bulla.toml.

use std::{
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
};

use clap::Args;

use super::{
    CliError, Context,
    keys::{lost_ring, suite_note},
};
use crate::{
    config::{self, Settings},
    ids::shell,
    keyring::{KeyDirectory, Suite},
    store::{Database, Store},
};

/// What to make.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The suite (AEAD) of the keys: xaes-256-gcm, aes-256-gcm or xchacha20-poly1305.
    #[arg(long, default_value_t)]
    suite: Suite,
}

/// Creates the missing parts and leaves existing ones unchanged. The `given` paths are written into the settings file, so that
/// the next command finds them. A PostgreSQL database is written there too, wherever it was named.
pub(super) async fn run(
    args: &InitArgs,
    given: &[(&'static str, String)],
    file: &Path,
    ctx: &Context,
) -> Result<(), CliError> {
    let settings = &ctx.settings;
    let keys = KeyDirectory::new(&settings.keys);
    if let Database::Sqlite(path) = &settings.database {
        make_folder(path)?;
    }
    let store = settings.database.open_for_command(Arc::clone(&ctx.clock), settings.allow_group_read).await?;
    if keys.exists() {
        ctx.say(&format!("{}: the key ring exists already", settings.keys.display()));
    } else {
        let mark = store.ring_mark().await?;
        if mark.is_some() {
            return Err(CliError::Failed(lost_ring(&settings.keys)));
        }
        let ring = keys.init_at(args.suite, ctx.clock.now())?;
        store.record_ring(ring.generation, ring.fingerprint).await?;
        ctx.say(&format!(
            "{}: created the key ring, with one active and one staged key",
            settings.keys.display()
        ));
        suite_note(args.suite).into_iter().for_each(|note| ctx.say(note));
    }
    restore_triggers(&*store, ctx).await?;
    ctx.say(&format!("{}: the database is ready", settings.database));
    let given = relative_to_file(file, settings_to_write(given, ctx), settings);
    write_sample(file, &given, ctx)?;
    ctx.say("next: `bulla user add NAME --role admin`, then `bulla serve`");
    Ok(())
}

/// Creates the folder of a database if it is missing, accessible only to its owner.
fn make_folder(database: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| CliError::Failed(shell::explain(folder, &error, rustix::fs::Access::WRITE_OK)))
}

/// Creates triggers again that were dropped, disabled or changed.
async fn restore_triggers(store: &dyn Store, ctx: &Context) -> Result<(), CliError> {
    let database = &ctx.settings.database;
    let restored = store.restore_triggers().await?;
    let wrong = store.missing_triggers().await?;
    if !wrong.is_empty() {
        return Err(CliError::Failed(format!(
            "{database}: the triggers {} are still not active, because session_replication_role is `replica` for \
             this role; run `ALTER ROLE CURRENT_USER RESET session_replication_role` in a database shell (or ALTER \
             DATABASE, if it is set there)",
            wrong.join(", ")
        )));
    }
    if !restored.is_empty() {
        ctx.say(&format!("{database}: restored the triggers {}", restored.join(", ")));
    }
    Ok(())
}

/// Returns the settings to write into the file. A password is left out, because other users may read the file.
fn settings_to_write(given: &[(&'static str, String)], ctx: &Context) -> Vec<(&'static str, String)> {
    let Database::Postgres(url) = &ctx.settings.database else { return given.to_vec() };
    if url.holds_password() {
        ctx.say("the password of the database is not written to the settings file; pass it in BULLA_DATABASE or PGPASSFILE");
    }
    let others = given.iter().filter(|(name, _)| *name != "database").cloned();
    others.chain([("database", url.without_password())]).collect()
}

/// Rewrites paths relative to the folder of the settings file, because the file's paths are resolved there. If that folder is not
/// the working directory, the default paths are written into the file too.
fn relative_to_file(
    file: &Path,
    mut given: Vec<(&'static str, String)>,
    settings: &Settings,
) -> Vec<(&'static str, String)> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute(file).parent().map(Path::to_owned).unwrap_or_default();
    if folder == absolute(Path::new(".")) {
        return given;
    }
    let named = |path: &Path| {
        let path = absolute(path);
        path.strip_prefix(&folder).unwrap_or(&path).display().to_string()
    };
    given.retain(|(name, _)| {
        *name != "keys" && (*name != "database" || matches!(settings.database, Database::Postgres(_)))
    });
    given.push(("keys", named(&settings.keys)));
    if let Database::Sqlite(path) = &settings.database {
        given.push(("database", format!("sqlite:{}", named(path))));
    }
    given
}

fn write_sample(path: &Path, given: &[(&'static str, String)], ctx: &Context) -> Result<(), CliError> {
    let name = path.display();
    let failed =
        |error: std::io::Error| CliError::Failed(shell::explain(path, &error, rustix::fs::Access::WRITE_OK));
    // The mode is independent of the umask, because the operator may later write the database's password into the file.
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
            file.write_all(config::sample(given).as_bytes()).map_err(failed)?;
            ctx.say(&format!("{name}: created the settings file, which explains every setting"));
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            ctx.say(&format!("{name}: the settings file exists already, and is unchanged"));
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(())
}
