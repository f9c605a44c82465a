//! The actor of a command in audit events: the system user who runs it.

use crate::store::{Actor, AuditEvent, Event};

/// The longest name of a system user that is used as the actor, in bytes.
const LONGEST: usize = 64;

/// Returns an audit event caused by this command.
pub(super) fn event(event: Event, subject: impl Into<String>) -> AuditEvent {
    AuditEvent::new(event, actor(), subject)
}

/// Returns the actor of this command: the name of the effective user, or `uid=` and the user id if it has no usable name. The
/// kernel guarantees this part. If `sudo` or `doas` ran the command, the user who called it follows in brackets. That name comes
/// from the environment, which this user controls, so it is only a hint.
pub(super) fn actor() -> Actor {
    let caller = |tool: &'static str, variable| std::env::var(variable).ok().map(|name| (tool, name));
    let caller = caller("sudo", "SUDO_USER").or_else(|| caller("doas", "DOAS_USER"));
    let uid = rustix::process::geteuid().as_raw();
    Actor::Command(named(uid, whoami::username().ok(), caller))
}

fn named(uid: u32, name: Option<String>, caller: Option<(&str, String)>) -> String {
    let user = name.filter(|name| is_plain(name)).unwrap_or_else(|| format!("uid={uid}"));
    match caller.filter(|(_, name)| is_plain(name) && *name != user) {
        Some((tool, caller)) => format!("{user}({tool}:{caller})"),
        None => user,
    }
}

/// Whether a name has only characters that can't be confused with other parts of an audit row.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "._-@\\$+".contains(c);
    (1..=LONGEST).contains(&name.len()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actor_of_a_command_is_its_system_user_with_the_caller_of_sudo() {
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
            assert_eq!(Actor::Command(named(uid, name, caller)), actor);
        }
    }

    #[test]
    fn the_actor_of_this_process_has_a_name() {
        let actor = actor().to_string();
        assert!(actor.len() > "cli:".len() && actor.starts_with("cli:"), "{actor}");
    }
}
