//! The headers that name the caller to an app. A client's headers with such names never reach the app, in whichever spelling: some
//! apps read `Remote_User` or `remote.user` as `Remote-User` (CGI and WSGI replace each special character by an underscore).

use std::borrow::Cow;

use serde_json::Value;

use crate::{
    clock::Timestamp,
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
}

/// The header of the token that is sealed for the audience of the app.
pub(crate) const TOKEN: &str = "bulla-token";

/// The facts about the caller; each is empty if it is unknown.
#[derive(Debug, Default)]
struct Facts {
    user: String,
    roles: Vec<String>,
    name: String,
    email: String,
    session: String,
}

impl Facts {
    fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Unknown => Self::default(),
            Caller::Machine(machine) => {
                Self { user: machine.id(), session: machine.sid().to_string(), ..Self::default() }
            }
            Caller::Person(principal) => {
                let claims = principal.claims();
                let claim = |name| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                Self {
                    user: principal.id().to_owned(),
                    roles: principal.roles(),
                    name: claim("name"),
                    email: claim("email"),
                    session: principal.sid().to_string(),
                }
            }
        }
    }
}

/// A header of a preset, and the fact in it.
type Line = (&'static str, fn(&Facts) -> String);

const REMOTE: [Line; 5] = [
    ("remote-user", |facts| encoded(&facts.user)),
    ("remote-groups", |facts| list(&facts.roles, ",")),
    ("remote-name", |facts| encoded(&facts.name)),
    ("remote-email", |facts| encoded(&facts.email)),
    ("remote-session", |facts| facts.session.clone()),
];
const OAUTH2_PROXY: [Line; 4] = [
    ("x-forwarded-user", |facts| encoded(&facts.user)),
    ("x-forwarded-groups", |facts| list(&facts.roles, ",")),
    ("x-forwarded-preferred-username", |facts| encoded(&facts.name)),
    ("x-forwarded-email", |facts| encoded(&facts.email)),
];
const AUTHENTIK: [Line; 5] = [
    ("x-authentik-uid", |facts| encoded(&facts.user)),
    ("x-authentik-groups", |facts| list(&facts.roles, "|")),
    ("x-authentik-username", |facts| encoded(&facts.name)),
    ("x-authentik-name", |facts| encoded(&facts.name)),
    ("x-authentik-email", |facts| encoded(&facts.email)),
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

/// Whether a header or trailer of a client must not reach the app: it has the name of an identity header of any preset, or of a
/// header by which a proxy describes the request.
pub(crate) fn is_reserved(name: &str) -> bool {
    let folded = fold(name);
    let is = |reserved: &str| folded == fold(reserved);
    [Preset::Remote, Preset::OAuth2Proxy, Preset::Authentik]
        .iter()
        .any(|preset| preset.lines().iter().any(|(name, _)| is(name)))
        || folded.starts_with("x_forwarded_")
        || folded.starts_with("x_auth_request_")
        || folded.starts_with("x_authentik_")
        || [
            "bulla-token",
            "forwarded",
            "x-real-ip",
            "x-forwarded",
            "x-original-host",
            "x-original-method",
            "x-original-url",
            "x-original-uri",
            "x-rewrite-url",
        ]
        .iter()
        .any(|name| is(name))
}

/// A name in lower case, with an underscore for each character that is no letter and no digit.
fn fold(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// All headers of a preset. A fact that is unknown is an empty header, so that the app can't take another one for it. The values are
/// printable ASCII.
pub(crate) fn headers(
    preset: Preset,
    caller: &Caller,
) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let facts = Facts::of(caller);
    preset.lines().iter().map(move |(name, value)| (*name, value(&facts)))
}

fn list(words: &[String], separator: &str) -> String {
    words.iter().map(|word| encoded(word)).collect::<Vec<_>>().join(separator)
}

/// The text with every byte percent-encoded that is not printable ASCII or that has a meaning in one of the headers: `%`, `,`, `|`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | b',' | b'|' => encoded += &format!("%{byte:02X}"),
            b' '..=b'~' => encoded.push(char::from(byte)),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
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
        headers(preset, caller).map(|(name, value)| (name.to_owned(), value)).collect()
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
