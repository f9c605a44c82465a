//! Begins and ends sessions from the code of an embedding program: after a registration, a passkey or a magic link.

use crate::{
    http::{
        Bulla, Problem,
        bulla::Shared,
        wire::{cookies::SetCookies, forgery, request::Request},
    },
    ids::UserId,
    secret::SecretText,
    session::{Issued, Principal},
    store::{Actor, AuditEvent, Event, Proof, ProvenAt, Transport, User, with_time_budget},
};

/// The cookies of a session that has just begun or ended, for the answer to the request. Without them the browser does not know of
/// the change.
#[must_use = "the browser must get the cookies: put them on the answer"]
#[derive(Clone, Debug)]
pub struct SessionCookies(pub(crate) SetCookies);

impl SessionCookies {
    /// The values of the `Set-Cookie` headers, for a program that builds its answer in another way. It must also set
    /// `Cache-Control: no-store`.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }
}

/// A session that [`Bulla::sign_in`] has begun.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The person, as the guard will give it to handlers from the next request on.
    pub principal: Principal,
    /// The cookies of the session, for the answer.
    pub cookies: SessionCookies,
}

impl Bulla {
    /// Begins a session for a user whose identity the embedding program has just proven itself: after a registration, a passkey or
    /// a magic link. The answer to `request` must get the cookies.
    ///
    /// The rules are those of a login. A live session of the same browser is replaced. If the user has more than `session_cap`
    /// sessions, the oldest end. The session counts as a recent proof of identity, so call this only after such a proof, never to
    /// prolong a session. `method` names the kind of proof, such as `passkey`; the audit event `login` has it as `by`. It must not
    /// contain a secret.
    ///
    /// Roles and claims in the first access token are those of `user`; each renewal reads them again.
    ///
    /// Throttling the attempts is the program's part, and so is a proof that works only once: this method begins a session at each
    /// call.
    ///
    /// # Errors
    ///
    /// No session begins, and the answer is
    ///
    /// - 401 `unauthorized` if the user is disabled or unknown to the source of users;
    /// - 403 `foreign_origin` if another site has caused an unsafe request (docs/design/http.md);
    /// - 503 `unavailable` if the store does not answer.
    pub async fn sign_in(
        &self,
        user: &User,
        request: &impl Request,
        method: &str,
    ) -> Result<SignedIn, Problem> {
        let shared = &self.0;
        // As in a login, contradictory cookies don't keep a person from signing in.
        let carried = shared.cookie_tokens(request)?.unwrap_or_default();
        let proof = Proof { at: ProvenAt::Now, method: Some(method.to_owned()), ..Proof::default() };
        let device = shared.site.device(request);
        let sessions = shared.sessions();
        let begun = sessions.begin_by(user, proof, Transport::Cookie, device, carried.refresh);
        Ok(shared.signed_in(with_time_budget(begun).await?))
    }

    /// Checks a name and a password, and begins a session: for a login form of the embedding program's own. The answer to `request`
    /// must get the cookies.
    ///
    /// The rules are those of `POST /auth/login`: failed attempts are throttled by account and by address, an unknown name costs the
    /// same time as a wrong password, and a live session of the same browser is replaced.
    ///
    /// # Errors
    ///
    /// No session begins, and the answer is
    ///
    /// - 401 `wrong_credentials` if the name is unknown, the user is disabled or the password is wrong;
    /// - 403 `foreign_origin` if another site has caused an unsafe request (docs/design/http.md);
    /// - 429 `throttled` or `busy` if there were too many attempts before this one;
    /// - 503 `unavailable` if the store does not answer.
    pub async fn log_in(
        &self,
        name: &str,
        password: &SecretText,
        request: &impl Request,
    ) -> Result<SignedIn, Problem> {
        let shared = &self.0;
        let carried = shared.cookie_tokens(request)?.unwrap_or_default();
        let requester = shared.site.requester(request);
        let begun =
            shared.logins().by_password(&requester, name, password, Transport::Cookie, carried.refresh);
        Ok(shared.signed_in(with_time_budget(begun).await?))
    }

    /// Ends the session that `request` presents, like `POST /auth/logout`, and returns cookies that clear those of the session. A
    /// request without a session gets them too.
    ///
    /// # Errors
    ///
    /// Nothing ends, and the answer is
    ///
    /// - 403 `foreign_origin` if another site has caused the request. Call this method in a route for POST all the same: a GET can be
    ///   caused in ways that browsers don't report;
    /// - 403 `program_not_admitted` if the session belongs to an OAuth client;
    /// - 503 `unavailable` if the store does not answer.
    pub async fn sign_out(&self, request: &impl Request) -> Result<SessionCookies, Problem> {
        if forgery::is_cross_site(request) {
            return Err(Problem::foreign_origin());
        }
        with_time_budget(self.0.log_out(request, false)).await?;
        Ok(SessionCookies(self.0.cleared(request)))
    }

    /// Ends all sessions of a user, on all nodes, within a second; audit `session.revoked`. Returns their number. Call it when the
    /// program disables or deletes one of its own users or changes a password.
    ///
    /// # Errors
    ///
    /// 503 `unavailable` if the store does not answer. Then it is not known whether the sessions have ended: call it again.
    pub async fn end_sessions_of(&self, user: &UserId) -> Result<usize, Problem> {
        let event = AuditEvent::new(Event::SessionRevoked, Actor::System, "")
            .with(serde_json::json!({"reason": "ended by the embedding program"}));
        Ok(with_time_budget(self.sessions().end_all(user, event)).await?)
    }
}

impl Shared {
    fn signed_in(&self, issued: Issued) -> SignedIn {
        let mut cookies = SetCookies::default();
        self.set_session_cookies(&mut cookies, &issued);
        let principal = issued.principal.watched_by(&self.watch());
        SignedIn { principal, cookies: SessionCookies(cookies) }
    }
}
