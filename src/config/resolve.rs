//! Resolves layers of settings into [`Settings`]: flags override the environment, the environment overrides the file, the file
//! overrides the defaults.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use super::{
    ForwardedHeader, Settings, Tls, UpstreamSettings,
    bad_setting::BadSetting,
    knobs::KNOBS,
    layer::Layer,
    parse_duration, providers,
    snapshot::Snapshot,
    upstreams,
    values::{audit_keep, choice, is_local, network, origin, path, within},
};
use crate::session::{Pardon, Policy};

/// The layers, strongest first.
struct Layers<'a>(&'a [Layer]);

impl Layers<'_> {
    fn text(&self, name: &str) -> (String, &str) {
        let set = self
            .0
            .iter()
            .find_map(|layer| layer.values.get(name))
            .map(|said| (said.text.clone(), &*said.place));
        let default = || KNOBS.iter().find(|(knob, ..)| *knob == name).map_or("", |(_, default, _)| default);
        set.unwrap_or_else(|| (default().to_owned(), "by default"))
    }

    fn read<T, E: fmt::Display>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, BadSetting> {
        let (text, origin) = self.text(name);
        read(text.trim()).map_err(|why| match name {
            // The text is not shown, because it may contain a password.
            "database" => BadSetting(format!("{name} {origin}: {why}")),
            _ => BadSetting(format!("{name} = {text:?} {origin}: {why}")),
        })
    }

    fn parsed<T: FromStr>(&self, name: &str, must: &str) -> Result<T, BadSetting> {
        self.read(name, |text| text.parse().map_err(|_| format!("must be {must}")))
    }

    fn time(&self, name: &str) -> Result<Duration, BadSetting> {
        self.read(name, parse_duration)
    }

    fn some(&self, name: &str) -> Option<String> {
        Some(self.text(name).0).filter(|text| !text.trim().is_empty())
    }

    /// The apps of the strongest layer that names any.
    fn upstreams(&self) -> Result<Vec<UpstreamSettings>, BadSetting> {
        for layer in self.0 {
            match (layer.values.get("upstream"), &layer.upstreams) {
                (Some(url), _) if url.text.trim().is_empty() => return Ok(Vec::new()),
                (Some(url), _) => return upstreams::from_url(&url.text, &url.place),
                (None, Some(tables)) => return Ok(tables.clone()),
                (None, None) => {}
            }
        }
        Ok(Vec::new())
    }

    /// Takes the digests of all settings. `Debug` hides the secrets of providers, but these come from the environment, which does
    /// not change while the program runs.
    fn snapshot(&self, settings: &Settings) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, ..) in KNOBS {
            snapshot.insert(name, &self.text(name).0);
        }
        snapshot.insert("upstream", &format!("{:?}", settings.upstreams));
        snapshot.insert("site", &format!("{:?}", settings.sites));
        for provider in &settings.providers {
            snapshot.insert(format!("provider.{}", provider.name), &format!("{provider:?}"));
        }
        snapshot
    }

    fn list<T>(&self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, BadSetting> {
        self.read(name, |text| {
            text.split([',', ' ']).filter(|part| !part.is_empty()).map(&read).collect::<Result<Vec<T>, _>>()
        })
    }
}

impl Settings {
    /// Resolves layers, strongest first.
    ///
    /// # Errors
    ///
    /// Fails for a value that can't be used, and for settings that contradict each other.
    pub fn resolve(layers: &[Layer]) -> Result<Self, BadSetting> {
        let providers = providers::resolve(layers.iter().map(|layer| &layer.providers))?;
        let warnings = layers.iter().flat_map(|layer| layer.warnings.iter().cloned()).collect();
        let layers = Layers(layers);
        let mut settings = Self {
            providers,
            warnings,
            listen: layers.parsed("listen", "an address and a port, for example 127.0.0.1:8080")?,
            admin_listen: layers.read("admin_listen", |text| match text {
                "" => Ok(None),
                text => text
                    .parse()
                    .map(Some)
                    .map_err(|_| "must be an address and a port, for example 127.0.0.1:9090"),
            })?,
            tls: match (layers.some("tls_cert"), layers.some("tls_key")) {
                (Some(cert), Some(key)) => Some(Tls { cert: cert.into(), key: key.into() }),
                (None, None) => None,
                _ => {
                    return Err(BadSetting("only one of tls_cert and tls_key is set; set both".into()));
                }
            },
            keys: layers.read("keys", path)?,
            allow_group_read: layers.parsed("allow_group_read", "true or false")?,
            database: layers.read("database", str::parse)?,
            public_url: layers
                .some("public_url")
                .map(|url| origin(&url).map_err(|why| BadSetting(format!("public_url = {url:?}: {why}"))))
                .transpose()?,
            allowed_origins: layers.list("allowed_origins", origin)?,
            trusted_proxies: layers.list("trusted_proxies", network)?,
            forwarded_header: layers
                .read("forwarded_header", |text| text.to_ascii_lowercase().parse::<ForwardedHeader>())?,
            cookie_domain: layers.some("cookie_domain"),
            policy: policy(&layers)?,
            sites: layers.0.iter().flat_map(|layer| layer.sites.iter().cloned()).collect(),
            upstreams: layers.upstreams()?,
            password_min: layers.read("password_min", |text| within(text, 1, 256))?,
            login_queue: layers.read("login_queue", |text| within(text, 1, 10_000))?,
            audit_keep: layers.read("audit_keep", audit_keep)?,
            log_json: layers.read("log", |text| choice(text, &[("text", false), ("json", true)]))?,
            log_level: layers.read("log_level", |text| {
                choice(text, &["error", "warn", "info", "debug", "trace"].map(|level| (level, level)))
            })?,
            workers: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)),
            shutdown_timeout: Duration::from_secs(10),
            snapshot: Snapshot::default(),
        };
        settings.snapshot = layers.snapshot(&settings);
        settings.policy.check().map_err(|error| BadSetting(error.0))?;
        settings.check_listener()?;
        settings.check_cookie_domain()?;
        Ok(settings)
    }

    /// Refuses to send passwords and tokens unencrypted. The server needs TLS, a trusted proxy in front of it, or loopback for
    /// trials.
    fn check_listener(&self) -> Result<(), BadSetting> {
        let loopback = self.listen.ip().is_loopback();
        if self.admin_listen.is_some_and(|admin| admin == self.listen && admin.port() != 0) {
            return Err(BadSetting(format!(
                "admin_listen = {}: listen has the same address; use another port",
                self.listen
            )));
        }
        if !loopback && self.tls.is_none() && self.trusted_proxies.is_empty() {
            return Err(BadSetting(format!(
                "listen = {}: plain HTTP is allowed only on loopback; set tls_cert and tls_key, or add the address \
                 of the proxy in front to trusted_proxies",
                self.listen
            )));
        }
        match &self.public_url {
            None if !loopback => Err(BadSetting(format!(
                "public_url is missing, but {} is not a loopback address; set public_url to the origin at which \
                 browsers reach the server, for example https://login.example.org",
                self.listen
            ))),
            Some(url) if url.starts_with("http://") && !is_local(url) => Err(BadSetting(format!(
                "public_url = {url:?}: must be https, because browsers don't send Secure cookies over plain HTTP"
            ))),
            _ => Ok(()),
        }
    }

    fn check_cookie_domain(&self) -> Result<(), BadSetting> {
        let Some(domain) = &self.cookie_domain else { return Ok(()) };
        let host =
            self.public_url.as_deref().and_then(|url| url.split_once("://")).map_or("", |(_, rest)| rest);
        let host = host.split(':').next().unwrap_or_default();
        let plain = domain.contains('.')
            && domain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
        if plain && !domain.starts_with('.') && (host == domain || host.ends_with(&format!(".{domain}"))) {
            return Ok(());
        }
        Err(BadSetting(format!(
            "cookie_domain = {domain:?}: must be the host of public_url or a parent domain of it, for example \
             example.org for https://login.example.org"
        )))
    }
}

fn policy(layers: &Layers<'_>) -> Result<Policy, BadSetting> {
    Ok(Policy {
        access_max_age: layers.time("access_max_age")?,
        refresh_idle: layers.time("refresh_idle")?,
        session_max_age: layers.time("session_max_age")?,
        replay_window: layers.time("replay_window")?,
        pardon: layers.read("pardon_every", |text| match text {
            "never" => Ok(Pardon::Never),
            time => parse_duration(time).map(Pardon::Every),
        })?,
        session_cap: layers.read("session_cap", |text| within(text, 1, 10_000))?,
        bind_agent: layers.read("bind", |text| choice(text, &[("none", false), ("agent", true)]))?,
        reauth_within: layers.time("reauth_within")?,
        max_staleness: layers.time("max_staleness")?,
        on_stale: layers.read("on_stale", str::parse)?,
    })
}

impl Settings {
    /// Whether the server listens on a loopback address, which only this machine can reach.
    pub fn is_loopback(&self) -> bool {
        SocketAddr::ip(&self.listen).is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::sample, *};

    fn file(text: &str) -> Result<Settings, String> {
        let layer = Layer::file(Path::new("bulla.toml"), text).map_err(|error| error.0)?;
        Settings::resolve(&[layer]).map_err(|error| error.0)
    }

    #[test]
    fn the_settings_that_differ_between_two_readings_are_named() {
        let provider =
            |id: &str| format!("[provider.google]\nclient_id = '{id}'\nclient_secret_file = 'secret'\n");
        let names = |old: &str, new: &str| file(old).unwrap().changed(&file(new).unwrap());
        let none: [&str; 0] = [];
        assert_eq!(names("", "listen = '127.0.0.1:8080'"), none, "the default");
        assert_eq!(names("log = 'json'", "log_level = 'debug'"), ["log", "log_level"]);
        assert_eq!(names("", &provider("x")), ["provider.google"]);
        assert_eq!(names(&provider("x"), &provider("y")), ["provider.google"]);
        assert_eq!(names(&provider("x"), &provider("x")), none);
        assert_eq!(names("", "[[site]]\nhost = 'a.example.org'"), ["site"]);
        assert_eq!(names("", "[[upstream]]\nurl = 'http://127.0.0.1:3000'"), ["upstream"]);
        let database = |password: &str| format!("database = 'postgres://ada:{password}@h/d'");
        assert_eq!(names(&database("hunter1"), &database("hunter2")), ["database"]);
        let shown = format!("{:?}", file(&database("hunter2")).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_defaults_are_the_policys_and_the_sample_says_them() {
        let settings = file("").unwrap();
        assert_eq!(settings.policy, Policy::default());
        let uncommented: String = sample(&[])
            .lines()
            .filter(|line| line.contains(" = "))
            .map(|line| format!("{}\n", &line[2..]))
            .collect();
        assert_eq!(format!("{:?}", file(&uncommented).unwrap()), format!("{settings:?}"));
        assert!(KNOBS.len() <= 30);
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let layers = [
            Layer::flags([("keys", "flag".into())]),
            Layer::environment([
                ("BULLA_KEYS".into(), "env".into()),
                ("BULLA_DATABASE".into(), "env.db".into()),
            ])
            .unwrap(),
            Layer::file(Path::new("t"), "keys = 'f'\ndatabase = 'f.db'\nsession_cap = 3").unwrap(),
        ];
        let settings = Settings::resolve(&layers).unwrap();
        assert_eq!((settings.keys.to_str(), &*settings.database.to_string()), (Some("flag"), "env.db"));
        assert_eq!(settings.policy.session_cap, 3);
    }

    #[test]
    fn an_origin_is_kept_as_browsers_write_it() {
        let public = |url: &str| file(&format!("public_url = '{url}'")).unwrap().public_url.unwrap();
        for (given, kept) in [
            ("https://Login.Example.org/", "https://login.example.org"),
            ("https://login.example.org:443", "https://login.example.org"),
            ("https://login.example.org:8443", "https://login.example.org:8443"),
            ("https://login.example.org:80", "https://login.example.org:80"),
            ("http://localhost:80", "http://localhost"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(public(given), kept);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_the_bound() {
        for (text, says) in [
            (
                "acess_max_age = '2m'",
                "acess_max_age in bulla.toml, line 1: there is no such setting; did you mean access_max_age?",
            ),
            ("access_max_age = '16m'", "access_max_age = 16m: must be at most 15m"),
            (
                "session_cap = 0",
                "session_cap = \"0\" in bulla.toml, line 1: must be a number from 1 to 10000",
            ),
            ("on_stale = 'panic'", "must be serve or refuse"),
            ("listen = '0.0.0.0:80'", "plain HTTP is allowed only on loopback"),
            ("listen = '0.0.0.0:80'\ntrusted_proxies = ['10.0.0.1']", "public_url is missing"),
            ("public_url = 'http://login.example.org'", "must be https"),
            ("public_url = 'https://login.example.org/x'", "must be an origin"),
            ("public_url = 'https://login.example.org:443:9'", "must be an origin"),
            ("public_url = 'https://login.example.org:66000'", "must be an origin"),
            ("public_url = 'https://[::g]'", "must be an origin"),
            ("public_url = 'ftp://login.example.org'", "must be an origin"),
            ("acess = 1", "acess in bulla.toml, line 1: there is no such setting"),
            ("tls_cert = 'a'", "only one of tls_cert and tls_key"),
            (
                "public_url = 'https://login.example.org'\ncookie_domain = 'example.com'",
                "must be the host of public_url or a parent domain",
            ),
            ("keys = [1]", "must be a string, a number"),
            ("# one\nkeys = ", "bulla.toml, line 2: "),
            ("replay_window = '31s'", "must be at most a quarter of access_max_age"),
        ] {
            let error = file(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        for database in ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h:port/d"] {
            let error = file(&format!("database = '{database}'")).unwrap_err();
            assert!(error.contains("postgres://") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_named_bulla_are_a_warning() {
        let variables = [
            ("BULLA_PORT", "tcp://10.0.0.7:8080"),
            ("BULLA_SERVICE_HOST", "10.0.0.7"),
            ("BULLA_SERVICE_PORT_HTTP", "8080"),
            ("BULLA_PORT_8080_TCP_ADDR", "10.0.0.7"),
            ("BULLA_PROVIDER_PORT", "tcp://10.0.0.8:80"),
            ("BULLA_PROVIDER_SERVICE_HOST", "10.0.0.8"),
            ("BULLA_PROVIDER_GOOGLE_CLIENT_SECERT", "hunter2"),
            ("BULLA_VERSION", "1"),
            ("BULLA_ACESS_MAX_AGE", "1m"),
        ];
        let layer = Layer::environment(variables.map(|(name, value)| (name.into(), value.into()))).unwrap();
        let settings = Settings::resolve(&[layer]).unwrap();
        let [warning] = &settings.warnings[..] else { panic!("{:?}", settings.warnings) };
        assert!(variables.iter().all(|(name, _)| warning.contains(name)), "{warning}");
        assert!(warning.contains("BULLA_ACESS_MAX_AGE (did you mean BULLA_ACCESS_MAX_AGE?)"), "{warning}");
        assert!(warning.contains("(did you mean BULLA_PROVIDER_GOOGLE_CLIENT_SECRET?)"), "{warning}");
        assert!(!warning.contains("hunter2") && settings.providers.is_empty(), "{warning}");
        assert_eq!(settings.policy, Policy::default());
    }

    #[test]
    fn relative_paths_in_the_file_start_from_its_folder_and_flags_from_the_working_directory() {
        let text = "keys = 'k'\ntls_cert = 'c.pem'\ntls_key = '/abs/key.pem'\ndatabase = 'sqlite:b.db'\n\
                    [provider.google]\nclient_id = 'us'\nclient_secret_file = 's'";
        let file = Layer::file(Path::new("/etc/bulla/bulla.toml"), text).unwrap();
        let settings = Settings::resolve(std::slice::from_ref(&file)).unwrap();
        let tls = settings.tls.unwrap();
        assert_eq!(settings.keys, Path::new("/etc/bulla/k"));
        assert_eq!((tls.cert.to_str(), tls.key.to_str()), (Some("/etc/bulla/c.pem"), Some("/abs/key.pem")));
        assert_eq!(settings.database.to_string(), "/etc/bulla/b.db");
        let secret = format!("{:?}", settings.providers[0].secret);
        assert!(secret.contains("/etc/bulla/s"), "{secret}");
        let flags = Layer::flags([("keys", "k".into()), ("database", "b.db".into())]);
        let settings = Settings::resolve(&[flags, file]).unwrap();
        assert_eq!((settings.keys.to_str(), &*settings.database.to_string()), (Some("k"), "b.db"));
        let url = "database = 'postgres://ada@h/d?sslmode=verify-full&sslrootcert=roots.pem'";
        let file = Layer::file(Path::new("/etc/bulla/bulla.toml"), url).unwrap();
        assert!(file.values["database"].text.contains("sslrootcert=/etc/bulla/roots.pem"));
    }

    #[test]
    fn an_unknown_name_in_a_file_is_named_with_its_line() {
        let line = |text: &str| Layer::file(Path::new("b.toml"), text).unwrap_err().0;
        assert!(line("# a\n\nsesion_cap = 3").starts_with("sesion_cap in b.toml, line 3: "));
        let provider = line("log = 'json'\n[provider.google]\nclient_id = 'x'\nclient_idd = 'x'");
        assert!(provider.starts_with("provider.google.client_idd in b.toml, line 4: "), "{provider}");
        let nested = line("[listen]\nx = 1");
        assert!(nested.starts_with("listen in b.toml, line 1: must be"), "{nested}");
    }
}
