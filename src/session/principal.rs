//! The person a request speaks for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;

use crate::{
    clock::Timestamp,
    ids::{BadName, ClientId, Sid, UserId},
    session::watch::{Watch, Watched},
    store::{Grant, User},
    token::{Opened, Refused},
};

/// The names in an access token's payload that Bulla uses itself. Claims of an application can't have these names.
pub const RESERVED_CLAIMS: [&str; 5] = ["id", "sid", "client_id", "scope", "roles"];

/// The longest roles and claims of a user as JSON, in bytes. Longer ones can make the access token too long for a cookie, and the
/// user can't log in then.
#[cfg(feature = "actix")]
const LONGEST_CLAIMS: usize = 2500;

/// Checks that the access token of a user with these roles and claims fits into a cookie.
///
/// # Errors
///
/// A sentence for the person who gives them to the user.
#[cfg(feature = "actix")]
pub(crate) fn check_size(roles: &[String], claims: &Map<String, Value>) -> Result<(), String> {
    match serde_json::json!([roles, claims]).to_string().len() <= LONGEST_CLAIMS {
        true => Ok(()),
        false => Err(format!(
            "roles and claims have more than {LONGEST_CLAIMS} bytes as JSON, so that the access token would not fit into a cookie"
        )),
    }
}

/// Checks the claims that a user is to get: their names, and with the roles their size.
///
/// # Errors
///
/// A sentence for the person who gives them to the user.
#[cfg(feature = "cli")]
pub(crate) fn check_claims(roles: &[String], claims: &Map<String, Value>) -> Result<(), String> {
    match RESERVED_CLAIMS.iter().find(|name| claims.contains_key(**name)) {
        None => check_size(roles, claims),
        Some(name) => Err(format!(
            "the claim {name:?} is not accepted: Bulla itself writes {} into tokens",
            RESERVED_CLAIMS.join(", ")
        )),
    }
}

/// The person a request speaks for: the content of a valid access token. Roles and claims are those at the time of sealing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The id, followed by the payload. Every request makes one of these, so both share one allocation.
    text: Box<str>,
    id_len: u8,
    sid: Sid,
    /// Boxed, because few tokens have a grant.
    grant: Option<Box<Grant>>,
    issued_at: Timestamp,
    watched_by: Watch,
}

/// The part of the payload that every request needs. It is borrowed if the text has no escapes.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    sid: Cow<'a, str>,
    client_id: Option<String>,
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Roles {
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Serialize)]
struct Access<'a> {
    id: &'a UserId,
    sid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    #[serde(flatten)]
    claims: &'a Map<String, Value>,
}

/// Reads `id` and `sid` from a payload in the form that [`Principal::of`] writes, which nearly every payload has. This takes a
/// third of a JSON parser's time. The payload was opened before, so it is known to be one object of strict JSON without duplicate
/// keys.
fn read_own_form(payload: &str) -> Option<(&str, &str)> {
    let rest = payload.strip_prefix(r#"{"id":""#)?;
    // An escape can hide a quote or a name, and a client's token has more fields. The JSON parser reads both kinds. A `sid` has no
    // escapes.
    let end = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (id, rest) = rest.split_at(end);
    let (sid, rest) = rest.strip_prefix(r#"","sid":""#)?.split_at_checked(22)?;
    (rest.starts_with('"') && names_no_client(rest)).then_some((id, sid))
}

/// Whether a payload can't contain the key `client_id` in any notation. Few payloads have an underscore at all.
fn names_no_client(rest: &str) -> bool {
    memchr::memchr2(b'_', b'\\', rest.as_bytes()).is_none()
        || !rest.contains('\\') && !rest.contains("client_id")
}

fn grant(client: String, scope: Option<String>) -> Result<Grant, Refused> {
    let scope = scope.unwrap_or_default().parse().map_err(|_| Refused::Payload)?;
    Ok(Grant { client: ClientId::new(client).map_err(|_| Refused::Payload)?, scope })
}

impl Serialize for UserId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Principal {
    /// Reads an opened access token. It must have an `id` of 1 to 255 bytes and a `sid`.
    pub(super) fn read(opened: Opened<&str>) -> Result<Self, Refused> {
        match read_own_form(opened.payload) {
            Some((id, sid)) => Self::new(id, sid.parse(), None, opened.payload, opened.issued_at),
            None => {
                let head: Head<'_> = serde_json::from_str(opened.payload).map_err(|_| Refused::Payload)?;
                let grant = head.client_id.map(|client| grant(client, head.scope)).transpose()?;
                Self::new(&head.id, head.sid.parse(), grant, opened.payload, opened.issued_at)
            }
        }
    }

    fn new(
        id: &str,
        sid: Result<Sid, BadName>,
        grant: Option<Grant>,
        payload: &str,
        issued_at: Timestamp,
    ) -> Result<Self, Refused> {
        let id_len = u8::try_from(id.len()).ok().filter(|len| *len > 0).ok_or(Refused::Payload)?;
        let sid = sid.map_err(|_| Refused::Payload)?;
        let mut text = String::with_capacity(id.len() + payload.len());
        text.push_str(id);
        text.push_str(payload);
        Ok(Self {
            text: text.into_boxed_str(),
            id_len,
            sid,
            grant: grant.map(Box::new),
            issued_at,
            watched_by: Watch::default(),
        })
    }

    /// Makes the principal of a user as they are now: the content of a new access token of the session.
    pub(crate) fn of(user: &User, sid: Sid, grant: Option<Grant>, issued_at: Timestamp) -> Self {
        let mut claims = Cow::Borrowed(&user.claims);
        if RESERVED_CLAIMS.iter().any(|name| claims.contains_key(*name)) {
            claims.to_mut().retain(|name, _| !RESERVED_CLAIMS.contains(&name.as_str()));
        }
        let access = Access {
            id: &user.id,
            sid: sid.to_string(),
            client_id: grant.as_ref().map(|grant| grant.client.as_str()),
            scope: grant.as_ref().map(|grant| grant.scope.to_string()),
            roles: &user.roles,
            claims: &claims,
        };
        let payload = serde_json::to_string(&access).expect("texts and JSON values have a JSON form");
        Self::new(user.id.as_str(), Ok(sid), grant, &payload, issued_at)
            .expect("a user id has 1 to 255 bytes")
    }

    /// The same person for a client, with the roles and claims of `user` and the age of this principal. `user` comes from
    /// [`Self::restrict`].
    #[must_use]
    #[doc(hidden)]
    pub fn narrowed(&self, user: &User, grant: Grant) -> Self {
        Self::of(user, self.sid, Some(grant), self.issued_at)
    }

    /// The user, with only those of their present roles and claims that the token contains with the same value.
    #[doc(hidden)]
    pub fn restrict(&self, mut user: User) -> User {
        let (roles, claims) = (self.payload_roles(), self.claims());
        user.roles.retain(|role| roles.contains(role));
        user.claims.retain(|name, value| claims.get(name) == Some(value));
        user
    }

    /// The id of the user: `users.id` as text, or the user's id in the embedding program. 1 to 255 bytes.
    pub fn id(&self) -> &str {
        &self.text[..usize::from(self.id_len)]
    }

    /// [`Self::id`] as a [`UserId`].
    pub fn user_id(&self) -> UserId {
        UserId::new(self.id()).expect("an id has 1 to 255 bytes")
    }

    /// The id of the session.
    pub fn sid(&self) -> Sid {
        self.sid
    }

    /// The OAuth client that holds the token, and its scope. `None` if the token belongs to a login on Bulla's own pages.
    pub fn grant(&self) -> Option<&Grant> {
        self.grant.as_deref()
    }

    /// The roles at the time of sealing. Parses the payload at each call. Empty for a token of an OAuth client: the scope decides
    /// what an app may do, not the roles of its user.
    pub fn roles(&self) -> Vec<String> {
        if self.grant.is_some() { Vec::new() } else { self.payload_roles() }
    }

    /// The roles in the payload.
    fn payload_roles(&self) -> Vec<String> {
        serde_json::from_str(self.payload()).map_or_else(|_| Vec::new(), |Roles { roles }| roles)
    }

    /// Whether `role` is among [`Self::roles`]. Parses the payload at each call.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().iter().any(|has| has == role)
    }

    /// The application's claims: the payload without [`RESERVED_CLAIMS`]. Parses the payload at each call.
    pub fn claims(&self) -> Map<String, Value> {
        let mut claims: Map<String, Value> = serde_json::from_str(self.payload()).unwrap_or_default();
        claims.retain(|name, _| !RESERVED_CLAIMS.contains(&name.as_str()));
        claims
    }

    /// The payload of the access token, a JSON object.
    pub fn payload(&self) -> &str {
        &self.text[usize::from(self.id_len)..]
    }

    /// The time at which the token was sealed.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The same principal, with a watch that reports the end of its session.
    #[must_use]
    pub(crate) fn watched_by(mut self, watch: &Watch) -> Self {
        self.watched_by = watch.clone();
        self
    }

    /// A future that completes when the session of this principal ends, for WebSockets and event streams, which outlive the check
    /// of their request. A handler waits for it and then closes the stream. The future does not borrow the principal.
    ///
    /// It completes
    ///
    /// - within a second of the revocation of the session on any node or in the database: a logout, a deleted row, a disabled user,
    ///   a changed password, or a revocation of all tokens of the OAuth client that holds this one;
    /// - when the session expires: at its absolute end (`session_max_age`, default 7 days), or if no request has renewed it for
    ///   `refresh_idle` (default 30 minutes). An open stream does not renew its session; other requests of the same browser do;
    /// - when this node has not been able to read the revocations for `max_staleness` (default 10 seconds) with
    ///   [`OnStale::Refuse`](crate::session::OnStale::Refuse), or for `access_max_age` more with
    ///   [`OnStale::Serve`](crate::session::OnStale::Serve). From then on no request with this token would be accepted either;
    /// - when the installation is dropped.
    ///
    /// Users of an embedding program are in another table, whose changes Bulla can't see: when such a user is disabled, call
    /// `Bulla::end_sessions_of`. Otherwise the future completes at the next expiry time of the session.
    ///
    /// The future is cheap: the row is read once at the start and then once per `refresh_idle`, and nothing is polled in between.
    /// For a principal that no guard has accepted, such as one made by `bulla::testing`, it never completes. Needs a tokio runtime.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let ended = self.watched_by.0.as_ref().map(|watch| {
            watch.ended(Watched {
                sid: self.sid,
                user: self.user_id(),
                client: self.grant().map(|grant| grant.client.clone()),
                issued_at: self.issued_at,
            })
        });
        async move {
            match ended {
                Some(ended) => ended.await,
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::Kid;

    fn read(payload: &str) -> Result<Principal, Refused> {
        Principal::read(Opened { kid: Kid([0; 4]), issued_at: Timestamp::EPOCH, payload })
    }

    const SID: &str = "0t4mBqJkT0WQfqk7mFZQ1g";

    #[test]
    fn a_principal_reads_back_as_it_was_made() {
        let claims = json!({"mail": "ada@example.org", "id": "1", "sid": "x", "roles": ["admin"], "client_id": "x",
            "scope": "admin"});
        let user = User {
            id: UserId::new("42").unwrap(),
            name: "ada".into(),
            roles: vec!["ops".into()],
            claims: claims.as_object().unwrap().clone(),
        };
        let made = Principal::of(&user, SID.parse().unwrap(), None, Timestamp::EPOCH);
        assert_eq!(
            made.payload(),
            format!(r#"{{"id":"42","sid":"{SID}","roles":["ops"],"mail":"ada@example.org"}}"#)
        );
        let back = read(made.payload()).unwrap();
        assert_eq!(back, made);
        assert_eq!((back.id(), back.has_role("ops"), back.has_role("admin")), ("42", true, false));
        assert_eq!(serde_json::Value::Object(back.claims()), json!({"mail": "ada@example.org"}));
        let grant = Grant { client: ClientId::new("app").unwrap(), scope: "a b".parse().unwrap() };
        let held = Principal::of(&user, SID.parse().unwrap(), Some(grant.clone()), Timestamp::EPOCH);
        let back = read(held.payload()).unwrap();
        assert_eq!((&back, back.grant()), (&held, Some(&grant)));
        assert_eq!(serde_json::Value::Object(back.claims()), json!({"mail": "ada@example.org"}));
    }

    #[test]
    fn any_notation_of_a_payload_gives_the_same_principal() {
        for payload in [
            format!(r#"{{"id":"a\"b\\","sid":"{SID}","roles":["x"]}}"#),
            format!(r#"{{"sid":"{SID}","roles":["x"],"id":"a\"b\\"}}"#),
            format!(r#"{{ "id" : "a\u0022b\u005c" , "\u0073id":"{SID}","roles":["x"]}}"#),
        ] {
            let read = read(&payload).unwrap();
            assert_eq!((read.id(), read.sid().to_string().as_str()), (r#"a"b\"#, SID), "{payload}");
            assert!(read.has_role("x"));
        }
        for payload in [
            format!(r#"{{"id":"ada","sid":"{SID}","client_id":"app","scope":"x"}}"#),
            format!(r#"{{"scope":"x","client_id":"app","sid":"{SID}","id":"ada"}}"#),
            format!(r#"{{"id":"ada","sid":"{SID}","roles":["x"],"client_id":"app","scope":"x"}}"#),
            format!(r#"{{"id":"ada","sid":"{SID}", "client_id":"app","scope":"x"}}"#),
            format!(r#"{{"id":"ada","sid":"{SID}","client\u005fid":"app","scope":"x"}}"#),
        ] {
            assert!(
                read(&payload).unwrap().grant().is_some_and(|grant| grant.scope.contains("x")),
                "{payload}"
            );
        }
        let plain = read(&format!(r#"{{"id":"ada","sid":"{SID}"}}"#)).unwrap();
        assert_eq!((plain.id(), plain.sid().to_string().as_str()), ("ada", SID));
    }

    #[test]
    fn a_payload_needs_an_id_of_1_to_255_bytes_and_a_sid() {
        let long = "a".repeat(256);
        for bad in [
            format!(r#"{{"sid":"{SID}"}}"#),
            format!(r#"{{"id":42,"sid":"{SID}"}}"#),
            format!(r#"{{"id":"","sid":"{SID}"}}"#),
            format!(r#"{{"id":"{long}","sid":"{SID}"}}"#),
            r#"{"id":"42"}"#.into(),
            r#"{"id":"42","sid":"short"}"#.into(),
        ] {
            assert_eq!(read(&bad), Err(Refused::Payload), "{bad:.60}");
        }
    }
}
