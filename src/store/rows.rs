//! The rows, as the rest of the crate sees them.

use std::{str::FromStr, time::Duration};

use crate::{
    clock::Timestamp,
    ids::{ClientId, Scope, Sid, UserId},
    secret::{Digest, SecretText},
};

/// How a session's tokens travel; fixed for its life (docs/design/http.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Both in cookies.
    Cookie,
    /// Both in bodies.
    Body,
    /// Access in the body, refresh in the cookie.
    Hybrid,
    /// Both in cookies, begun by HTTP Basic.
    Basic,
}

impl Transport {
    /// As stored.
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

/// Where a request comes from, as shown to the user and kept as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Device {
    /// `User-Agent`, cut to 255 characters.
    pub user_agent: String,
    /// Address, behind trusted proxies the client's.
    pub ip: String,
}

/// One login on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its name.
    pub sid: Sid,
    /// Whose it is.
    pub user_id: UserId,
    /// SHA-256 of the session's key.
    pub secret_hash: Digest,
    /// How many times it was rotated.
    pub generation: u64,
    /// When it was last rotated (or pardoned).
    pub rotated_at: Timestamp,
    /// The generation last pardoned.
    pub pardoned_gen: Option<u64>,
    /// When.
    pub pardoned_at: Option<Timestamp>,
    /// When it began.
    pub created_at: Timestamp,
    /// Ends if not rotated until then; slides.
    pub idle_expires_at: Timestamp,
    /// Ends then; never moves.
    pub expires_at: Timestamp,
    /// How its tokens travel.
    pub transport: Transport,
    /// The device that began it, or the one that it was last seen to have moved to ([`super::Store::move_session`]).
    pub device: Device,
    /// The client that holds it; none: a login of our own pages.
    pub grant: Option<Grant>,
    /// When the person last proved who they are; none: not known to be recent.
    pub auth_time: Option<Timestamp>,
}

/// What a person lets a client do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whom.
    pub client: ClientId,
    /// What.
    pub scope: Scope,
}

impl SessionRow {
    /// The client that holds it.
    pub fn holder(&self) -> Option<&ClientId> {
        self.grant.as_ref().map(|grant| &grant.client)
    }

    /// The person whose session this is, as who asks for a change.
    pub fn as_caller(&self) -> Caller {
        Caller::Person { sid: self.sid, user: self.user_id.clone(), role: None }
    }

    /// A row whose columns can't be read: it has ended, and can be named to be deleted.
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

    /// When it ends if nothing happens.
    pub fn ends_at(&self) -> Timestamp {
        self.idle_expires_at.min(self.expires_at)
    }
}

/// A session to begin.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its name, drawn by the caller; the same `sid` as `takes_over` for Basic.
    pub sid: Sid,
    /// Whose.
    pub user_id: UserId,
    /// SHA-256 of its key.
    pub secret_hash: Digest,
    /// How its tokens travel.
    pub transport: Transport,
    /// The device.
    pub device: Device,
    /// Sliding life from the store's now.
    pub idle: Duration,
    /// Absolute life from the store's now.
    pub life: Duration,
    /// An earlier session, ended in the same transaction (audit `session.revoked`), if it is the same user's or anyone's.
    pub replaces: Option<Sid>,
    /// Basic only: if this user has a live `transport = 'basic'` row with the same ip and user agent, that row is taken over: its sid
    /// stays (and is returned), secret_hash/generation/times are new, nothing is revoked.
    pub takes_over_basic: bool,
    /// The client it is for.
    pub grant: Option<Grant>,
    /// The user's login that it goes back to: one that has ended meanwhile begins nothing.
    pub login: Option<Sid>,
    /// What the person has proven. The transaction that begins the session requires that it still holds.
    pub proof: Proof,
}

/// What a person has proven, and when.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// When; becomes the session's `auth_time`.
    pub at: ProvenAt,
    /// The hash that the password was checked against: the user's row must still have it.
    pub password_hash: Option<SecretText>,
    /// The identity that was proven at a provider: it must still be linked to the user.
    pub identity: Option<Identity>,
}

/// The time of a proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProvenAt {
    /// Not known to be recent.
    #[default]
    Unknown,
    /// The store's now.
    Now,
    /// An earlier time, as a provider states it; a later one counts as the store's now.
    Then(Timestamp),
}

/// What a judged refresh writes. Times are the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// `generation` becomes this one, `rotated_at` now, the idle expiry now + `idle` (never past `expires_at`).
    Rotate {
        /// The new generation.
        to: u64,
        /// Sliding life.
        idle: Duration,
        /// The time the rule judged by.
        now: Timestamp,
    },
    /// `rotated_at` and `pardoned_at` become now, `pardoned_gen` this one.
    Pardon {
        /// The generation pardoned.
        generation: u64,
        /// The time the rule judged by.
        now: Timestamp,
    },
}

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// One.
    One(Sid),
    /// One, if it is this user's.
    OneOf(UserId, Sid),
    /// All of a user's.
    AllOf(UserId),
    /// Everybody's.
    Everyones,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// `users.id` as text.
    pub id: UserId,
    /// The name to log in with, as given.
    pub name: String,
    /// PHC string; none: no password login.
    pub password_hash: Option<String>,
    /// Roles, in order.
    pub roles: Vec<String>,
    /// Claims of the application.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Whether logins are refused.
    pub disabled: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

impl UserRow {
    /// A row whose columns can't be read: it is there, and may do nothing. Never absent: who has no row here may be a user of an
    /// embedding program, whose roles are not asked for.
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
    /// Name to log in with: 1 to 128 characters, no control characters, checked by the caller.
    pub name: String,
    /// PHC string.
    pub password_hash: Option<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// Claims.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// An identity elsewhere that is linked in the same transaction.
    pub identity: Option<Identity>,
}

/// Who somebody is elsewhere: what an OpenID provider calls them. Never a mail address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The provider, by its issuer.
    pub issuer: String,
    /// The name it gives them, never used again for another.
    pub subject: String,
}

/// An identity as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// Who they are elsewhere.
    pub identity: Identity,
    /// When it was linked; none: not known.
    pub linked_at: Option<Timestamp>,
}

/// A change of a user; `None` leaves as is. The store applies it to the row as the transaction finds it.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Roles, in place of all others.
    pub roles: Option<Vec<String>>,
    /// Roles to give, beside those that the row has.
    pub add_roles: Vec<String>,
    /// Roles to take from those that the row has.
    pub remove_roles: Vec<String>,
    /// Claims.
    pub claims: Option<serde_json::Map<String, serde_json::Value>>,
    /// Disabling ends all sessions (by trigger).
    pub disabled: Option<bool>,
}

/// A server that shares the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name: host, process and something random.
    pub name: String,
    /// Generation of the key ring it has in force.
    pub ring_generation: u64,
    /// Version of the program.
    pub version: String,
    /// When it last said so.
    pub seen_at: Timestamp,
}

/// What happened, before the store stamps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Words with dots: `login`, `refresh.reuse`, …
    pub event: &'static str,
    /// Who did it: a user id, `cli:` and a system user, `client:` and an id, `provider:` and a name, `system`, or empty.
    pub actor: String,
    /// To whom or what: a sid, a user id, a kid.
    pub subject: String,
    /// A JSON object with the evidence; no secrets.
    pub detail: serde_json::Value,
    /// Who asks for the change. The methods that change users, clients and identities, or end sessions, require in their
    /// transaction that the caller still may; else they write nothing and fail with
    /// [`StoreError::Ended`](super::StoreError::Ended). Not stored.
    pub by: Option<Caller>,
}

/// Who asks for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person: the session lives, and its user has this role.
    Person {
        /// The session.
        sid: Sid,
        /// Whose it is.
        user: UserId,
        /// The role that the change needs, if it needs one.
        role: Option<&'static str>,
    },
    /// A machine: the client is enabled and may have this scope.
    Client {
        /// The client.
        id: ClientId,
        /// The scope that the change needs.
        scope: &'static str,
    },
}

impl AuditEvent {
    /// An event without detail.
    pub fn new(event: &'static str, actor: impl Into<String>, subject: impl Into<String>) -> Self {
        let (actor, subject) = (actor.into(), subject.into());
        Self { event, actor, subject, detail: serde_json::json!({}), by: None }
    }

    /// The same, on condition that the caller still may.
    #[must_use]
    pub fn by(mut self, caller: Caller) -> Self {
        self.by = Some(caller);
        self
    }

    /// The same with evidence.
    #[must_use]
    pub fn with(mut self, detail: serde_json::Value) -> Self {
        self.detail = detail;
        self
    }
}

/// A row of `audit`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct AuditRow {
    /// Its number, never used twice.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: String,
    /// By whom.
    pub actor: String,
    /// To whom or what.
    pub subject: String,
    /// The evidence.
    pub detail: serde_json::Value,
}
