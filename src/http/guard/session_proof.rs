//! The proofs that a change requires in addition to an access token. An access token is sent with every request, so it is
//! short-lived, and alone it must not cause any lasting change. To change a login method, end a device or administer, a request
//! must present the session itself. To change a login method, it also needs a recent proof of identity.

use serde::Deserialize;

use crate::{
    clock::Timestamp,
    http::{
        Problem,
        bulla::Shared,
        pages,
        wire::{answer::Answer, credentials::Authorization, request::Request},
    },
    secret::SecretText,
    session::{Denied, Present, Principal},
    store::{SessionRow, StoreError, User},
};

/// A person's session that the request itself presents.
#[derive(Debug)]
pub(crate) struct PresentedSession {
    pub(crate) row: SessionRow,
    pub(crate) user: User,
    /// The store's time when the row was read. `None` if the request contains the password (HTTP Basic).
    now: Option<Timestamp>,
}

/// The current password, in requests that accept it.
#[derive(Default, Deserialize)]
pub(crate) struct CurrentPassword {
    #[serde(default)]
    current: Option<SecretText>,
}

impl CurrentPassword {
    /// An empty field of a form counts as absent.
    pub(crate) fn password(&self) -> Option<&SecretText> {
        self.current.as_ref().filter(|password| !password.expose().is_empty())
    }
}

impl Shared {
    /// The session that a person's request presents: a refresh token in the cookie, which its row would rotate or repeat. It must
    /// name the same session and user as the access token, if there is one. HTTP Basic contains the password, which is a stronger
    /// proof. A Bearer token of a person is refused.
    pub(crate) async fn presented_session(
        &self,
        request: &impl Request,
        principal: &Principal,
    ) -> Result<PresentedSession, Problem> {
        match self.schemes.read(request)? {
            Authorization::Bearer(_) => return Err(Problem::session_required()),
            Authorization::Basic { .. } => {
                let (row, user) = self.sessions().confirm(principal).await?;
                return Ok(PresentedSession { row, user, now: None });
            }
            Authorization::Absent => {}
        }
        let refresh = self.cookie_tokens(request)??.refresh.ok_or_else(Problem::session_required)?;
        let same = |row: &SessionRow| {
            row.sid == principal.sid()
                && row.user_id.as_str() == principal.id()
                && principal.grant().is_none()
        };
        match self.sessions().present(refresh, &self.site.device(request)).await {
            Ok(Some(Present { row, user, now })) if same(&row) => {
                Ok(PresentedSession { row, user, now: Some(now) })
            }
            Ok(_) => Err(Problem::session_required()),
            // The refresh token belongs to no live session. If the access token's session has ended too, the answer is 401.
            Err(Denied::Token(_) | Denied::Session) => {
                self.sessions().confirm(principal).await?;
                Err(Problem::session_required())
            }
            Err(denied) => Err(denied.into()),
        }
    }

    /// Checks that the person of this session has proven their identity recently: by the current password in the request, or by a
    /// login within `reauth_within`.
    pub(crate) async fn require_recent_proof(
        &self,
        request: &impl Request,
        shown: &PresentedSession,
        current: &CurrentPassword,
    ) -> Result<(), Problem> {
        if let Some(password) = current.password() {
            let verified = self
                .logins()
                .check_current_password(&self.site.requester(request), &shown.user, password)
                .await?;
            return self.record_authentication(shown, verified).await;
        }
        match shown.now.is_none_or(|now| self.is_recent(&shown.row, now)) {
            true => Ok(()),
            false => Err(Problem::reauth_required()),
        }
    }

    pub(crate) fn is_recent(&self, row: &SessionRow, now: Timestamp) -> bool {
        self.sessions().parts().policy.is_recent(row.auth_time, now)
    }

    /// Sets a new `auth_time` of the session, so that it counts as recent when the provider sends the browser back to link an
    /// identity.
    async fn record_authentication(
        &self,
        shown: &PresentedSession,
        verified: SecretText,
    ) -> Result<(), Problem> {
        let (parts, row) = (self.sessions().parts(), &shown.row);
        let verified = parts.users.keeps_passwords_in_store().then_some(verified);
        if parts.store.record_authentication(row.sid, &row.user_id, verified).await? {
            return Ok(());
        }
        let (found, now) = parts.store.session(row.sid).await?;
        match found.is_some_and(|row| now < row.ends_at()) {
            true => Err(StoreError::Stale.into()),
            false => Err(Problem::unauthorized()),
        }
    }

    /// The login page for a person whose form requires a new login. It shows the reason and leads back to the account page.
    pub(crate) async fn new_login_page(&self, principal: &Principal, problem: &Problem) -> Answer {
        let user = self.sessions().parts().users.find(&principal.user_id()).await;
        let name = user.ok().flatten().map(|user| user.name).unwrap_or_default();
        let page = pages::Login {
            rd: &self.pages.at("/account"),
            error: Some(problem.detail()),
            name: &name,
            again: true,
            ..Default::default()
        };
        Answer::problem_page(problem, self.pages.login(&page))
    }
}
