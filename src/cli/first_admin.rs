//! Adds the first administrator of an installation, and gives its password to the operator without writing it to a log.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{CliError, Context, actor};
use crate::{
    http::Bulla,
    secret::{Secret, SecretText},
    store::{Database, Event, NewUser, StoreError},
};

/// The file for the password if standard error is not a terminal.
const FILE: &str = "admin-password";

/// Adds the user `admin` to an installation without users.
///
/// The password is printed to standard error only if that is a terminal and not a log (`log = "json"`; a container may have a
/// terminal). A service manager, a container or a redirection would store the printed password. In those cases the password is
/// written to a file that only its owner can read, and a log line names the file.
pub(super) async fn first_admin(bulla: &Bulla, ctx: &Context) -> Result<(), CliError> {
    let store = &bulla.sessions().parts().store;
    if !store.users(None, 1).await?.is_empty() {
        return Ok(());
    }
    // Users whose rows can't be read count as users too.
    if store.unreadable_rows().await?.iter().any(|row| row.table == "users") {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| {
        CliError::Failed(format!(
            "the first administrator was not created: {error}; `bulla user add admin --role admin` creates one with \
             a password that you choose"
        ))
    };
    let password = Secret::<15>::generate().map_err(|error| failed(&error))?.to_base64url();
    let hash =
        bulla.hasher().hash(&SecretText::new(password.to_string())).await.map_err(|error| failed(&error))?;
    // Writes the password before the user exists. If the folder is not writable, no user with an unknown password remains.
    let written = match io::stderr().is_terminal() && !ctx.settings.log_json {
        true => None,
        false => {
            let folder = folder(ctx);
            let written = PasswordFile::write(&folder, &password);
            Some(written.map_err(|error| failed(&format!("{}: {error}", folder.join(FILE).display())))?)
        }
    };
    let user = NewUser {
        name: "admin".into(),
        password_hash: Some(hash),
        roles: vec!["admin".into()],
        ..NewUser::default()
    };
    match store.add_user(user, actor::event(Event::UserAdded, "")).await {
        // Another node that started at the same moment has added the user. The password of that node counts.
        Err(StoreError::Conflict(_)) => return Ok(()),
        added => added?,
    };
    match written {
        None => ctx.say(&format!(
            "Created the first administrator. Name: admin  Password: {}  (shown only now)",
            *password
        )),
        Some(note) => {
            let path = note.keep().map_err(|error| failed(&error))?;
            tracing::warn!(
                "Created the first administrator. Name: admin  Password: in the file {} (mode 0600); log in, then \
                 delete the file",
                path.display()
            );
        }
    }
    Ok(())
}

/// Returns the folder of the database, to which the server can write. For PostgreSQL, returns the folder that contains the keys
/// directory.
fn folder(ctx: &Context) -> PathBuf {
    let beside = match &ctx.settings.database {
        Database::Sqlite(path) => path,
        Database::Postgres(_) => &ctx.settings.keys,
    };
    let parent = beside.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::path::absolute(parent.unwrap_or(Path::new("."))).unwrap_or_else(|_| ".".into())
}

/// A password in a file with a temporary name. The file gets its final name only when the user exists. A node that loses the race
/// for the first user therefore can't replace the password of the winner.
struct PasswordFile {
    temporary: Option<PathBuf>,
    path: PathBuf,
}

impl PasswordFile {
    fn write(folder: &Path, password: &str) -> io::Result<Self> {
        let random = Secret::<6>::generate().map_err(io::Error::other)?.to_base64url();
        let temporary = folder.join(format!(".{FILE}.{}", *random));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let note = Self { temporary: Some(temporary), path: folder.join(FILE) };
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        writeln!(file, "{password}")?;
        file.sync_all()?;
        Ok(note)
    }

    /// Gives the file its final name and returns the path. Replaces a file of an earlier installation.
    fn keep(mut self) -> io::Result<PathBuf> {
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path)?;
        }
        self.temporary = None;
        Ok(std::mem::take(&mut self.path))
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_that_is_not_kept_is_deleted_and_a_kept_one_is_private() {
        let folder = tempfile::tempdir().unwrap();
        drop(PasswordFile::write(folder.path(), "secret").unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let (first, second) = (
            PasswordFile::write(folder.path(), "first").unwrap(),
            PasswordFile::write(folder.path(), "second").unwrap(),
        );
        let path = first.keep().unwrap();
        drop(second);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
