//! The service: rows, tokens, denylist and policy together. `begin` and `renew` are its two larger verbs.

use std::{cell::RefCell, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Clock, Timestamp},
    ids::{Audience, ClientId, Sid, UserId},
    secret::Secret,
    session::{
        ClockWatch, Counters, Denylist, OnStale, Policy, Principal, Tokens,
        moves::Moves,
        policy::{KEEP, SKEW},
        refresh::{self, Outcome, Rule},
    },
    store::{AuditEvent, FollowHandle, Grant, Leap, SessionEnd, SessionRow, Store, StoreError, User, Users},
    token::{OpenBuffer, Refused, SealError, SealedToken},
};

/// Cookies hold 4096 bytes with name and attributes: longer tokens are not sealed for a session.
const COOKIE_CHARS: usize = 3800;

/// No session is rotated so often; beyond, integers in JSON are not exact (RFC 7493, section 2.2).
const MOST_ROTATIONS: u64 = 1 << 53;

thread_local! {
    /// Where access tokens are opened, without clearing three kilobytes for each. Refresh tokens, which hold a key, have
    /// buffers of their own that are wiped at once.
    static BUFFER: RefCell<OpenBuffer> = const { RefCell::new(OpenBuffer::new()) };
}

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

/// Sessions of one installation.
pub struct Sessions {
    pub(super) parts: Parts,
    pub(super) counters: Counters,
    pub(super) moves: Moves,
    denylist: Arc<Denylist>,
    watch: ClockWatch,
    _following: FollowHandle,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("denylist", &self.denylist).finish_non_exhaustive()
    }
}

/// What a refresh token says.
#[derive(Deserialize, Serialize)]
pub(super) struct RefreshPayload {
    pub(super) id: String,
    pub(super) sid: String,
    #[serde(rename = "gen")]
    pub(super) generation: u64,
    pub(super) key: zeroize::Zeroizing<String>,
    /// The audience that an app's session was granted for; none: the server itself, or what the client asks for.
    #[serde(rename = "aud", default, skip_serializing_if = "Option::is_none")]
    pub(super) audience: Option<String>,
}

/// A refresh token, opened and checked for shape.
pub(super) struct Presented {
    pub(super) user_id: UserId,
    pub(super) sid: Sid,
    pub(super) generation: u64,
    pub(super) key: Secret<32>,
    pub(super) audience: Option<Audience>,
}

impl Sessions {
    /// Loads the denylist and follows the feed: complete when this returns.
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let denylist = Arc::new(Denylist::default());
        let following = parts.store.follow(Arc::clone(&denylist) as _).await?;
        Ok(Self {
            parts,
            counters: Counters::default(),
            moves: Moves::default(),
            denylist,
            watch: ClockWatch::default(),
            _following: following,
        })
    }

    /// Step 1 of the ladder: no I/O. An access token without `sid` is refused.
    pub fn authenticate(&self, access: &str) -> Result<Principal, Denied> {
        let outcome = self.open_access(access);
        match &outcome {
            Ok(_) => self.counters.add("access.valid"),
            Err(Denied::Token(refused)) => self.counters.refused(*refused),
            Err(Denied::Session) => self.counters.add("access.revoked"),
            Err(_) => self.counters.add("access.cannot_tell"),
        }
        outcome
    }

    /// Refuses to tell who has been revoked from a feed that is too old, if the settings say so.
    pub(super) fn check_feed(&self) -> Result<(), StoreError> {
        let policy = &self.parts.policy;
        if policy.on_stale == OnStale::Refuse && self.denylist.age() > policy.max_staleness {
            return Err(StoreError::Unavailable("the revocation feed is stale".into()));
        }
        Ok(())
    }

    fn open_access(&self, access: &str) -> Result<Principal, Denied> {
        self.check_feed()?;
        let policy = &self.parts.policy;
        let now = self.parts.clock.now();
        let principal = BUFFER.with_borrow_mut(|buffer| {
            self.parts
                .tokens
                .access(|keys| Principal::read(keys.open_at(access, now, policy.access_max_age, buffer)?))
        })?;
        let client = principal.grant().map(|grant| &grant.client);
        self.unless_revoked(principal.sid(), client, principal.issued_at())?;
        Ok(principal)
    }

    /// Asks the denylist.
    pub(super) fn unless_revoked(
        &self,
        sid: Sid,
        client: Option<&ClientId>,
        issued_at: Timestamp,
    ) -> Result<(), Denied> {
        let by_client = |client: &ClientId| self.denylist.denies_client(client.as_str(), issued_at);
        match self.denylist.denies(sid) || client.is_some_and(by_client) {
            true => Err(Denied::Session),
            false => Ok(()),
        }
    }

    /// Opens a refresh token. How old it may be is its row's to say, so it opens as long as any row can live: a parent whose
    /// rotation got lost is honest at twice the idle time, and an outdated token gives a thief away at any age.
    pub(super) fn open_refresh(&self, refresh: &str) -> Result<Presented, Refused> {
        let (now, max_age) = (self.parts.clock.now(), self.parts.policy.session_max_age + SKEW);
        let mut buffer = OpenBuffer::new();
        let payload: RefreshPayload = self
            .parts
            .tokens
            .refresh(|keys| keys.open_at(refresh, now, max_age, &mut buffer)?.parse())?
            .payload;
        Ok(Presented {
            user_id: UserId::new(payload.id).map_err(|_| Refused::Payload)?,
            sid: payload.sid.parse().map_err(|_| Refused::Payload)?,
            generation: Some(payload.generation).filter(|g| *g < MOST_ROTATIONS).ok_or(Refused::Payload)?,
            key: Secret::from_base64url(&payload.key).ok_or(Refused::Payload)?,
            audience: payload.audience.map(Audience::new).transpose().map_err(|_| Refused::Payload)?,
        })
    }

    pub(super) fn seal_access(
        &self,
        user: &User,
        sid: Sid,
        grant: Option<Grant>,
    ) -> Result<(Principal, SealedToken), SealError> {
        let now = self.parts.clock.now();
        let principal = match grant {
            // What an app holds is not its person: the scope says what it may do.
            Some(grant) => Principal::of(&User { roles: Vec::new(), ..user.clone() }, sid, Some(grant), now),
            None => Principal::of(user, sid, None, now),
        };
        let token = self.parts.tokens.access(|keys| keys.seal_at(principal.payload(), now))?;
        if token.as_str().len() > COOKIE_CHARS {
            tracing::error!(user = %user.id, "roles and claims make the access token too long for a cookie");
            return Err(SealError::TooLong);
        }
        Ok((principal, token))
    }

    pub(super) fn seal_refresh(
        &self,
        user: &UserId,
        sid: Sid,
        generation: u64,
        key: &Secret<32>,
        audience: Option<&Audience>,
    ) -> Result<SealedToken, SealError> {
        let payload = RefreshPayload {
            id: user.to_string(),
            sid: sid.to_string(),
            generation,
            key: key.to_base64url(),
            audience: audience.map(|audience| audience.as_str().to_owned()),
        };
        let json = serde_json::to_string(&payload).expect("texts and a number have a JSON form");
        let json = zeroize::Zeroizing::new(json);
        self.parts.tokens.refresh(|keys| keys.seal_at(&json, self.parts.clock.now()))
    }

    /// The audience that the session of a refresh token was granted for, if it was for one.
    pub fn granted_audience(&self, refresh: &str) -> Result<Option<Audience>, Denied> {
        Ok(self.open_refresh(refresh)?.audience)
    }

    /// The live session a refresh token belongs to, if its key matches the row (any generation).
    pub async fn identify(&self, refresh: &str) -> Result<Option<SessionRow>, Denied> {
        let presented = self.open_refresh(refresh)?;
        let (row, now) = self.parts.store.session(presented.sid).await?;
        Ok(row.filter(|row| presented.key.sha256() == row.secret_hash && now < row.ends_at()))
    }

    /// The same for those who end it: a row that can't be read is returned as well. Nobody is let in by it.
    pub async fn identify_to_end(&self, refresh: &str) -> Result<Option<SessionRow>, Denied> {
        let presented = self.open_refresh(refresh)?;
        let (row, now) = self.parts.store.session(presented.sid).await?;
        let owned = |row: &SessionRow| presented.key.sha256() == row.secret_hash && now < row.ends_at();
        Ok(row.filter(|row| row.is_unreadable() || owned(row)))
    }

    /// The row of a refresh token that would be honoured now (a pardon aside). Nothing is written, whatever it is.
    pub async fn examine(&self, refresh: &str) -> Result<Option<SessionRow>, Denied> {
        let presented = self.open_refresh(refresh)?;
        let (row, now) = self.parts.store.session(presented.sid).await?;
        let said = refresh::Presented {
            secret_hash: presented.key.sha256(),
            generation: presented.generation,
            agent: row.as_ref().map_or("", |row| &row.device.user_agent),
        };
        let holds = |row: &SessionRow| {
            let outcome = refresh::judge(&row.into(), &said, now, &Rule::from(&self.parts.policy));
            !matches!(outcome, Outcome::Invalid | Outcome::Reuse | Outcome::Pardon { .. })
        };
        Ok(row.clone().filter(holds))
    }

    /// Reads row, user and roles from the store for a principal (where something is changed or administered):
    /// `Denied::Session` unless the row lives and the user is enabled.
    pub async fn confirm(&self, principal: &Principal) -> Result<(SessionRow, User), Denied> {
        let (row, now) = self.parts.store.session(principal.sid()).await?;
        let row = row.filter(|row| row.user_id.as_str() == principal.id() && now < row.ends_at());
        let row = row.ok_or(Denied::Session)?;
        let user = self.parts.users.find(&row.user_id).await?.ok_or(Denied::Session)?;
        Ok((row, user))
    }

    /// The row a principal's token names, over or not; none if it is gone or another's: a token says nothing about rows.
    pub async fn row(&self, principal: &Principal) -> Result<Option<SessionRow>, StoreError> {
        let (row, _) = self.parts.store.session(principal.sid()).await?;
        Ok(row.filter(|row| row.user_id.as_str() == principal.id()))
    }

    /// Ends one session (`logout` or `session.revoked`); false if there was none.
    pub async fn end(&self, sid: Sid, event: AuditEvent) -> Result<bool, StoreError> {
        Ok(!self.parts.store.end_sessions(SessionEnd::One(sid), event).await?.is_empty())
    }

    /// Ends one of a user's sessions; false if this user has none of that name.
    pub async fn end_own(&self, user: &UserId, sid: Sid, event: AuditEvent) -> Result<bool, StoreError> {
        Ok(!self.parts.store.end_sessions(SessionEnd::OneOf(user.clone(), sid), event).await?.is_empty())
    }

    /// Ends all of a user's sessions; returns how many.
    pub async fn end_all(&self, user: &UserId, event: AuditEvent) -> Result<usize, StoreError> {
        Ok(self.parts.store.end_sessions(SessionEnd::AllOf(user.clone()), event).await?.len())
    }

    /// Deletes what has expired, in the store and in memory; returns rows deleted. By a clock that leaps nothing is deleted.
    pub async fn sweep(&self, audit_keep: Duration) -> Result<u64, StoreError> {
        self.denylist.prune();
        match self.look_at_clock().await? {
            Some(_) => Ok(0),
            None => self.parts.store.sweep(KEEP, audit_keep).await,
        }
    }

    /// Looks whether the store's clock leaps (a server does every few seconds), and remembers it in the store.
    pub async fn look_at_clock(&self) -> Result<Option<Leap>, StoreError> {
        self.watch.look(&*self.parts.store).await
    }

    /// The leap that the last look found.
    pub fn leap(&self) -> Option<Leap> {
        self.watch.leap()
    }

    /// The parts it was made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The denylist (size, age: for metrics and readiness).
    pub fn denylist(&self) -> &Denylist {
        &self.denylist
    }

    /// What has been counted, by name.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
