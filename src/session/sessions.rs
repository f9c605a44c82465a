//! The session service: combines rows, tokens, denylist and policy. Its two larger operations are in `begin` and `renew`.

use std::{cell::RefCell, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Clock, SKEW, Timestamp},
    ids::{Audience, ClientId, Sid, UserId},
    secret::Secret,
    session::{
        ClockWatch, Counter, Counters, Denylist, OnStale, Policy, Principal, Tokens,
        cut_streams::CutStreams,
        moves::Moves,
        policy::KEEP,
        refresh::{self, Outcome, Rule},
    },
    store::{
        AuditEvent, ClockLeap, FollowHandle, Grant, SessionEnd, SessionRow, Store, StoreError, User,
        UserSource,
    },
    token::{OpenBuffer, Refused, SealError, SealedToken},
};

/// The maximum length of a session's token. A cookie holds 4096 bytes including name and attributes, so a longer token is not
/// sealed.
const COOKIE_CHARS: usize = 3800;

/// An upper bound of the generation, which no real session reaches. JSON integers above it are not exact (RFC 7493, section 2.2).
const MOST_ROTATIONS: u64 = 1 << 53;

thread_local! {
    /// The buffer in which access tokens are opened. It is reused, so that three kilobytes need not be cleared for each token.
    /// Refresh tokens contain a key, so each has its own buffer, which is wiped at once.
    static BUFFER: RefCell<OpenBuffer> = const { RefCell::new(OpenBuffer::new()) };
}

/// The parts of a [`Sessions`].
#[derive(Clone)]
pub struct Parts {
    /// The store of the rows.
    pub store: Arc<dyn Store>,
    /// The source of users.
    pub users: Arc<dyn UserSource>,
    /// The keys in force.
    pub tokens: Arc<Tokens>,
    /// Lifetimes and rules.
    pub policy: Policy,
    /// This node's clock. Used for the age of tokens only, never for the refresh rule.
    pub clock: Arc<dyn Clock>,
}

/// The reason why a token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The token does not open.
    #[error("invalid")]
    Token(#[from] Refused),
    /// The token opens, but its session is revoked, gone or expired, its user is disabled, or its key does not match.
    #[error("invalid")]
    Session,
    /// An outdated refresh token outside the window. The session has just been ended.
    #[error("invalid")]
    Reuse,
    /// The answer is unknown: the store is unavailable or the feed is stale. Status 503; cookies stay unchanged.
    #[error("the validity is unknown: {0}")]
    CannotTell(#[from] StoreError),
    /// A token could not be sealed.
    #[error("the validity is unknown: {0}")]
    Seal(#[from] SealError),
}

/// The sessions of one installation.
pub struct Sessions {
    pub(super) parts: Parts,
    pub(super) counters: Counters,
    pub(super) moves: Moves,
    pub(super) cut_streams: CutStreams,
    denylist: Arc<Denylist>,
    watch: ClockWatch,
    _following: FollowHandle,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("denylist", &self.denylist).finish_non_exhaustive()
    }
}

/// The payload of a refresh token. The names are those of the JSON object.
#[derive(Deserialize, Serialize)]
pub(super) struct RefreshPayload {
    pub(super) id: String,
    pub(super) sid: String,
    #[serde(rename = "gen")]
    pub(super) generation: u64,
    pub(super) key: zeroize::Zeroizing<String>,
    /// The audience that an app's session was granted for. `None`: this server, or the audience that the client asks for.
    #[serde(rename = "aud", default, skip_serializing_if = "Option::is_none")]
    pub(super) audience: Option<String>,
}

/// A refresh token that was opened and whose form was checked.
pub(super) struct OpenedRefresh {
    pub(super) user_id: UserId,
    pub(super) sid: Sid,
    pub(super) generation: u64,
    pub(super) key: Secret<32>,
    pub(super) audience: Option<Audience>,
}

impl Sessions {
    /// Loads the denylist and follows the feed. The denylist is complete when this returns.
    ///
    /// # Errors
    ///
    /// The store can't load the revocations.
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let denylist = Arc::new(Denylist::default());
        let following = parts.store.follow(Arc::clone(&denylist) as _).await?;
        Ok(Self {
            parts,
            counters: Counters::default(),
            moves: Moves::default(),
            cut_streams: CutStreams::default(),
            denylist,
            watch: ClockWatch::default(),
            _following: following,
        })
    }

    /// Step 1 of authentication. Does no I/O. Refuses an access token without `sid`.
    ///
    /// # Errors
    ///
    /// `Denied::Token` if the token does not open, `Denied::Session` if its session or client is revoked, `Denied::CannotTell` if
    /// the feed is too old and the settings refuse tokens then.
    pub fn authenticate(&self, access: &str) -> Result<Principal, Denied> {
        let outcome = self.open_access(access);
        match &outcome {
            Ok(_) => self.counters.add(Counter::AccessValid),
            Err(Denied::Token(refused)) => self.counters.refused(*refused),
            Err(Denied::Session) => self.counters.add(Counter::AccessRevoked),
            Err(_) => self.counters.add(Counter::AccessCannotTell),
        }
        outcome
    }

    /// Fails if the feed is too old and the settings refuse tokens in that case.
    pub(super) fn check_feed(&self) -> Result<(), StoreError> {
        let policy = &self.parts.policy;
        if policy.on_stale == OnStale::Refuse && self.denylist.age() > policy.max_staleness {
            return Err(StoreError::Unavailable("the revocation feed is older than max_staleness".into()));
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

    /// Refuses a token that the denylist revokes.
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

    /// Opens a refresh token. The row decides how old it can be, so it opens for as long as any row can live. A client whose
    /// rotation was lost can honestly present the previous token up to twice the idle time later, and an outdated token reveals a
    /// thief at any age.
    pub(super) fn open_refresh(&self, refresh: &str) -> Result<OpenedRefresh, Refused> {
        let (now, max_age) = (self.parts.clock.now(), self.parts.policy.session_max_age + SKEW);
        let mut buffer = OpenBuffer::new();
        let payload: RefreshPayload = self
            .parts
            .tokens
            .refresh(|keys| keys.open_at(refresh, now, max_age, &mut buffer)?.parse())?
            .payload;
        Ok(OpenedRefresh {
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
            // A token held by an app has no roles: the scope decides what the app may do.
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

    /// The audience that the session of a refresh token was granted for, if it was granted for one.
    ///
    /// # Errors
    ///
    /// `Denied::Token` if the token does not open.
    pub fn granted_audience(&self, refresh: &str) -> Result<Option<Audience>, Denied> {
        Ok(self.open_refresh(refresh)?.audience)
    }

    /// The live session of a refresh token, if the key matches the row. The generation is not checked.
    ///
    /// # Errors
    ///
    /// `Denied::Token` if the token does not open, `Denied::CannotTell` if the store does not answer.
    pub async fn identify(&self, refresh: &str) -> Result<Option<SessionRow>, Denied> {
        let presented = self.open_refresh(refresh)?;
        let (row, now) = self.parts.store.session(presented.sid).await?;
        Ok(row.filter(|row| presented.key.sha256() == row.secret_hash && now < row.ends_at()))
    }

    /// Like [`Self::identify`], for callers that end the session: also returns a row that can't be read. It must not be used to
    /// grant access.
    pub async fn identify_to_end(&self, refresh: &str) -> Result<Option<SessionRow>, Denied> {
        let presented = self.open_refresh(refresh)?;
        let (row, now) = self.parts.store.session(presented.sid).await?;
        let owned = |row: &SessionRow| presented.key.sha256() == row.secret_hash && now < row.ends_at();
        Ok(row.filter(|row| row.is_unreadable() || owned(row)))
    }

    /// The row of a refresh token that would be accepted now without a new pardon. Writes nothing.
    ///
    /// # Errors
    ///
    /// `Denied::Token` if the token does not open, `Denied::CannotTell` if the store does not answer.
    pub async fn examine(&self, refresh: &str) -> Result<Option<SessionRow>, Denied> {
        let presented = self.open_refresh(refresh)?;
        let (row, now) = self.parts.store.session(presented.sid).await?;
        let said = refresh::RefreshAttempt {
            secret_hash: presented.key.sha256(),
            generation: presented.generation,
            agent: row.as_ref().map_or("", |row| &row.device.user_agent),
        };
        let holds = |row: &SessionRow| {
            let outcome = refresh::decide(&row.into(), &said, now, &Rule::from(&self.parts.policy));
            !matches!(outcome, Outcome::Invalid | Outcome::Reuse | Outcome::Pardon { .. })
        };
        Ok(row.clone().filter(holds))
    }

    /// Reads row, user and roles of a principal from the store. Used before changes and administration.
    ///
    /// # Errors
    ///
    /// `Denied::Session` unless the row is live and the user is enabled.
    pub async fn confirm(&self, principal: &Principal) -> Result<(SessionRow, User), Denied> {
        let (row, now) = self.parts.store.session(principal.sid()).await?;
        let row = row.filter(|row| row.user_id.as_str() == principal.id() && now < row.ends_at());
        let row = row.ok_or(Denied::Session)?;
        let user = self.parts.users.find(&row.user_id).await?.ok_or(Denied::Session)?;
        Ok((row, user))
    }

    /// The row of a principal's session, whether it has ended or not. `None` if the row is gone or belongs to another user; the
    /// token alone does not prove that its row exists.
    pub async fn row(&self, principal: &Principal) -> Result<Option<SessionRow>, StoreError> {
        let (row, _) = self.parts.store.session(principal.sid()).await?;
        Ok(row.filter(|row| row.user_id.as_str() == principal.id()))
    }

    /// Ends one session (`logout` or `session.revoked`). Returns false if it did not exist.
    pub async fn end(&self, sid: Sid, event: AuditEvent) -> Result<bool, StoreError> {
        Ok(!self.parts.store.end_sessions(SessionEnd::One(sid), event).await?.is_empty())
    }

    /// Ends one of a user's sessions. Returns false if this user has no session with that sid.
    pub async fn end_own(&self, user: &UserId, sid: Sid, event: AuditEvent) -> Result<bool, StoreError> {
        Ok(!self.parts.store.end_sessions(SessionEnd::OneOfUser(user.clone(), sid), event).await?.is_empty())
    }

    /// Ends all sessions of a user. Returns their number.
    pub async fn end_all(&self, user: &UserId, event: AuditEvent) -> Result<usize, StoreError> {
        Ok(self.parts.store.end_sessions(SessionEnd::AllOfUser(user.clone()), event).await?.len())
    }

    /// Deletes expired rows in the store and expired revocations in memory. Returns the number of deleted rows. Deletes no rows
    /// while the store's clock has leapt.
    pub async fn sweep(&self, audit_keep: Duration) -> Result<u64, StoreError> {
        self.denylist.prune();
        match self.check_clock().await? {
            Some(_) => Ok(0),
            None => self.parts.store.sweep(KEEP, audit_keep).await,
        }
    }

    /// Checks whether the store's clock has leapt, and remembers the result in the store. A server calls this every few seconds.
    pub async fn check_clock(&self) -> Result<Option<ClockLeap>, StoreError> {
        self.watch.look(&*self.parts.store).await
    }

    /// The leap that the last check found.
    pub fn leap(&self) -> Option<ClockLeap> {
        self.watch.leap()
    }

    /// The parts from which the service is made.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The denylist. Metrics and readiness use its size and age.
    pub fn denylist(&self) -> &Denylist {
        &self.denylist
    }

    /// The counters, by name.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
