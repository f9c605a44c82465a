//! What a request must bring beside an access token to change a way in, to end a device or to administer: the session
//! itself; and to change a way in, a recent proof of who asks as well. An access token travels with every request and is
//! short-lived for that reason: alone it must not turn into anything that lasts.

use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::{bulla::Inner, credentials::Authorization, pages};
use crate::{
    clock::Timestamp,
    http::Problem,
    identity::{Account, openid::Proven},
    secret::SecretText,
    session::{Denied, Present, Principal, SKEW},
    store::{LoginError, ProvenAt, SessionRow, StoreError, User},
};

/// A person's session that the request brings itself.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) row: SessionRow,
    pub(super) user: User,
    /// The store's time when the row was read; none: the request brings the password itself (HTTP Basic).
    now: Option<Timestamp>,
}

/// The present password, where a request may bring it.
#[derive(Default, Deserialize)]
pub(super) struct Current {
    #[serde(default)]
    current: Option<SecretText>,
}

impl Current {
    /// An empty field of a form is none.
    pub(super) fn password(&self) -> Option<&SecretText> {
        self.current.as_ref().filter(|password| !password.expose().is_empty())
    }
}

impl Inner {
    /// The session of a person's request: a refresh token in the cookie that names the same session and user as the access
    /// token, if one came, and that its row would rotate or repeat. HTTP Basic brings the password, which is more. A
    /// person's Bearer token is refused.
    pub(super) async fn in_session(
        &self,
        request: &HttpRequest,
        principal: &Principal,
    ) -> Result<Shown, Problem> {
        match Authorization::of(request)? {
            Authorization::Bearer(_) => return Err(Problem::session_required()),
            Authorization::Basic { .. } => {
                let (row, user) = self.sessions.confirm(principal).await?;
                return Ok(Shown { row, user, now: None });
            }
            Authorization::Absent => {}
        }
        let refresh = self.carried(request)??.refresh.ok_or_else(Problem::session_required)?;
        let same = |row: &SessionRow| {
            row.sid == principal.sid()
                && row.user_id.as_str() == principal.id()
                && principal.grant().is_none()
        };
        match self.sessions.present(refresh, &self.site.device(request)).await {
            Ok(Some(Present { row, user, now })) if same(&row) => Ok(Shown { row, user, now: Some(now) }),
            Ok(_) => Err(Problem::session_required()),
            // The refresh token belongs to no live session. If the access token's session has ended too, the answer is 401.
            Err(Denied::Token(_) | Denied::Session) => {
                self.sessions.confirm(principal).await?;
                Err(Problem::session_required())
            }
            Err(denied) => Err(denied.into()),
        }
    }

    /// Whether the person of this session has proven recently who they are: by the present password in the request, or by a
    /// login within `reauth_within`.
    pub(super) async fn recently(
        &self,
        request: &HttpRequest,
        shown: &Shown,
        current: &Current,
    ) -> Result<(), Problem> {
        if let Some(password) = current.password() {
            let verified = self.present_password(request, &shown.user, password).await?;
            return self.note_proof(shown, verified).await;
        }
        match shown.now.is_none_or(|now| self.is_recent(&shown.row, now)) {
            true => Ok(()),
            false => Err(Problem::reauth_required()),
        }
    }

    pub(super) fn is_recent(&self, row: &SessionRow, now: Timestamp) -> bool {
        self.sessions.parts().policy.is_recent(row.auth_time, now)
    }

    /// Checks the present password of somebody who is signed in, throttled as a login. What it was checked against.
    pub(super) async fn present_password(
        &self,
        request: &HttpRequest,
        user: &User,
        password: &SecretText,
    ) -> Result<SecretText, Problem> {
        let account = Account::User(&user.name);
        let charge = self.admit(account, request).await?;
        match self.sessions.parts().users.prove(&user.name, password).await {
            Ok((found, verified)) if found.id == user.id => {
                charge.succeeded();
                Ok(verified)
            }
            Ok(_) | Err(LoginError::Wrong) => {
                charge.failed();
                self.failed_attempt(account, request, "wrong present password").await?;
                Err(Problem::wrong_password())
            }
            Err(LoginError::Busy) => {
                charge.undecided();
                Err(Problem::busy())
            }
            Err(LoginError::Store(error)) => {
                charge.undecided();
                Err(error.into())
            }
        }
    }

    /// The session has a new `auth_time`, so that a link finds it recent when the provider sends the browser back.
    async fn note_proof(&self, shown: &Shown, verified: SecretText) -> Result<(), Problem> {
        let (parts, row) = (self.sessions.parts(), &shown.row);
        let verified = parts.users.keeps_passwords_in_store().then_some(verified);
        if parts.store.note_proof(row.sid, &row.user_id, verified).await? {
            return Ok(());
        }
        let (found, now) = parts.store.session(row.sid).await?;
        match found.is_some_and(|row| now < row.ends_at()) {
            true => Err(StoreError::Moved.into()),
            false => Err(Problem::unauthorized()),
        }
    }

    /// The login page for a person whose form needs a new login: it says why, and leads back to the account.
    pub(super) async fn log_in_again(&self, principal: &Principal, problem: &Problem) -> HttpResponse {
        let user = self.sessions.parts().users.find(&principal.user_id()).await;
        let name = user.ok().flatten().map(|user| user.name).unwrap_or_default();
        let page = pages::Login {
            rd: "/auth/account",
            error: Some(problem.detail()),
            name: &name,
            ways: &self.ways,
            again: true,
            ..Default::default()
        };
        pages::answer(&mut problem.head(), pages::login(&page))
    }
}

/// When somebody proved who they are at a provider, by its ID token. A time that is not stated, or lies ahead of our clock by
/// more than the skew, is not known.
pub(super) fn proven_at(proven: &Proven, now: Timestamp) -> ProvenAt {
    match proven.auth_time {
        Some(at) if at.since(now) <= SKEW => ProvenAt::Then(at),
        _ => ProvenAt::Unknown,
    }
}
