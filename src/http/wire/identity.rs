//! The headers that name the caller to an app. A client's headers with such names never reach the app, in whichever spelling: some
//! apps read `Remote_User` or `remote.user` as `Remote-User` (CGI and WSGI replace each special character by an underscore).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::lines::Lines;
use crate::{
    clock::Timestamp,
    ids::Sid,
    session::{Machine, Principal},
};

/// The names of the headers that name the caller to an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Preset {
    #[default]
    Remote,
    OAuth2Proxy,
    Authentik,
}

/// The presets, by the names that settings use. The first is the default.
pub(crate) const PRESETS: [(&str, Preset); 3] =
    [("remote", Preset::Remote), ("oauth2-proxy", Preset::OAuth2Proxy), ("authentik", Preset::Authentik)];

/// The caller of a request to an app.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Person(Principal),
    Machine(Machine),
    Unknown,
}

impl Caller {
    /// The payload of a token that names the caller, and the time of the caller's own token. `None` if the caller is unknown.
    pub(crate) fn payload(&self) -> Option<(Cow<'_, str>, Timestamp)> {
        match self {
            Self::Unknown => None,
            Self::Person(principal) => Some((principal.payload().into(), principal.issued_at())),
            Self::Machine(machine) => Some((machine.payload().into(), machine.issued_at())),
        }
    }

    /// The id of the session of a person, or that of the service token of a machine. `None` if the caller is unknown.
    pub(crate) fn sid(&self) -> Option<Sid> {
        match self {
            Self::Unknown => None,
            Self::Person(principal) => Some(principal.sid()),
            Self::Machine(machine) => Some(machine.sid()),
        }
    }
}

/// The header of the token that is sealed for the audience of the app.
pub(crate) const TOKEN: &str = "bulla-token";

/// The facts about the caller; each is empty if it is unknown.
#[derive(Debug, Default)]
struct Facts<'a> {
    user: Cow<'a, str>,
    roles: Vec<String>,
    name: String,
    email: String,
    session: Option<Sid>,
}

impl<'a> Facts<'a> {
    fn of(caller: &'a Caller) -> Self {
        match caller {
            Caller::Unknown => Self::default(),
            Caller::Machine(machine) => {
                Self { user: machine.id().into(), session: Some(machine.sid()), ..Self::default() }
            }
            Caller::Person(principal) => {
                let claims: Claims = serde_json::from_str(principal.payload()).unwrap_or_default();
                let Claims { roles, name, email } = claims;
                Self {
                    user: principal.id().into(),
                    // A token of an app has no roles: its scope decides.
                    roles: if principal.grant().is_none() { roles } else { Vec::new() },
                    name: text(name),
                    email: text(email),
                    session: Some(principal.sid()),
                }
            }
        }
    }
}

/// The parts of a payload that a preset names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claims {
    roles: Vec<String>,
    name: Value,
    email: Value,
}

/// The text of a claim. Empty if it is missing or no text.
fn text(claim: Value) -> String {
    if let Value::String(text) = claim { text } else { String::new() }
}

/// A header of a preset, and the fact in it.
type Line = (&'static str, fn(&Facts<'_>, &mut String));

const REMOTE: [Line; 5] = [
    ("remote-user", |facts, to| encode(&facts.user, to)),
    ("remote-groups", |facts, to| encode_list(&facts.roles, ',', to)),
    ("remote-name", |facts, to| encode(&facts.name, to)),
    ("remote-email", |facts, to| encode(&facts.email, to)),
    ("remote-session", |facts, to| facts.session.iter().for_each(|sid| *to += &sid.to_string())),
];
const OAUTH2_PROXY: [Line; 4] = [
    ("x-forwarded-user", |facts, to| encode(&facts.user, to)),
    ("x-forwarded-groups", |facts, to| encode_list(&facts.roles, ',', to)),
    ("x-forwarded-preferred-username", |facts, to| encode(&facts.name, to)),
    ("x-forwarded-email", |facts, to| encode(&facts.email, to)),
];
const AUTHENTIK: [Line; 5] = [
    ("x-authentik-uid", |facts, to| encode(&facts.user, to)),
    ("x-authentik-groups", |facts, to| encode_list(&facts.roles, '|', to)),
    ("x-authentik-username", |facts, to| encode(&facts.name, to)),
    ("x-authentik-name", |facts, to| encode(&facts.name, to)),
    ("x-authentik-email", |facts, to| encode(&facts.email, to)),
];

impl Preset {
    fn lines(self) -> &'static [Line] {
        match self {
            Self::Remote => &REMOTE,
            Self::OAuth2Proxy => &OAUTH2_PROXY,
            Self::Authentik => &AUTHENTIK,
        }
    }
}

/// The beginnings of names that are reserved besides those of the presets: proxies describe requests and name callers by them.
const RESERVED_PREFIXES: [&str; 3] = ["x-forwarded-", "x-auth-request-", "x-authentik-"];

/// The names that are reserved besides those of the presets.
const RESERVED: [&str; 9] = [
    TOKEN,
    "forwarded",
    "x-real-ip",
    "x-forwarded",
    "x-original-host",
    "x-original-method",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
];

/// Whether a header or trailer of a client must not reach the app: it has the name of an identity header of any preset, or of a
/// header by which a proxy describes the request. Called for each header of each request, so it does not allocate.
pub(crate) fn is_reserved(name: &str) -> bool {
    let name = name.as_bytes();
    let is = |reserved: &str| reserved.len() == name.len() && begins_with(name, reserved);
    let presets = PRESETS.iter().flat_map(|(_, preset)| preset.lines());
    RESERVED_PREFIXES.iter().any(|prefix| begins_with(name, prefix))
        || RESERVED.into_iter().chain(presets.map(|(name, _)| *name)).any(is)
}

/// Whether a name begins with a prefix, if both are folded.
fn begins_with(name: &[u8], prefix: &str) -> bool {
    name.len() >= prefix.len()
        && name.iter().zip(prefix.bytes()).all(|(one, other)| fold(*one) == fold(other))
}

/// A byte in lower case, or an underscore if it is no letter and no digit.
fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' }
}

/// Adds all headers of a preset. A fact that is unknown is an empty header, so that the app can't take another one for it. The values
/// are printable ASCII.
pub(crate) fn add_headers(lines: &mut Lines, preset: Preset, caller: &Caller) {
    let facts = Facts::of(caller);
    for (name, write) in preset.lines() {
        lines.add(name, |text| write(&facts, text));
    }
}

fn encode_list(words: &[String], separator: char, to: &mut String) {
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            to.push(separator);
        }
        encode(word, to);
    }
}

/// Appends the text with every byte percent-encoded that is not printable ASCII or that has a meaning in one of the headers: `%`,
/// `,`, `|`.
fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if !b"%,|".contains(&byte) => to.push(char::from(byte)),
            _ => *to += &format!("%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        clock::Timestamp,
        ids::{Sid, UserId},
        store::User,
    };

    fn person(roles: &[&str], claims: Value) -> Caller {
        let user = User {
            id: UserId::new("42").unwrap(),
            name: "ada".into(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            claims: claims.as_object().unwrap().clone(),
        };
        Caller::Person(Principal::of(&user, Sid([1; 16]), None, Timestamp::EPOCH))
    }

    fn named(preset: Preset, caller: &Caller) -> Vec<(String, String)> {
        let mut lines = Lines::new();
        add_headers(&mut lines, preset, caller);
        let lines = lines.finish();
        lines.map(|(name, value)| (name.to_owned(), String::from_utf8(value.to_vec()).unwrap())).collect()
    }

    #[test]
    fn each_preset_sets_all_of_its_headers() {
        let ada = person(&["admin", "a,b|c%"], json!({"name": "Ada Lövelace", "email": "ada@example.org"}));
        let remote = named(Preset::Remote, &ada);
        assert_eq!(
            remote[..4],
            [
                ("remote-user".into(), "42".into()),
                ("remote-groups".into(), "admin,a%2Cb%7Cc%25".into()),
                ("remote-name".into(), "Ada L%C3%B6velace".into()),
                ("remote-email".into(), "ada@example.org".into()),
            ]
        );
        assert_eq!(remote[4].1, Sid([1; 16]).to_string());
        assert_eq!(
            named(Preset::Authentik, &ada)[1],
            ("x-authentik-groups".into(), "admin|a%2Cb%7Cc%25".into())
        );
        for preset in [Preset::Remote, Preset::OAuth2Proxy, Preset::Authentik] {
            let unknown = named(preset, &Caller::Unknown);
            assert_eq!(unknown.len(), preset.lines().len());
            assert!(unknown.iter().all(|(_, value)| value.is_empty()), "{unknown:?}");
        }
    }

    #[test]
    fn a_claim_that_is_no_text_or_has_line_ends_names_nobody_else() {
        let caller = person(&[], json!({"name": ["x"], "email": "a@b\r\nRemote-User: 1"}));
        let remote = named(Preset::Remote, &caller);
        assert_eq!(remote[2].1, "");
        assert_eq!(remote[3].1, "a@b%0D%0ARemote-User: 1");
    }

    #[test]
    fn reserved_names_are_recognised_in_every_spelling() {
        for name in [
            "Remote-User",
            "remote_user",
            "REMOTE.USER",
            "remote~user",
            "Remote-Groups",
            "x-forwarded-user",
            "X_Forwarded_For",
            "x-authentik-username",
            "X.Authentik.Meta.App",
            "Bulla-Token",
            "bulla_token",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "X_Rewrite_Url",
            "X-Auth-Request-User",
            "X-Forwarded-Preferred-Username",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["host", "accept", "x-requested-with", "remote-users", "x-request-id", "user", "cookie"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
