//! The types of the rows, as the rest of the crate uses them.

use std::{str::FromStr, time::Duration};

use crate::{
    clock::Timestamp,
    ids::{ClientId, Scope, Sid, UserId},
    secret::{Digest, SecretText},
};

/// How the tokens of a session travel. Fixed for the life of the session (docs/design/http.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Both tokens travel in cookies.
    Cookie,
    /// Both tokens travel in bodies.
    Body,
    /// The access token travels in the body, the refresh token in a cookie.
    Hybrid,
    /// Both tokens travel in cookies; the session was begun by HTTP Basic.
    Basic,
}

impl Transport {
    /// The text in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Body => "body",
            Self::Hybrid => "hybrid",
            Self::Basic => "basic",
        }
    }
}

impl FromStr for Transport {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Cookie, Self::Body, Self::Hybrid, Self::Basic]
            .into_iter()
            .find(|t| t.as_str() == text)
            .ok_or(())
    }
}

/// The origin of a request, shown to the user and kept as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Device {
    /// The header `User-Agent`, cut to 255 characters.
    pub user_agent: String,
    /// The IP address. Behind trusted proxies it is the client's address.
    pub ip: String,
}

/// A session: one login on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The id of the session.
    pub sid: Sid,
    /// The user of the session.
    pub user_id: UserId,
    /// SHA-256 of the session's key.
    pub secret_hash: Digest,
    /// The number of rotations.
    pub generation: u64,
    /// The time of the last rotation or pardon.
    pub rotated_at: Timestamp,
    /// The generation that was last pardoned.
    pub pardoned_gen: Option<u64>,
    /// The time of the last pardon.
    pub pardoned_at: Option<Timestamp>,
    /// The time at which the session began.
    pub created_at: Timestamp,
    /// The idle expiry: the session ends then if it is not rotated before. A rotation moves it.
    pub idle_expires_at: Timestamp,
    /// The absolute expiry: the session ends then. It never moves.
    pub expires_at: Timestamp,
    /// How the session's tokens travel.
    pub transport: Transport,
    /// The device that began the session, or the device to which it was last moved ([`super::Store::move_session`]).
    pub device: Device,
    /// The grant of an OAuth client that holds the session. `None` for a login of Bulla's own pages.
    pub grant: Option<Grant>,
    /// The last time at which the person authenticated. `None` if it is not known to be recent.
    pub auth_time: Option<Timestamp>,
}

/// A person's grant to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The client that receives the grant.
    pub client: ClientId,
    /// The granted scope.
    pub scope: Scope,
}

impl SessionRow {
    /// The client that holds the session.
    pub fn holder(&self) -> Option<&ClientId> {
        self.grant.as_ref().map(|grant| &grant.client)
    }

    /// The session's user as the caller of a change.
    pub fn as_caller(&self) -> Caller {
        Caller::Person { sid: self.sid, user: self.user_id.clone(), role: None }
    }

    /// A stand-in for a row that can't be read. The session counts as ended, and its sid can be used to delete it.
    pub(super) fn unreadable(sid: Sid, user: Option<UserId>, secret_hash: Option<Digest>) -> Self {
        let never = Timestamp::from_millis(i64::MIN);
        Self {
            sid,
            user_id: user.unwrap_or_else(UserId::unknown),
            secret_hash: secret_hash.unwrap_or(Digest([0; 32])),
            generation: 0,
            rotated_at: never,
            pardoned_gen: None,
            pardoned_at: None,
            created_at: never,
            idle_expires_at: never,
            expires_at: never,
            transport: Transport::Cookie,
            device: Device::default(),
            grant: None,
            auth_time: None,
        }
    }

    /// Whether the row in the store can't be read.
    pub fn is_unreadable(&self) -> bool {
        self.expires_at == Timestamp::from_millis(i64::MIN)
    }

    /// The time at which the session ends unless it is rotated before.
    pub fn ends_at(&self) -> Timestamp {
        self.idle_expires_at.min(self.expires_at)
    }
}

/// A session to begin.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The id, drawn at random by the caller. With `takes_over_basic`, the id of an existing row takes its place.
    pub sid: Sid,
    /// The user of the session.
    pub user_id: UserId,
    /// SHA-256 of the session's key.
    pub secret_hash: Digest,
    /// How the session's tokens travel.
    pub transport: Transport,
    /// The device that begins the session.
    pub device: Device,
    /// The idle life, counted from the store's present time.
    pub idle: Duration,
    /// The absolute life, counted from the store's present time.
    pub life: Duration,
    /// An earlier session that ends in the same transaction (audit `session.revoked`), whichever user it belongs to.
    pub replaces: Option<Sid>,
    /// For HTTP Basic only. If this user has a live row with `transport = 'basic'`, the same IP address and the same user agent,
    /// that row is reused: its sid stays and is returned, `secret_hash`, generation and times are new, and nothing is revoked.
    pub takes_over_basic: bool,
    /// The grant of the client that receives the session.
    pub grant: Option<Grant>,
    /// The login of the user from which this session derives. If that login has ended, no session begins.
    pub login: Option<Sid>,
    /// The proof of the person's identity. The transaction that begins the session requires that the proof still holds.
    pub proof: Proof,
}

/// The proof of a person's identity, with its time.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// The time of the proof; becomes the session's `auth_time`.
    pub at: ProvenAt,
    /// The hash against which the password was checked. The user's row must still have it.
    pub password_hash: Option<SecretText>,
    /// The identity that a provider has proven. It must still be linked to the user.
    pub identity: Option<Identity>,
}

/// The time of a proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProvenAt {
    /// The proof is not known to be recent.
    #[default]
    Unknown,
    /// The store's present time.
    Now,
    /// An earlier time, as stated by a provider. A time in the future counts as the store's present time.
    Then(Timestamp),
}

/// The change that a judged refresh writes. Times are the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// `generation` becomes `to`, `rotated_at` becomes `now`, the idle expiry becomes `now` + `idle`, but at most `expires_at`.
    Rotate {
        /// The new generation.
        to: u64,
        /// The idle life.
        idle: Duration,
        /// The time at which the rule judged the refresh.
        now: Timestamp,
    },
    /// `rotated_at` and `pardoned_at` become `now`, `pardoned_gen` becomes `generation`.
    Pardon {
        /// The pardoned generation.
        generation: u64,
        /// The time at which the rule judged the refresh.
        now: Timestamp,
    },
}

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// One session.
    One(Sid),
    /// One session, if it belongs to this user.
    OneOf(UserId, Sid),
    /// All sessions of a user.
    AllOf(UserId),
    /// All sessions of all users.
    Everyones,
}

/// A row of `users`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// `users.id` as text.
    pub id: UserId,
    /// The name to log in with, as it was given.
    pub name: String,
    /// The password hash, a PHC string. `None` if the user can't log in by password.
    pub password_hash: Option<String>,
    /// Roles, in order.
    pub roles: Vec<String>,
    /// The application's claims.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Whether logins are refused.
    pub disabled: bool,
    /// The time at which the user was added.
    pub created_at: Timestamp,
}

impl UserRow {
    /// A stand-in for a row that can't be read: the user exists, but may do nothing. Such a user must not count as absent,
    /// because a user without a row may belong to an embedding program, and then the roles are not checked.
    pub(super) fn unreadable(id: &UserId) -> Self {
        Self {
            id: id.clone(),
            name: String::new(),
            password_hash: None,
            roles: Vec::new(),
            claims: serde_json::Map::new(),
            disabled: true,
            created_at: Timestamp::from_millis(i64::MIN),
        }
    }

    /// Whether the row in the store can't be read.
    pub fn is_unreadable(&self) -> bool {
        self.created_at == Timestamp::from_millis(i64::MIN)
    }
}

/// A user to add.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// The name to log in with: 1 to 128 characters, no control characters. The caller checks this.
    pub name: String,
    /// The password hash, a PHC string.
    pub password_hash: Option<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// Claims.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// An identity at a provider, linked in the same transaction.
    pub identity: Option<Identity>,
}

/// A person's identity at an OpenID provider. Never an email address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The issuer of the provider.
    pub issuer: String,
    /// The provider's id for the person (`sub`). The provider never gives it to another person.
    pub subject: String,
}

/// An identity with the data in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// The identity at the provider.
    pub identity: Identity,
    /// The time at which the identity was linked, `None` if unknown.
    pub linked_at: Option<Timestamp>,
}

/// A change of a user. `None` leaves a field unchanged. The store applies the change to the row that its transaction reads.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// The roles that replace all present roles.
    pub roles: Option<Vec<String>>,
    /// Roles to add to the present roles.
    pub add_roles: Vec<String>,
    /// Roles to remove from the present roles.
    pub remove_roles: Vec<String>,
    /// The claims that replace all present claims.
    pub claims: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether the user is disabled. Disabling ends all sessions of the user (by trigger).
    pub disabled: Option<bool>,
}

/// A server that shares the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The server's name: host, process and a random part.
    pub name: String,
    /// The generation of the key ring in force on the server.
    pub ring_generation: u64,
    /// The version of the program.
    pub version: String,
    /// The time of the server's last report.
    pub seen_at: Timestamp,
}

/// An audit event, before the store adds number and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// The kind of event, words with dots: `login`, `refresh.reuse`, …
    pub event: &'static str,
    /// The actor: a user id, `cli:` and a system user, `client:` and an id, `provider:` and a name, `system`, or empty.
    pub actor: String,
    /// The object of the event: a sid, a user id, a kid.
    pub subject: String,
    /// The evidence, a JSON object. Contains no secrets.
    pub detail: serde_json::Value,
    /// The caller of the change. The methods that change users, clients and identities, or end sessions, check in their
    /// transaction that the caller still has the right to make the change. Otherwise they write nothing and fail with
    /// [`StoreError::Ended`](super::StoreError::Ended). This field is not stored.
    pub by: Option<Caller>,
}

/// The caller of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person. The session must be live, and its user must have the role.
    Person {
        /// The caller's session.
        sid: Sid,
        /// The user of the session.
        user: UserId,
        /// The role that the change requires, if any.
        role: Option<&'static str>,
    },
    /// A machine. The client must be enabled and must have the scope.
    Client {
        /// The client.
        id: ClientId,
        /// The scope that the change requires.
        scope: &'static str,
    },
}

impl AuditEvent {
    /// Creates an event without evidence.
    pub fn new(event: &'static str, actor: impl Into<String>, subject: impl Into<String>) -> Self {
        let (actor, subject) = (actor.into(), subject.into());
        Self { event, actor, subject, detail: serde_json::json!({}), by: None }
    }

    /// Sets the caller, whose right to make the change the store checks.
    #[must_use]
    pub fn by(mut self, caller: Caller) -> Self {
        self.by = Some(caller);
        self
    }

    /// Sets the evidence.
    #[must_use]
    pub fn with(mut self, detail: serde_json::Value) -> Self {
        self.detail = detail;
        self
    }
}

/// A row of `audit`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct AuditRow {
    /// The number of the row, never used twice.
    pub seq: i64,
    /// The time of the event.
    pub at: Timestamp,
    /// The kind of event.
    pub event: String,
    /// The actor.
    pub actor: String,
    /// The object of the event.
    pub subject: String,
    /// The evidence.
    pub detail: serde_json::Value,
}
