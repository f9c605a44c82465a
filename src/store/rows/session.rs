//! The row of a session.

use crate::{
    clock::Timestamp,
    ids::{BadName, ClientId, Scope, Sid, UserId},
    secret::Digest,
    store::{Caller, ClientRow},
    text_names::text_names,
};

/// A session: one login on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The id of the session.
    pub sid: Sid,
    /// The user of the session.
    pub user_id: UserId,
    /// SHA-256 of the session secret.
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
    /// The device that began the session, or the device to which it has moved since
    /// ([`SessionRows::change_device`](crate::store::SessionRows::change_device)).
    pub device: Device,
    /// The grant of an OAuth client that holds the session. `None` for a login of Bulla's own pages.
    pub grant: Option<Grant>,
    /// The last time at which the person authenticated. `None` if it is not known to be recent.
    pub auth_time: Option<Timestamp>,
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

    /// Returns the JSON view for programs. It contains no token and no key. `client_id` and `scope` are present if an OAuth client
    /// holds the session.
    pub fn to_json(&self) -> serde_json::Value {
        let mut shown = serde_json::json!({
            "sid": self.sid.to_string(), "user_id": self.user_id.as_str(), "generation": self.generation,
            "created_at": self.created_at, "rotated_at": self.rotated_at,
            "idle_expires_at": self.idle_expires_at, "expires_at": self.expires_at,
            "transport": self.transport.as_str(), "user_agent": self.device.user_agent, "ip": self.device.ip,
        });
        if let Some(grant) = &self.grant {
            shown["client_id"] = grant.client.as_str().into();
            shown["scope"] = grant.scope.to_string().into();
        }
        shown
    }

    /// A stand-in for a row that can't be read. The session counts as ended, and its sid can be used to delete it.
    pub(in crate::store) fn unreadable(sid: Sid, user: Option<UserId>, secret_hash: Option<Digest>) -> Self {
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

/// A person's grant to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The client that receives the grant.
    pub client: ClientId,
    /// The granted scope.
    pub scope: Scope,
}

impl Grant {
    /// Whether the client may hold the grant now: it is enabled and has the complete scope.
    pub(crate) fn may_be_held_by(&self, client: &ClientRow) -> bool {
        !client.disabled && self.scope.is_within(&client.scopes)
    }

    /// Reads a grant from the columns of a session. `None` if the session has no client.
    pub(in crate::store) fn read(
        client: Option<String>,
        scope: Option<String>,
    ) -> Result<Option<Self>, BadName> {
        let Some(client) = client else { return Ok(None) };
        let scope = scope.unwrap_or_default().parse()?;
        Ok(Some(Self { client: ClientId::new(client)?, scope }))
    }
}

/// How the tokens of a session travel. Fixed for the life of the session (docs/design/http.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

text_names!(Transport { Cookie = "cookie", Body = "body", Hybrid = "hybrid", Basic = "basic" });

/// The origin of a request, shown to the user and kept as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Device {
    /// The header `User-Agent`, cut to 255 characters.
    pub user_agent: String,
    /// The IP address. Behind trusted proxies it is the client's address.
    pub ip: String,
}
