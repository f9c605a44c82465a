//! Ends the session that a request presents.

use crate::{
    http::{
        Problem,
        bulla::Shared,
        wire::{cookies::SetCookies, credentials::Authorization, request::Request, request_log},
    },
    problem::known,
    store::{AuditEvent, Event, SessionRow},
};

/// The token by which a request names its session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ShownBy {
    AccessToken,
    RefreshToken,
}

impl Shared {
    /// Ends the session of a request, or all sessions of its user. A request without a session changes nothing.
    pub(crate) async fn log_out(&self, request: &impl Request, everywhere: bool) -> Result<(), Problem> {
        let Some((SessionRow { user_id: user, sid, grant, .. }, shown_by)) =
            self.named_session(request).await?
        else {
            return Ok(());
        };
        request_log::speaks_for(|| user.to_string());
        // An app revokes its tokens at `/oauth/revoke`.
        if grant.is_some() {
            return Err(Problem::program_not_admitted());
        }
        // An access token alone can end only its own session. Ending other devices requires the session itself, as at
        // `/auth/sessions`.
        if everywhere && shown_by == ShownBy::AccessToken {
            return Err(Problem::session_required());
        }
        let event = |event| AuditEvent::new(event, &user, sid.to_string());
        match everywhere {
            true => self.sessions().end_all(&user, event(Event::LogoutEverywhere)).await.map(drop)?,
            false => self.sessions().end(sid, event(Event::Logout)).await.map(drop)?,
        }
        Ok(())
    }

    /// The cookies that clear those of the session. Empty for a request with an `Authorization` header, because its cookies can
    /// belong to another session.
    pub(crate) fn cleared(&self, request: &impl Request) -> SetCookies {
        let mut cookies = SetCookies::default();
        if matches!(self.schemes.read(request), Ok(Authorization::Absent)) {
            self.cookies.clear(&mut cookies);
        }
        cookies
    }

    /// The session of a request, by either token; renews nothing. If the store is unavailable, this is an error, because a logout
    /// must not appear successful unless it is durable.
    async fn named_session(&self, request: &impl Request) -> Result<Option<(SessionRow, ShownBy)>, Problem> {
        match self.schemes.read(request)? {
            Authorization::Bearer(token) => {
                let row = self.named(token).await?.ok_or_else(Problem::unauthorized)?;
                return Ok(Some((row, ShownBy::AccessToken)));
            }
            Authorization::Basic { .. } => return Err(Problem::unauthorized()),
            Authorization::Absent => {}
        }
        let cookie_tokens = self.cookie_tokens(request)??;
        // The refresh token is checked first: its row is the session, even if the access token is missing or revoked.
        if let Some(refresh) = cookie_tokens.refresh
            && let Some(row) = known(self.sessions().identify_to_end(refresh).await)?.flatten()
        {
            return Ok(Some((row, ShownBy::RefreshToken)));
        }
        match cookie_tokens.access {
            Some(access) => Ok(self.named(access).await?.map(|row| (row, ShownBy::AccessToken))),
            None => Ok(None),
        }
    }

    /// The session of an access token, by its row. A forged token has no row, or the row of another user.
    async fn named(&self, access: &str) -> Result<Option<SessionRow>, Problem> {
        match known(self.sessions().authenticate(access))? {
            Some(principal) => Ok(self.sessions().row(&principal).await?),
            None => Ok(None),
        }
    }
}
