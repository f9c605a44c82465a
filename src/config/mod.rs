//! Settings: flags, then `BULLA_*`, then `bulla.toml`; resolved into [`Settings`], with nothing left to interpret.

mod duration;
mod place;
mod providers;
mod resolve;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use duration::{format_duration, parse_duration};
pub use providers::PROVIDER_KNOBS;
pub use resolve::{BadSetting, KNOBS, Layer, sample};

use crate::{identity::openid::ProviderSettings, session::Policy, store::Database};

/// Everything a server needs to know, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is odd but stops nothing, for a line on stderr or in the log.
    pub warnings: Vec<String>,
    /// Where it listens (default 127.0.0.1:8080).
    pub listen: SocketAddr,
    /// A listener for probes and metrics alone, plain HTTP; without it they are routes of `listen`.
    pub admin_listen: Option<SocketAddr>,
    /// Certificate chain and key, PEM; TLS if given.
    pub tls: Option<Tls>,
    /// The keys directory (default `keys`).
    pub keys: PathBuf,
    /// Accept group-readable keys.
    pub allow_group_read: bool,
    /// SQLite file (default `bulla.db`), or a PostgreSQL database.
    pub database: Database,
    /// Where the world sees the server, e.g. `https://login.example.org`; none: loopback, `http://localhost:PORT`.
    pub public_url: Option<String>,
    /// Further origins `rd` may return to.
    pub allowed_origins: Vec<String>,
    /// Whose word about the client's address is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// The header in which they give it.
    pub forwarded_header: ForwardedHeader,
    /// One login for several subdomains.
    pub cookie_domain: Option<String>,
    /// Lifetimes and rules.
    pub policy: Policy,
    /// Where people with an account elsewhere may come from, in order of their names.
    pub providers: Vec<ProviderSettings>,
    /// Least code points of a new password.
    pub password_min: usize,
    /// How many logins may wait for the hashing pool.
    pub login_queue: usize,
    /// How long audit rows are kept.
    pub audit_keep: Duration,
    /// `text` or `json` logs.
    pub log_json: bool,
    /// How much is logged: `error`, `warn`, `info`, `debug` (a line per request) or `trace`.
    pub log_level: &'static str,
    /// Threads that serve requests.
    pub workers: usize,
    /// How long a shutdown waits for requests under way.
    pub shutdown_timeout: Duration,
}

/// Files of a certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Chain, PEM.
    pub cert: PathBuf,
    /// Key, PEM.
    pub key: PathBuf,
}

/// Which header the trusted proxies write the client's address into. Only one is read: a proxy that writes one passes on
/// what a client says in the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, which nearly every proxy writes.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// The header's name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}
