//! Parses `postgres://…`: the server, the user, and the protection of the connection. Missing parts come from the sources that
//! libpq uses: `PGPASSWORD`, `PGPASSFILE` or `~/.pgpass`, `PGSSLMODE`, `PGSSLROOTCERT`.

use std::{fmt, path::Path, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use super::{
    environment::variable,
    parameters, passfile,
    tls::{self, Protection},
};
use crate::{
    secret::SecretText,
    store::{BadDatabase, StoreError},
};

/// The time limit for connecting, for all hosts together. A caller must get the answer "can't tell" in less than a second.
const CONNECT: Duration = Duration::from_millis(700);
/// The maximum time until a dead peer is noticed.
const SILENCE: Duration = Duration::from_secs(5);
/// The folder of PostgreSQL's socket on Debian.
const SOCKETS: &str = "/var/run/postgresql";

/// The URL of a PostgreSQL database. `Debug` and `Display` show no password.
#[derive(Clone)]
pub struct PostgresUrl(SecretText);

/// A parsed URL, ready for connecting.
pub(super) struct ConnectionSettings {
    pub(super) config: Config,
    pub(super) protection: Protection,
}

impl PostgresUrl {
    /// Stores the text. It is checked when it is used.
    pub fn new(url: impl Into<String>) -> Self {
        Self(SecretText::new(url.into()))
    }

    /// Whether the URL contains a password.
    pub fn holds_password(&self) -> bool {
        self.parse().is_ok_and(|parsed| parsed.config.get_password().is_some())
    }

    /// Returns the URL without the password, for a file that other users may read.
    pub fn without_password(&self) -> String {
        let url = self.0.expose();
        let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
        // Like the library, takes everything up to the first `@` as user and password, whatever characters it contains.
        let (who, rest) = rest.split_once('@').map_or((None, rest), |(who, rest)| (Some(who), rest));
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let user =
            who.map(|who| format!("{}@", who.split(':').next().unwrap_or_default())).unwrap_or_default();
        let query: Vec<_> =
            query.split('&').filter(|p| !p.is_empty() && !p.starts_with("password=")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{scheme}://{user}{place}{mark}{}", query.join("&"))
    }

    /// Returns the URL with the file of `sslrootcert` resolved against `folder`. `None` if the URL names no such file, or no
    /// relative path.
    pub(in crate::store) fn beside(&self, folder: &Path) -> Option<String> {
        let roots =
            self.parse().ok()?.roots.filter(|roots| roots != "system" && Path::new(roots).is_relative())?;
        let url = self.0.expose();
        let (before, query) = parameters::split(url);
        let rooted = folder.join(roots).display().to_string();
        let rooted = percent_encoding::utf8_percent_encode(&rooted, parameters::PATH);
        let query: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("sslrootcert=")).collect();
        Some(format!("{before}?{}", [&query[..], &[&format!("sslrootcert={rooted}")]].concat().join("&")))
    }

    /// Parses and checks the text. Opens no file and no connection.
    pub(in crate::store) fn parse(&self) -> Result<Parsed, BadDatabase> {
        let url = self.0.expose();
        let (before, query) = parameters::split(url);
        let mut parsed = Parsed { config: Config::new(), mode: None, roots: None };
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "sslmode" => parsed.mode = Some(value()),
                "sslrootcert" => parsed.roots = Some(value()),
                name => rest.extend(
                    parameters::judge(name, &value())?
                        .map(|name| pair.replacen(pair.split('=').next().unwrap_or_default(), name, 1)),
                ),
            }
        }
        let plain = SecretText::new(format!("{before}?{}", rest.join("&")));
        // The library's error is not shown, because it may quote the text.
        let bad = |_| BadDatabase("must be postgres://user@host:port/name, with parameters of libpq".into());
        parsed.config = plain.expose().parse().map_err(bad)?;
        if let Some(mode) = &parsed.mode {
            tls::mode(mode)?;
        }
        Ok(parsed)
    }

    /// Returns everything that connecting needs, completed from the environment and files.
    pub(super) fn connection_settings(&self) -> Result<ConnectionSettings, StoreError> {
        let bad = |error: BadDatabase| StoreError::Unavailable(format!("database: {error}"));
        let Parsed { mut config, mode, roots } = self.parse().map_err(bad)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host(if Path::new(SOCKETS).is_dir() { SOCKETS } else { "localhost" });
        }
        if config.get_password().is_none() {
            let password = variable("PGPASSWORD").map(SecretText::new).or_else(|| passfile::find(&config));
            if let Some(password) = password {
                config.password(password.expose());
            }
        }
        if config.get_application_name().is_none() {
            config.application_name("bulla");
        }
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1);
        let each = CONNECT / u32::try_from(hosts).unwrap_or(u32::MAX);
        config.connect_timeout(config.get_connect_timeout().map_or(each, |asked| each.min(*asked)));
        config.tcp_user_timeout(config.get_tcp_user_timeout().copied().unwrap_or(SILENCE));
        config.keepalives_idle(SILENCE);
        // If the URL names several hosts, the connection goes to the one that accepts writes. The others are its replicas.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);

        let roots = roots.or_else(|| variable("PGSSLROOTCERT"));
        let mode = match mode.or_else(|| variable("PGSSLMODE")) {
            Some(mode) => tls::mode(&mode).map_err(bad)?,
            None if roots.as_deref() == Some("system") => tls::Mode::VerifyFull,
            None => tls::Mode::Prefer,
        };
        let protection = tls::protection(mode, roots.as_deref())?;
        let sockets_only = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(match mode {
            // A Unix socket needs no TLS: there is no network in between.
            _ if sockets_only && config.get_hostaddrs().is_empty() => SslMode::Disable,
            tls::Mode::Disable => SslMode::Disable,
            tls::Mode::Prefer => SslMode::Prefer,
            tls::Mode::Require | tls::Mode::VerifyCa | tls::Mode::VerifyFull => SslMode::Require,
        });
        Ok(ConnectionSettings { config, protection })
    }
}

/// The parts of a URL, not yet completed.
pub(in crate::store) struct Parsed {
    config: Config,
    mode: Option<String>,
    roots: Option<String>,
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(Parsed { config, .. }) = self.parse() else { return f.write_str("postgres://…") };
        f.write_str("postgres://")?;
        if let Some(user) = config.get_user() {
            write!(f, "{user}@")?;
        }
        for (at, host) in config.get_hosts().iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
        }
        // The library sets port 5432 for hosts without a port. The text shows the last port for all hosts.
        if let Some(port) = config.get_ports().last().filter(|port| **port != 5432) {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_is_removed_from_a_url() {
        for (url, without) in [
            ("postgres://ada:hun%40ter@h:5433/d?sslmode=require", "postgres://ada@h:5433/d?sslmode=require"),
            ("postgresql://ada@h/d?password=x&sslmode=require", "postgresql://ada@h/d?sslmode=require"),
            ("postgres://h/d", "postgres://h/d"),
            ("postgres://ada:hun?ter/2@h/d?sslmode=require", "postgres://ada@h/d?sslmode=require"),
        ] {
            assert_eq!(PostgresUrl::new(url).without_password(), without);
        }
        assert!(PostgresUrl::new("postgres://ada:x@h/d").holds_password());
        assert!(!PostgresUrl::new("postgres://ada@h/d").holds_password());
    }

    #[test]
    fn connecting_to_several_hosts_takes_no_longer_than_to_one() {
        let config = |url| PostgresUrl::new(url).connection_settings().unwrap().config;
        let timeout = |config: &Config| *config.get_connect_timeout().unwrap();
        assert_eq!(timeout(&config("postgres://one/d")), CONNECT);
        assert_eq!(timeout(&config("postgres://one,two/d")), CONNECT / 2);
        assert_eq!(timeout(&config("postgres://one/d?connect_timeout=30")), CONNECT);
        assert_eq!(config("postgres://one,two/d").get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(config("postgres:///d?host=/run/pg&sslmode=require").get_ssl_mode(), SslMode::Disable);
        assert_eq!(
            config("postgres://one/d?sslmode=verify-full&sslrootcert=system").get_ssl_mode(),
            SslMode::Require
        );
    }
}
