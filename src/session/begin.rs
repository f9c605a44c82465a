//! Begins a session for a user who has just proven their identity.

use crate::{
    ids::{Audience, Sid},
    secret::{Secret, SecretText},
    session::{Counter, Denied, Principal, Sessions},
    store::{
        Actor, AuditEvent, Device, Event, Grant, NewSession, Proof, ProvenAt, SessionRow, Transport, User,
    },
    token::{SealError, SealedToken},
};

/// A session that has just begun.
#[derive(Debug)]
pub struct Issued {
    /// The user.
    pub principal: Principal,
    /// The row of the session.
    pub row: SessionRow,
    /// The access token.
    pub access: SealedToken,
    /// The refresh token.
    pub refresh: SealedToken,
    /// How many other live sessions the user has.
    pub others: usize,
}

impl Sessions {
    /// Begins a session for a user who has just proven their identity; audit `login`. `presented` is the refresh token that the
    /// same request carried, if any. If it is valid, its session ends in the same transaction.
    ///
    /// # Errors
    ///
    /// `Denied::Session` if the user was disabled meanwhile.
    pub async fn begin(
        &self,
        user: &User,
        transport: Transport,
        device: Device,
        presented: Option<&str>,
    ) -> Result<Issued, Denied> {
        let proof = Proof { at: ProvenAt::Now, ..Proof::default() };
        self.begin_by(user, proof, transport, device, presented).await
    }

    /// Begins a session if its proof still holds at that moment. The transaction that writes the row checks this.
    ///
    /// # Errors
    ///
    /// `Denied::Session` if the identity no longer belongs to the user, `StoreError::Stale` if the user's password has changed
    /// meanwhile.
    pub async fn begin_by(
        &self,
        user: &User,
        proof: Proof,
        transport: Transport,
        device: Device,
        presented: Option<&str>,
    ) -> Result<Issued, Denied> {
        let replaces = match presented {
            // A token that does not open, or that belongs to no session, replaces nothing. If the store is unavailable, the session
            // can't begin either.
            Some(token) => match self.identify_to_end(token).await {
                Ok(row) => row.map(|row| row.sid),
                Err(Denied::CannotTell(error)) => return Err(error.into()),
                Err(_) => None,
            },
            None => None,
        };
        let (key, new) = self.new_session(user, transport, device, None)?;
        self.start_session(user, key, NewSession { replaces, proof, ..new }, None).await
    }

    /// Begins a session for an OAuth client, with a `sid` that was drawn before; audit `login`. `login` is the session of the
    /// person's own login. `audience` limits the session to one audience; its refresh tokens contain it.
    ///
    /// # Errors
    ///
    /// `Denied::Session` if the user or the client was disabled meanwhile, or if the session `login` has ended.
    pub async fn begin_for(
        &self,
        user: &User,
        grant: Grant,
        sid: Sid,
        login: Sid,
        device: Device,
        audience: Option<&Audience>,
    ) -> Result<Issued, Denied> {
        let (key, new) = self.new_session(user, Transport::Body, device, Some(grant))?;
        let new = NewSession { sid, login: Some(login), ..new };
        self.start_session(user, key, new, audience).await
    }

    async fn start_session(
        &self,
        user: &User,
        key: Secret<32>,
        new: NewSession,
        audience: Option<&Audience>,
    ) -> Result<Issued, Denied> {
        let mut detail = serde_json::json!({
            "name": user.name, "transport": new.transport.as_str(), "ip": new.device.ip, "user_agent": new.device.user_agent,
        });
        if let Some(grant) = &new.grant {
            detail["client"] = grant.client.as_str().into();
            detail["scope"] = grant.scope.to_string().into();
        }
        if let Some(method) = &new.proof.method {
            detail["by"] = method.as_str().into();
        }
        let event = AuditEvent::new(Event::Login, &user.id, "").with(detail);
        let cap = self.parts.policy.session_cap;
        let row = self.parts.store.begin_session(new, cap, event).await?.ok_or(Denied::Session)?;
        // From now on, deleting or disabling the user also ends this session. A change just before the row was written could not
        // end it, so the user is read again.
        if self.parts.users.find(&user.id).await?.is_none() {
            let event = AuditEvent::new(Event::SessionRevoked, Actor::System, "")
                .with(serde_json::json!({"reason": "the user was deleted or disabled during the login"}));
            self.end(row.sid, event).await?;
            return Err(Denied::Session);
        }
        self.counters.add(Counter::SessionBegun);
        self.issue(user, row, &key, audience).await
    }

    /// Changes the password of `user` and, in one transaction, ends all their sessions and begins a new one for the caller.
    /// `caller` is the session of the request. `verified` is the hash against which the current password was checked.
    ///
    /// # Errors
    ///
    /// `StoreError::CallerEnded` if the caller's session has ended, `StoreError::Stale` if the user's password has changed
    /// meanwhile. In both cases nothing is written.
    pub async fn change_password(
        &self,
        user: &User,
        caller: &SessionRow,
        verified: SecretText,
        password_hash: String,
        device: Device,
    ) -> Result<Issued, Denied> {
        let transport = match caller.transport {
            Transport::Basic => Transport::Cookie,
            as_before => as_before,
        };
        let (key, new) = self.new_session(user, transport, device, None)?;
        let proof = Proof { at: ProvenAt::Now, password_hash: Some(verified), ..Proof::default() };
        let event = AuditEvent::new(Event::PasswordChanged, &user.id, "").by(caller.as_caller());
        let next = Some(NewSession { proof, ..new });
        let row = self.parts.store.change_password(&user.id, password_hash, next, event).await?;
        self.issue(user, row.ok_or(Denied::Session)?, &key, None).await
    }

    /// Draws a sid and a key, before anything is written.
    fn new_session(
        &self,
        user: &User,
        transport: Transport,
        device: Device,
        grant: Option<Grant>,
    ) -> Result<(Secret<32>, NewSession), Denied> {
        let key = Secret::generate().map_err(SealError::from)?;
        let new = NewSession {
            sid: Sid::generate().map_err(SealError::from)?,
            user_id: user.id.clone(),
            secret_hash: key.sha256(),
            transport,
            device,
            idle: self.parts.policy.refresh_idle,
            life: self.parts.policy.session_max_age,
            replaces: None,
            takes_over_basic: transport == Transport::Basic,
            grant,
            login: None,
            proof: Proof::default(),
        };
        // Claims that don't fit into a token must fail before the row of the session is written.
        self.seal_access(user, new.sid, new.grant.clone())?;
        Ok((key, new))
    }

    async fn issue(
        &self,
        user: &User,
        row: SessionRow,
        key: &Secret<32>,
        audience: Option<&Audience>,
    ) -> Result<Issued, Denied> {
        let (principal, access) = self.seal_access(user, row.sid, row.grant.clone())?;
        let refresh = self.seal_refresh(&user.id, row.sid, row.generation, key, audience)?;
        self.check_grant(row.grant.as_ref()).await?;
        let (live, _) = self.parts.store.sessions(Some(&user.id), 100).await?;
        let others = live.iter().filter(|other| other.sid != row.sid).count();
        Ok(Issued { principal, row, access, refresh, others })
    }
}
