//! Names as they are typed into a shell: for the commands that messages suggest.

use std::{io, path::Path};

use rustix::{fs::Access, process::geteuid};

/// Stands for the command line that failed, in a command that a message suggests; the program knows its arguments.
pub(crate) const THIS_COMMAND: &str = "bulla …";

/// A text as one word of a shell.
pub(crate) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A path as one word of a shell; one that begins with a dash isn't taken for an option.
pub(crate) fn quote_path(path: &Path) -> String {
    let text = path.display().to_string();
    quote(&if text.starts_with('-') { format!("./{text}") } else { text })
}

/// How to run this command as the user of a number: what belongs to a service stays the service's.
pub(crate) fn run_as(uid: u32, gid: u32) -> String {
    match geteuid().is_root() {
        true => format!("`setpriv --reuid={uid} --regid={gid} --clear-groups {THIS_COMMAND}`"),
        false => format!("`sudo -u '#{uid}' {THIS_COMMAND}`"),
    }
}

/// Why a file or folder can't be used, and the command that mends it. `needs` is what it must allow.
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
            // The first thing on the way that stops this user.
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
    fn a_word_is_one_word_to_a_shell() {
        for text in ["plain", "my 'own' keys", "", "$HOME", "a;b", "*", "-x", "ä b"] {
            let script = format!("printf %s {}", quote(text));
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), text);
        }
        assert_eq!(quote_path(Path::new("-rf")), "./-rf");
    }
}
