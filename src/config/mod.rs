//! Settings: resolves flags, `BULLA_*` variables and `bulla.toml` into a checked [`Settings`]. Flags override variables, and
//! variables override the file.

mod bad_setting;
mod duration;
mod faults;
mod knobs;
mod layer;
mod place;
mod providers;
mod resolve;
mod sites;
mod snapshot;
mod upstreams;
mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use bad_setting::BadSetting;
pub use duration::{format_duration, parse_duration};
pub use knobs::{KNOBS, sample};
pub use layer::Layer;
pub use sites::SITE_FIELDS;

pub use crate::http::{ForwardedHeader, HostRule, UpstreamSettings};
use crate::{identity::openid::ProviderSettings, session::Policy, store::Database};

/// All settings of a server, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Warnings about settings that are odd but usable, for stderr or the log.
    pub warnings: Vec<String>,
    /// The address on which the server listens (default 127.0.0.1:8080).
    pub listen: SocketAddr,
    /// The address of a plain HTTP listener only for probes and metrics. If it is `None`, probes and metrics are routes of
    /// `listen`.
    pub admin_listen: Option<SocketAddr>,
    /// Certificate chain and key, PEM. If given, the server speaks TLS.
    pub tls: Option<Tls>,
    /// The keys directory (default `keys`).
    pub keys: PathBuf,
    /// Whether keys that their group can read are accepted.
    pub allow_group_read: bool,
    /// The database: a SQLite file (default `bulla.db`) or a PostgreSQL database.
    pub database: Database,
    /// The origin under which browsers reach the server, e.g. `https://login.example.org`. If it is `None`, the server is on
    /// loopback: `http://localhost:PORT`.
    pub public_url: Option<String>,
    /// Further origins to which `rd` may lead.
    pub allowed_origins: Vec<String>,
    /// The proxies whose information about the client's address is trusted.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// The header in which these proxies give the client's address.
    pub forwarded_header: ForwardedHeader,
    /// The cookie domain for one login on several subdomains.
    pub cookie_domain: Option<String>,
    /// Lifetimes and other rules of sessions.
    pub policy: Policy,
    /// The OpenID providers, ordered by name.
    pub providers: Vec<ProviderSettings>,
    /// Who may enter the apps that proxies protect by forward-auth, by host.
    pub sites: Vec<HostRule>,
    /// The apps behind the gateway. If there is none, the server answers its own routes only.
    pub upstreams: Vec<UpstreamSettings>,
    /// The smallest number of code points in a new password.
    pub password_min: usize,
    /// The largest number of logins that may wait for the hashing pool.
    pub login_queue: usize,
    /// How long audit rows are kept.
    pub audit_keep: Duration,
    /// Whether logs are JSON instead of text.
    pub log_json: bool,
    /// The log level: `error`, `warn`, `info`, `debug` (a line per request) or `trace`.
    pub log_level: &'static str,
    /// The number of threads that serve requests.
    pub workers: usize,
    /// How long a shutdown waits for requests in progress.
    pub shutdown_timeout: Duration,
    /// The texts of the settings as digests, for [`Settings::changed`].
    snapshot: snapshot::Snapshot,
}

impl Settings {
    /// The names of the settings that differ in a newer reading. Tables are named as in the file: `provider.google`, `site`.
    pub fn changed(&self, newer: &Self) -> Vec<String> {
        self.snapshot.changed(&newer.snapshot)
    }
}

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}
