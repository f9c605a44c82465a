//! Quotes names and paths for the shell commands that messages suggest.

use std::{io, path::Path};

use rustix::{fs::Access, process::geteuid};

/// A placeholder for the command line that failed, in a suggested command. `cli` replaces it with the real arguments.
pub(crate) const THIS_COMMAND: &str = "bulla …";

/// Quotes a text as one word for a shell.
pub(crate) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Quotes a path as one word for a shell. A path that begins with a dash gets the prefix `./`, so that it isn't parsed as an
/// option.
pub(crate) fn quote_path(path: &Path) -> String {
    let text = path.display().to_string();
    quote(&if text.starts_with('-') { format!("./{text}") } else { text })
}

/// The command that runs this command as another user id, so that new files belong to the service's user.
pub(crate) fn run_as(uid: u32, gid: u32) -> String {
    match geteuid().is_root() {
        true => format!("`setpriv --reuid={uid} --regid={gid} --clear-groups {THIS_COMMAND}`"),
        false => format!("`sudo -u '#{uid}' {THIS_COMMAND}`"),
    }
}

/// Explains why a file or folder can't be used, with the command that mends it. `needs` is the access that the caller requires.
pub(crate) fn explain(file: &Path, error: &io::Error, needs: Access) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let stopped = |at: &Path, about: &std::fs::Metadata, needs: &str| {
        let (me, owner) = (geteuid().as_raw(), about.uid());
        let mode = about.mode() & 0o7777;
        match me == owner {
            true => {
                format!(
                    "has mode {mode:04o}, which denies this; `chmod u+{needs} {}` permits it",
                    quote_path(at)
                )
            }
            false => format!(
                "belongs to user {owner}, but this command runs as user {me}; run it as that user: {}",
                run_as(owner, about.gid())
            ),
        }
    };
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let kind = |about: &std::fs::Metadata| if about.is_dir() { "rwx" } else { "rw" };
            // Find the first folder on the path that denies access to this user.
            let whole = std::path::absolute(file).unwrap_or_else(|_| file.into());
            let mut way: Vec<&Path> = whole.ancestors().collect();
            way.reverse();
            for at in way {
                let Ok(about) = at.metadata() else { break };
                let needs = match at == whole {
                    true => needs,
                    false => Access::EXEC_OK,
                };
                if rustix::fs::access(at, needs).is_err() {
                    return format!("{}: {}", at.display(), stopped(at, &about, kind(&about)));
                }
            }
            format!("{}: {error}", file.display())
        }
        io::ErrorKind::NotFound => {
            match file.parent().filter(|up| !up.as_os_str().is_empty() && !up.exists()) {
                Some(folder) => {
                    format!(
                        "the folder {} is missing; `mkdir -p {}` creates it",
                        folder.display(),
                        quote_path(folder)
                    )
                }
                None => format!("{}: {error}", file.display()),
            }
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("{}: its file system is mounted read-only; mount it writable", file.display())
        }
        _ => format!("{}: {error}", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_word_for_a_shell() {
        for text in ["plain", "my 'own' keys", "", "$HOME", "a;b", "*", "-x", "ä b"] {
            let script = format!("printf %s {}", quote(text));
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), text);
        }
        assert_eq!(quote_path(Path::new("-rf")), "./-rf");
    }
}
