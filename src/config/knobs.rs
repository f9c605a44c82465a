//! The table of all settings, and the sample of `bulla.toml` that is made from it.

/// All settings: the name in `bulla.toml` (in the environment: `BULLA_` and upper case), the default, and a description.
pub const KNOBS: [(&str, &str, &str); 28] = [
    ("listen", "127.0.0.1:8080", "address and port to listen on"),
    (
        "admin_listen",
        "",
        "address and port of a separate listener (plain HTTP) for health probes and metrics; `listen` then serves neither. With an \
         upstream, a listener on loopback also serves the administration",
    ),
    ("tls_cert", "", "certificate chain, PEM file; with tls_key, the server itself provides TLS"),
    ("tls_key", "", "private key of the certificate, PEM file"),
    ("keys", "keys", "the keys directory"),
    (
        "allow_group_read",
        "false",
        "accept keys and a database file that their group may read, as Kubernetes mounts secrets",
    ),
    ("database", "bulla.db", "the SQLite file, or postgres://user@host/name for several nodes"),
    (
        "public_url",
        "",
        "the origin at which browsers reach the server; required unless it listens on loopback",
    ),
    ("allowed_origins", "", "further origins to which a login may return"),
    (
        "trusted_proxies",
        "",
        "addresses or networks of proxies that are trusted to state the address of the client",
    ),
    (
        "forwarded_header",
        "x-forwarded-for",
        "the header in which these proxies state it: x-forwarded-for or forwarded (RFC 7239)",
    ),
    (
        "cookie_domain",
        "",
        "makes one login valid on all subdomains of this domain, each of which is then trusted",
    ),
    (
        "upstream",
        "",
        "the app that gets all requests but those to Bulla itself, of people who have logged in: http://HOST:PORT, https://HOST or \
        unix:/PATH",
    ),
    ("access_max_age", "2m", "maximum age of an access token, at most 15m"),
    ("refresh_idle", "30m", "a session ends after this time without a rotation of its refresh token"),
    ("session_max_age", "7d", "a session ends at the latest this time after the login"),
    (
        "replay_window",
        "10s",
        "how long after a rotation the previous refresh token is accepted again, because the \
        answer may have been lost",
    ),
    (
        "pardon_every",
        "1h",
        "minimum time between two pardons (a previous refresh token is accepted later than \
        replay_window), or never",
    ),
    ("session_cap", "20", "maximum number of live sessions of a user; a further login ends the oldest"),
    ("bind", "none", "none, or agent: a repeat with another User-Agent is treated as a late one"),
    (
        "reauth_within",
        "10m",
        "how long after a login a user may link or unlink an identity without giving the password",
    ),
    ("max_staleness", "10s", "maximum age of the revocation feed"),
    (
        "on_stale",
        "serve",
        "what to do with access tokens if the feed is older: serve (accept them) or refuse",
    ),
    ("password_min", "8", "minimum length of a new password in characters"),
    (
        "login_queue",
        "64",
        "maximum number of logins that wait for the hashing pool; further ones are answered with 429",
    ),
    ("audit_keep", "365d", "how long audit events are kept"),
    ("log", "text", "format of the log: text or json"),
    ("log_level", "info", "error, warn, info, debug (one line per request) or trace"),
];

/// Returns a `bulla.toml` that contains every setting with its default as a comment. The `given` settings are not comments.
pub fn sample(given: &[(&str, String)]) -> String {
    let mut text =
        String::from("# Settings of Bulla. Flags and BULLA_* in the environment override this file.\n");
    for (name, default, what) in KNOBS {
        let line = |value: &str| format!("{name} = {}", toml::Value::from(value));
        let set = given.iter().find(|(setting, _)| *setting == name);
        let line = set.map_or_else(|| format!("# {}", line(default)), |(_, value)| line(value));
        text.push_str(&format!("\n# {what}\n{line}\n"));
    }
    text.push_str(
        "\n# Sign-in with an account at another provider: one table for each provider, for example [provider.google].\n",
    );
    text
}
