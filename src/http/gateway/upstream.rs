//! The settings of an upstream: the app, the requests that it gets, and the callers that it admits.

use std::{path::PathBuf, time::Duration};

use crate::{
    http::wire::{
        identity::{PRESETS, Preset},
        path,
    },
    ids::{Audience, Scope},
};

/// The names of the fields, with a description each. Lists are comma-separated.
pub const UPSTREAM_FIELDS: [(&str, &str); 16] = [
    ("url", "the app: http://HOST:PORT, https://HOST or unix:/PATH of a socket"),
    ("host", "the host of the requests; without it, every host of this server"),
    ("path", "the beginning of the path of the requests (default /); the longest one that fits counts"),
    ("access", "who is admitted: public, or one or more of login, apps, machines (default login)"),
    ("roles", "the roles of which a person must have one"),
    ("scopes", "the scopes of which an app or a machine must have one"),
    ("headers", "the names of the identity headers: remote (default), oauth2-proxy or authentik"),
    ("authorization", "bulla (default), or app: the app reads this header, and Bulla ignores it"),
    ("audience", "the audience of a token in the header Bulla-Token; without it, no token is sent"),
    ("ca", "a PEM file with the certificates that may sign that of an https app"),
    ("host_header", "pass (default): the app gets the host of the request; upstream: that of its url"),
    ("upgrades", "the protocols to which a connection may be upgraded (default websocket)"),
    ("cut_downloads", "whether a download ends with its session (default true); event streams always do"),
    ("connect_timeout", "the time in which the app must accept a connection (default 5s)"),
    ("answer_timeout", "the time in which the app must begin its answer (default 2m)"),
    ("idle_timeout", "the time without progress after which a body is cut off (default 10m)"),
];

/// The address of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `http://host:port`.
    Http(String),
    /// `https://host:port`, with the certificates that may sign that of the app. `None`: those that this machine trusts.
    Https(String, Option<PathBuf>),
    /// A Unix socket.
    Unix(PathBuf),
}

/// The callers that an upstream admits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// Everybody; a caller who is recognised is named to the app.
    pub(crate) public: bool,
    pub(crate) people: bool,
    pub(crate) apps: bool,
    pub(crate) machines: bool,
    pub(crate) roles: Vec<String>,
    pub(crate) scopes: Vec<String>,
}

/// An app behind the gateway.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    pub(crate) host: Option<String>,
    /// Without a slash at the end, except for `/`.
    pub(crate) path: String,
    pub(crate) target: Target,
    pub(crate) access: Access,
    pub(crate) preset: Preset,
    /// The app reads `Authorization` itself.
    pub(crate) authorization_of_app: bool,
    pub(crate) audience: Option<Audience>,
    /// The app gets the host of its URL instead of that of the request.
    pub(crate) host_of_upstream: bool,
    /// In lower case.
    pub(crate) upgrades: Vec<String>,
    pub(crate) cut_downloads: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) idle_timeout: Duration,
}

impl UpstreamSettings {
    /// Reads the fields. Durations are texts such as `10s`, which `duration` reads.
    ///
    /// # Errors
    ///
    /// The name of the field that is wrong, and what it must be.
    pub fn new<'a>(
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        duration: impl Fn(&str) -> Result<Duration, String>,
    ) -> Result<Self, (&'static str, String)> {
        let mut given = Given::default();
        for (name, text) in fields {
            given.0.push((name, text.trim()));
        }
        let time = |name: &'static str, default: u64| match given.get(name) {
            None => Ok(Duration::from_secs(default)),
            Some(text) => duration(text).map_err(|why| (name, why)),
        };
        let audience = given.get("audience").map(Audience::new).transpose();
        Ok(Self {
            host: given.get("host").map(host).transpose().map_err(|why| ("host", why))?,
            path: prefix(given.get("path").unwrap_or("/")).map_err(|why| ("path", why))?,
            target: target(given.get("url"), given.get("ca"))?,
            access: access(&given)?,
            preset: given.choice("headers", &PRESETS)?,
            authorization_of_app: given.choice("authorization", &[("bulla", false), ("app", true)])?,
            audience: audience.map_err(|error| ("audience", error.to_string()))?,
            host_of_upstream: given.choice("host_header", &[("pass", false), ("upstream", true)])?,
            upgrades: upgrades(given.get("upgrades").unwrap_or("websocket"))?,
            cut_downloads: given.choice("cut_downloads", &[("true", true), ("false", false)])?,
            connect_timeout: time("connect_timeout", 5)?,
            answer_timeout: time("answer_timeout", 120)?,
            idle_timeout: time("idle_timeout", 600)?,
        })
    }

    /// The upstream of `--upstream URL`: all requests, for people who have logged in.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL.
    pub fn of_url(url: &str) -> Result<Self, String> {
        Self::new([("url", url)], |_| Err(String::new())).map_err(|(_, why)| why)
    }

    /// The host of the requests, if the settings name one.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The beginning of the path of the requests.
    pub fn path(&self) -> &str {
        &self.path
    }
}

#[derive(Default)]
struct Given<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Given<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(field, text)| *field == name && !text.is_empty()).map(|(_, text)| *text)
    }

    /// The value of a text in a list of choices, of which the first is the default.
    fn choice<T: Copy>(
        &self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, (&'static str, String)> {
        let text = self.get(name).unwrap_or(choices[0].0);
        let found = choices.iter().find(|(choice, _)| *choice == text);
        let names = || choices.iter().map(|(choice, _)| *choice).collect::<Vec<_>>().join(", ");
        found.map(|(_, value)| *value).ok_or_else(|| (name, format!("must be one of: {}", names())))
    }

    fn list(&self, name: &str) -> Vec<String> {
        words(self.get(name).unwrap_or_default()).map(str::to_owned).collect()
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|word| !word.is_empty())
}

fn host(text: &str) -> Result<String, String> {
    let valid = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    if valid && !text.starts_with('.') {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be a host name without scheme and port, for example app.example.org".into())
    }
}

fn prefix(text: &str) -> Result<String, String> {
    path::check(text).map_err(|bad| format!("can't be used: {}", bad.0.to_lowercase()))?;
    if path::reading(text) != text {
        return Err("must be a plain path, for example /reports".into());
    }
    let trimmed = text.trim_end_matches('/');
    Ok(if trimmed.is_empty() { "/".into() } else { trimmed.into() })
}

fn target(url: Option<&str>, ca: Option<&str>) -> Result<Target, (&'static str, String)> {
    let must = "must be http://HOST:PORT, https://HOST or unix:/PATH, without a path of the app";
    let bad = || ("url", must.to_owned());
    let url = url.ok_or_else(|| ("url", "is missing".to_owned()))?;
    if let Some(socket) = url.strip_prefix("unix:") {
        return if socket.starts_with('/') { Ok(Target::Unix(socket.into())) } else { Err(bad()) };
    }
    let origin = url.trim_end_matches('/');
    let uri: hyper::Uri = origin.parse().map_err(|_| bad())?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(bad)?;
    if uri.path() != "/" || uri.query().is_some() || authority.host().is_empty() {
        return Err(bad());
    }
    match uri.scheme_str() {
        Some("http") if ca.is_none() => Ok(Target::Http(origin.to_owned())),
        Some("http") => Err(("ca", "is only used with an https url".into())),
        Some("https") => Ok(Target::Https(origin.to_owned(), ca.map(PathBuf::from))),
        _ => Err(bad()),
    }
}

fn access(given: &Given<'_>) -> Result<Access, (&'static str, String)> {
    let mut access = Access { roles: given.list("roles"), scopes: given.list("scopes"), ..Access::default() };
    for word in words(given.get("access").unwrap_or("login")) {
        match word {
            "public" => access.public = true,
            "login" => access.people = true,
            "apps" => access.apps = true,
            "machines" => access.machines = true,
            _ => return Err(("access", "must be public, or one or more of login, apps, machines".into())),
        }
    }
    if access.public && (access.people || !access.roles.is_empty()) {
        return Err((
            "access",
            "public admits everybody, so it can't be combined with login or roles".into(),
        ));
    }
    if !access.roles.is_empty() && !access.people {
        return Err(("roles", "need login in access: only people have roles".into()));
    }
    let programs = access.apps || access.machines;
    if programs && access.scopes.is_empty() {
        return Err(("scopes", "must name a scope if access admits apps or machines".into()));
    }
    if !programs && !access.scopes.is_empty() {
        return Err(("scopes", "need apps or machines in access: only programs have scopes".into()));
    }
    Scope::new(access.scopes.iter().cloned()).map_err(|error| ("scopes", error.to_string()))?;
    Ok(access)
}

fn upgrades(text: &str) -> Result<Vec<String>, (&'static str, String)> {
    let upgrades: Vec<String> =
        words(text).map(str::to_ascii_lowercase).filter(|word| word != "none").collect();
    match upgrades.iter().any(|protocol| protocol == "h2c") {
        true => Err(("upgrades", "h2c is never passed on, because its requests would not be checked".into())),
        false => Ok(upgrades),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<UpstreamSettings, String> {
        UpstreamSettings::new(fields.iter().copied(), |_| Ok(Duration::from_secs(7)))
            .map_err(|(field, why)| format!("{field} {why}"))
    }

    const URL: (&str, &str) = ("url", "http://127.0.0.1:3000");

    #[test]
    fn an_upstream_needs_only_its_url() {
        let upstream = read(&[("url", "http://127.0.0.1:3000/")]).unwrap();
        assert_eq!(upstream.target, Target::Http("http://127.0.0.1:3000".into()));
        assert_eq!((upstream.host(), upstream.path()), (None, "/"));
        assert!(upstream.access.people && !upstream.access.public && !upstream.authorization_of_app);
        assert_eq!(upstream.upgrades, ["websocket"]);
        let unix = UpstreamSettings::of_url("unix:/run/app.sock").unwrap();
        assert_eq!(unix.target, Target::Unix("/run/app.sock".into()));
    }

    #[test]
    fn each_field_is_read() {
        let fields = [
            ("url", "https://app.internal:8443"),
            ("ca", "/etc/ca.pem"),
            ("host", "App.Example.org"),
            ("path", "/reports/"),
            ("access", "login, apps, machines"),
            ("roles", "admin,auditor"),
            ("scopes", "reports.read"),
            ("headers", "authentik"),
            ("authorization", "app"),
            ("audience", "reports"),
            ("host_header", "upstream"),
            ("upgrades", "none"),
            ("cut_downloads", "false"),
            ("connect_timeout", "7s"),
        ];
        let upstream = read(&fields).unwrap();
        assert_eq!(
            upstream.target,
            Target::Https("https://app.internal:8443".into(), Some("/etc/ca.pem".into()))
        );
        assert_eq!((upstream.host(), upstream.path()), (Some("app.example.org"), "/reports"));
        assert_eq!(upstream.access.roles, ["admin", "auditor"]);
        assert_eq!(upstream.preset, Preset::Authentik);
        assert!(upstream.authorization_of_app && upstream.host_of_upstream && !upstream.cut_downloads);
        assert!(upstream.upgrades.is_empty());
        assert_eq!(upstream.connect_timeout, Duration::from_secs(7));
        assert_eq!(upstream.answer_timeout, Duration::from_secs(120));
    }

    #[test]
    fn what_can_not_be_used_is_refused_and_the_error_names_the_field() {
        let cases: [(&[(&str, &str)], &str); 15] = [
            (&[], "url is missing"),
            (&[("url", "127.0.0.1:3000")], "url must be"),
            (&[("url", "ftp://app")], "url must be"),
            (&[("url", "http://user:pw@app")], "url must be"),
            (&[("url", "http://app/base")], "url must be"),
            (&[("url", "unix:app.sock")], "url must be"),
            (&[URL, ("ca", "/x.pem")], "ca is only"),
            (&[URL, ("host", "https://app")], "host must be"),
            (&[URL, ("path", "/a/../b")], "path can't"),
            (&[URL, ("path", "//a")], "path must be"),
            (&[URL, ("access", "all")], "access must be"),
            (&[URL, ("access", "public"), ("roles", "admin")], "access public"),
            (&[URL, ("access", "machines")], "scopes must name"),
            (&[URL, ("scopes", "read")], "scopes need"),
            (&[URL, ("upgrades", "websocket,h2c")], "upgrades h2c"),
        ];
        for (fields, start) in cases {
            let error = read(fields).unwrap_err();
            assert!(error.starts_with(start), "{error} should begin with {start}");
        }
    }
}
