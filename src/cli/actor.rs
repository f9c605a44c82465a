//! Who runs a command: the system user, as audit events name them.

use crate::store::AuditEvent;

/// Longest name of a system user that is taken over.
const LONGEST: usize = 64;

/// An event that this command causes.
pub(super) fn event(name: &'static str, subject: impl Into<String>) -> AuditEvent {
    AuditEvent::new(name, actor(), subject)
}

/// `cli:` and the name of the effective user, which the kernel vouches for, or `uid=` and its number where that has no
/// name. Behind it, in brackets, the user who called `sudo` or `doas`: this is in the environment, and only as true as
/// the environment is.
pub(super) fn actor() -> String {
    let caller = |tool: &'static str, variable| std::env::var(variable).ok().map(|name| (tool, name));
    let caller = caller("sudo", "SUDO_USER").or_else(|| caller("doas", "DOAS_USER"));
    let uid = rustix::process::geteuid().as_raw();
    named(uid, whoami::username().ok(), caller)
}

fn named(uid: u32, name: Option<String>, caller: Option<(&str, String)>) -> String {
    let user = name.filter(|name| is_plain(name)).unwrap_or_else(|| format!("uid={uid}"));
    match caller.filter(|(_, name)| is_plain(name) && *name != user) {
        Some((tool, caller)) => format!("cli:{user}({tool}:{caller})"),
        None => format!("cli:{user}"),
    }
}

/// Whether a name can't be taken for anything else in an audit row.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "._-@\\$+".contains(c);
    (1..=LONGEST).contains(&name.len()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_its_system_users_and_says_who_called_sudo() {
        let ada = || Some("ada".to_owned());
        for (uid, name, caller, actor) in [
            (0, Some("root".to_owned()), None, "cli:root"),
            (0, Some("root".to_owned()), Some(("sudo", "ada".to_owned())), "cli:root(sudo:ada)"),
            (0, Some("root".to_owned()), Some(("doas", "ada".to_owned())), "cli:root(doas:ada)"),
            (1000, ada(), Some(("sudo", "ada".to_owned())), "cli:ada"),
            (1000, None, None, "cli:uid=1000"),
            (1000, ada(), Some(("sudo", "x) root\n".to_owned())), "cli:ada"),
            (1000, ada(), Some(("sudo", String::new())), "cli:ada"),
            (1000, Some("a b".to_owned()), None, "cli:uid=1000"),
            (1000, ada(), Some(("sudo", "x".repeat(65))), "cli:ada"),
        ] {
            assert_eq!(named(uid, name, caller), actor);
        }
    }

    #[test]
    fn this_process_has_an_actor() {
        assert!(actor().len() > "cli:".len() && actor().starts_with("cli:"), "{}", actor());
    }
}
