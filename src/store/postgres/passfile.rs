//! Reads passwords from `PGPASSFILE` or `~/.pgpass`, by the rules of libpq.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf};

use tokio_postgres::{Config, config::Host};
use zeroize::Zeroizing;

use super::environment::{at_home, variable};
use crate::secret::SecretText;

/// Returns the password of the first matching line. `None` if there is no file, or if other users may read it.
pub(super) fn find(config: &Config) -> Option<SecretText> {
    let path = variable("PGPASSFILE").map(PathBuf::from).or_else(|| at_home(".pgpass"))?;
    let about = std::fs::metadata(&path).ok()?;
    if about.mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "the password file is ignored, because other users may read it; chmod \
            600 prevents that");
        return None;
    }
    let text = Zeroizing::new(std::fs::read_to_string(&path).ok()?);
    let user = config.get_user().map(str::to_owned).or_else(|| variable("USER"))?;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.as_str(),
        _ => "localhost",
    };
    let port = config.get_ports().first().unwrap_or(&5432).to_string();
    let database = config.get_dbname().unwrap_or(&user);
    text.lines().find_map(|line| password(line, [host, &port, database, &user]))
}

/// Parses `host:port:database:user:password`. `*` matches any value; `\` escapes `:` and `\`.
fn password(line: &str, asked: [&str; 4]) -> Option<SecretText> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![Zeroizing::new(String::new())];
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            ':' if fields.len() < 5 => fields.push(Zeroizing::default()),
            '\\' => fields.last_mut()?.extend(characters.next()),
            c => fields.last_mut()?.push(c),
        }
    }
    let fits =
        fields.iter().zip(asked).all(|(field, asked)| field.as_str() == "*" || field.as_str() == asked);
    (fields.len() == 5 && fits).then(|| SecretText::new(fields[4].to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_line_gives_the_password() {
        let of = |line| password(line, ["db", "5432", "bulla", "ada"]).map(|p| p.expose().to_owned());
        assert_eq!(of("db:5432:bulla:ada:se:cret").as_deref(), Some("se:cret"));
        assert_eq!(of(r"*:*:*:ada:a\:b\\c").as_deref(), Some(r"a:b\c"));
        for other in
            ["db:5433:bulla:ada:x", "db:5432:bulla:bob:x", "#db:5432:bulla:ada:x", "db:5432:bulla:ada", ""]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
