//! The service: rows, tokens, denylist and policy together.

use std::sync::Arc;

use crate::{
    clock::Clock,
    ids::{Sid, UserId},
    session::{Denylist, Policy, Principal, Tokens},
    store::{AuditEvent, Device, SessionRow, Store, StoreError, Transport, User, Users},
    token::{Refused, SealError, SealedToken},
};

/// What a [`Sessions`] is made of.
#[derive(Clone)]
pub struct Parts {
    /// The rows.
    pub store: Arc<dyn Store>,
    /// Where users come from.
    pub users: Arc<dyn Users>,
    /// The keys in force.
    pub tokens: Arc<Tokens>,
    /// Lifetimes and rules.
    pub policy: Policy,
    /// This node's clock: for tokens' ages only, never for the refresh rule.
    pub clock: Arc<dyn Clock>,
}

/// Why nobody was recognised.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The token doesn't open.
    #[error("invalid")]
    Token(#[from] Refused),
    /// It opens, and its session is revoked, gone, expired, of a disabled user, or of another key.
    #[error("invalid")]
    Session,
    /// An outdated refresh token outside the window: the session was just ended.
    #[error("invalid")]
    Reuse,
    /// Can't tell: the store is away, or the feed is stale. 503, cookies untouched.
    #[error("cannot tell: {0}")]
    CannotTell(#[from] StoreError),
    /// Nothing could be sealed.
    #[error("cannot tell: {0}")]
    Seal(#[from] SealError),
}

/// What a request may do with a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewMode {
    /// The full rule.
    Rotate,
    /// Serve the request by the row, rotate nothing, hand nothing out (cross-site navigation).
    ServeOnly,
}

/// A session that has just begun.
#[derive(Debug)]
pub struct Issued {
    /// Who.
    pub principal: Principal,
    /// The row.
    pub row: SessionRow,
    /// The short pass.
    pub access: SealedToken,
    /// The renewal.
    pub refresh: SealedToken,
    /// How many other live sessions the user has.
    pub others: usize,
}

/// A refresh token that held.
#[derive(Debug)]
pub struct Renewed {
    /// Who, with present roles and claims.
    pub principal: Principal,
    /// How the session's tokens travel.
    pub transport: Transport,
    /// A new access token; none under [`RenewMode::ServeOnly`].
    pub access: Option<SealedToken>,
    /// A new refresh token, if the rule hands one out.
    pub refresh: Option<SealedToken>,
    /// What is left of the session's life: the longest `Max-Age` its refresh cookie can have.
    pub refresh_max_age: std::time::Duration,
    /// `rotate`, `repeat`, `pardon`, `forward`: for the metric.
    pub outcome: &'static str,
}

/// Sessions of one installation. Cheap to clone through `Arc`.
pub struct Sessions {}

impl Sessions {
    /// Loads the denylist and follows the feed: complete when this returns.
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let _ = parts;
        todo!()
    }

    /// Step 1 of the ladder: no I/O. An access token without `sid` is refused.
    pub fn authenticate(&self, access: &str) -> Result<Principal, Denied> {
        let _ = access;
        todo!()
    }

    /// Step 2: by the refresh token's row.
    pub async fn renew(&self, refresh: &str, device: &Device, mode: RenewMode) -> Result<Renewed, Denied> {
        let _ = (refresh, device, mode);
        todo!()
    }

    /// Begins a session for a user that has just proven who they are; audit `login`. `presented` is the refresh token the same request carried, if any:
    /// if it holds, its session ends in the same transaction. `Denied::Session` if the user was disabled meanwhile.
    pub async fn begin(
        &self,
        user: &User,
        transport: Transport,
        device: Device,
        presented: Option<&str>,
    ) -> Result<Issued, Denied> {
        let _ = (user, transport, device, presented);
        todo!()
    }

    /// The session a refresh token belongs to, if its key matches the row (any generation): what a logout with only a refresh cookie ends.
    pub async fn identify(&self, refresh: &str) -> Result<Option<SessionRow>, Denied> {
        let _ = refresh;
        todo!()
    }

    /// Reads row, user and roles from the store for a principal (where something is changed or administered): `Denied::Session` unless the row lives and the user is enabled.
    pub async fn confirm(&self, principal: &Principal) -> Result<(SessionRow, User), Denied> {
        let _ = principal;
        todo!()
    }

    /// Ends one session (`logout` or `session.revoked`); false if there was none.
    pub async fn end(&self, sid: Sid, event: AuditEvent) -> Result<bool, StoreError> {
        let _ = (sid, event);
        todo!()
    }

    /// Ends all of a user's sessions; returns how many.
    pub async fn end_all(&self, user: &UserId, event: AuditEvent) -> Result<usize, StoreError> {
        let _ = (user, event);
        todo!()
    }

    /// Changes the password: ends all sessions and begins a new one (same transport and device) for the caller.
    pub async fn change_password(
        &self,
        user: &User,
        password_hash: String,
        transport: Transport,
        device: Device,
    ) -> Result<Issued, Denied> {
        let _ = (user, password_hash, transport, device);
        todo!()
    }

    /// The parts it was made of.
    pub fn parts(&self) -> &Parts {
        todo!()
    }

    /// The denylist (size, age: for metrics and readiness).
    pub fn denylist(&self) -> &Denylist {
        todo!()
    }
}
