//! Completes the commands that messages suggest with the flags of this command. Without these flags they would apply to another
//! installation.

use std::path::Path;

use crate::{ids::shell, store::Database};

/// The parts that complete a suggested command.
#[derive(Clone, Debug, Default)]
pub struct Suggest {
    /// ` --keys … --database …`, as they were given.
    flags: String,
    /// The complete present command.
    this: String,
}

impl Suggest {
    /// Takes the values of the flags `--config`, `--keys` and `--database`, and all arguments of the present command.
    pub(super) fn new(
        config: Option<&Path>,
        keys: Option<&Path>,
        database: Option<&str>,
        arguments: &[String],
    ) -> Self {
        let mut flags = String::new();
        let mut add = |name: &str, value: &str| flags += &format!(" {name} {}", shell::quote(value));
        if let Some(config) = config
            && std::env::var_os("BULLA_CONFIG").is_none_or(|variable| Path::new(&variable) != config)
        {
            add("--config", &config.display().to_string());
        }
        if let Some(keys) = keys {
            add("--keys", &keys.display().to_string());
        }
        // A password is not repeated.
        let shown = |text: &&str| match Database::from(*text) {
            Database::Postgres(url) => !url.holds_password(),
            Database::Sqlite(_) => true,
        };
        if let Some(database) = database.filter(shown) {
            add("--database", database);
        }
        let secret = database.is_some_and(|text| !shown(&text));
        let words = arguments.iter().map(|word| shell::quote(word)).collect::<Vec<_>>().join(" ");
        let this = if secret { "bulla …".into() } else { format!("bulla {words}") };
        Self { flags, this }
    }

    /// Returns the same parts escaped for a JSON string.
    pub(super) fn in_json(&self) -> Self {
        let escaped = |text: &str| {
            let quoted = serde_json::Value::from(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        Self { flags: escaped(&self.flags), this: escaped(&self.this) }
    }

    /// Returns the text with its suggested commands completed.
    pub(super) fn complete(&self, text: &str) -> String {
        let mut parts = text.split('`');
        let mut out = parts.next().unwrap_or_default().to_owned();
        let mut quoted = true;
        for part in parts {
            out.push('`');
            out += part;
            let command = quoted && part.starts_with("bulla ") && !part.ends_with('…');
            // An error that reaches the log already contains the flags.
            if command && !part.contains(" --help") && !part.ends_with(&self.flags) {
                out += &self.flags;
            }
            quoted = !quoted;
        }
        if self.this.is_empty() { out } else { out.replace(shell::THIS_COMMAND, &self.this) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::Cli;

    fn suggest(arguments: &[&str]) -> Suggest {
        let cli = Cli::try_parse_from([&["bulla"], arguments].concat()).unwrap();
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        Suggest::new(cli.config.as_deref(), cli.keys.as_deref(), cli.database.as_deref(), &arguments)
    }

    #[test]
    fn a_suggested_command_names_the_same_installation() {
        let here = suggest(&["user", "list"]);
        assert_eq!(here.complete("no ring; `bulla init` makes one"), "no ring; `bulla init` makes one");
        let there = suggest(&["--keys", "my keys", "--database", "x.db", "user", "list"]);
        assert_eq!(
            there.complete("`bulla init` or `chmod 600 x`, `sudo -u '#1' bulla …`"),
            "`bulla init --keys 'my keys' --database x.db` or `chmod 600 x`, \
             `sudo -u '#1' bulla --keys 'my keys' --database x.db user list`"
        );
        let secret = suggest(&["--database", "postgres://ada:hunter2@h/d", "user", "list"]);
        assert!(!secret.complete("`bulla init` `sudo bulla …`").contains("hunter2"));
        assert_eq!(there.complete(&there.complete("`bulla init`")), there.complete("`bulla init`"));
        let odd = suggest(&["--keys", "my \"keys\"", "serve"]).in_json();
        let line: serde_json::Value = serde_json::from_str(&odd.complete("[\"`bulla init`\"]")).unwrap();
        assert_eq!(line[0], "`bulla init --keys 'my \"keys\"'`");
    }
}
