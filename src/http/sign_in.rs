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

/// The `Set-Cookie` lines of a session that has just begun or ended, for the answer to the request. Without them the browser would
/// not know of the change.
#[must_use = "the browser must get the cookies: put them on the answer"]
#[derive(Clone, Debug)]
pub struct SessionCookies(pub(crate) SetCookies);

impl SessionCookies {
    /// The values of the `Set-Cookie` headers, for a program that builds its answer itself. The answer must also have the header
    /// `Cache-Control: no-store`.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }
}

/// A session that [`Bulla::sign_in`] or [`Bulla::log_in`] has begun.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The person, as the guard passes it to handlers from the next request on.
    pub principal: Principal,
    /// The cookies of the session, for the answer.
    pub cookies: SessionCookies,
}

impl Bulla {
    /// Begins a session for a user after the embedding program itself has verified their identity: by a registration, a passkey or
    /// a magic link. The answer to `request` must get the cookies. Reads and writes the store; hashes no password.
    ///
    /// The rules are those of a login. A live session of the same browser is replaced. If the user has more than `session_cap`
    /// sessions, the oldest end. The session counts as a recent proof of identity, so call this only after such a proof, never to
    /// prolong a session. `method` names the kind of proof, such as `passkey`. The audit event `login` contains it as `by`, so it
    /// must not be a secret.
    ///
    /// Roles and claims in the first access token are those of `user`; each renewal reads them again.
    ///
    /// This method begins a session at each call. The program itself must throttle attempts, and ensure that a proof such as a
    /// magic link works only once.
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

    /// Checks a name and a password, and begins a session: for a login form of the embedding program. The answer to `request` must
    /// get the cookies. Reads and writes the store. For users in Bulla's own table it also computes one Argon2id hash in the pool
    /// (about 14 ms).
    ///
    /// The rules are those of `POST /auth/login`: failed attempts are throttled by account and by address, an unknown name costs
    /// the same time as a wrong password, and a live session of the same browser is replaced.
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

    /// Ends the session that `request` presents, like `POST /auth/logout`, and returns the cookies that clear those of the session,
    /// even if the request has no session. Reads and writes the store.
    ///
    /// # Errors
    ///
    /// Nothing ends, and the answer is
    ///
    /// - 403 `foreign_origin` if another site has caused the request. Nevertheless, call this method only in a route for POST:
    ///   another site can cause a GET in ways that browsers don't report;
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
