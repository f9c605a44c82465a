//! Service tokens: the tokens that a client gets for itself, as a machine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::{SKEW, Timestamp},
    ids::{Audience, ClientId, Purpose, Scope, Sid},
    session::{Denied, Sessions},
    store::{Actor, AuditEvent, ClientRow, Event, RevocationTarget},
    token::{OpenBuffer, Refused, SealError, SealedToken},
};

/// The life of a service token (docs/design/sessions.md).
pub const SERVICE_MAX_AGE: Duration = Duration::from_secs(3600);

/// An OAuth client that speaks for itself: the content of a valid service token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    client: ClientId,
    sid: Sid,
    scope: Scope,
    issued_at: Timestamp,
}

#[derive(Deserialize, Serialize)]
struct Payload {
    id: String,
    sid: String,
    scope: String,
}

impl Machine {
    /// The id of the client.
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// The id of the token, by which it can be revoked.
    pub fn sid(&self) -> Sid {
        self.sid
    }

    /// The scope of the token.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The time at which the token was sealed.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The same machine with another scope.
    #[must_use]
    #[doc(hidden)]
    pub fn narrowed(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// The name of the client in audit events and tokens: `client:` and the client id. The ids of rows in `users` never have this
    /// form.
    pub fn id(&self) -> String {
        RevocationTarget::Client(self.client.to_string()).to_string()
    }

    /// The payload of the service token.
    #[doc(hidden)]
    pub fn payload(&self) -> String {
        let payload = Payload { id: self.id(), sid: self.sid.to_string(), scope: self.scope.to_string() };
        serde_json::to_string(&payload).expect("texts have a JSON form")
    }

    /// Reads the payload of a token.
    #[doc(hidden)]
    pub fn read(payload: &str, issued_at: Timestamp) -> Result<Self, Refused> {
        let said: Payload = serde_json::from_str(payload).map_err(|_| Refused::Payload)?;
        let Ok(RevocationTarget::Client(client)) = said.id.parse() else { return Err(Refused::Payload) };
        Ok(Self {
            client: ClientId::new(client).map_err(|_| Refused::Payload)?,
            sid: said.sid.parse().map_err(|_| Refused::Payload)?,
            scope: said.scope.parse().map_err(|_| Refused::Payload)?,
            issued_at,
        })
    }
}

impl Sessions {
    /// Issues a service token to the client that was recognised by the row `judged`; audit `service.issued` with the token's `sid`.
    /// The empty `audience` is this server.
    ///
    /// # Errors
    ///
    /// `Denied::Session` if the client was changed since `judged` was read. A change that comes later and revokes the client's
    /// tokens revokes this one too.
    pub async fn issue_service(
        &self,
        judged: &ClientRow,
        scope: Scope,
        audience: &Audience,
    ) -> Result<(Machine, SealedToken), Denied> {
        let sid = Sid::generate().map_err(SealError::from)?;
        let mut service = Machine { client: judged.id.clone(), sid, scope, issued_at: Timestamp::EPOCH };
        let event = AuditEvent::new(Event::ServiceIssued, &service.client, sid.to_string())
            .with(serde_json::json!({"scope": service.scope.to_string(), "audience": audience.as_str()}));
        let issued = self.parts.store.record_issuance(judged, event).await?;
        service.issued_at = issued.ok_or(Denied::Session)?;
        let (tokens, payload) = (&self.parts.tokens, service.payload());
        let token = match *audience == Audience::own() {
            true => tokens.service(|keys| keys.seal_at(&payload, service.issued_at))?,
            false => tokens.derive(&Purpose::service(), audience).seal_at(&payload, service.issued_at)?,
        };
        Ok((service, token))
    }

    /// Step 1 of authentication for machines. Does no I/O.
    ///
    /// # Errors
    ///
    /// `Denied::Token` if the token does not open, `Denied::Session` if it or its client is revoked, `Denied::CannotTell` if the
    /// feed is too old and the settings refuse tokens then.
    pub fn authenticate_service(&self, token: &str) -> Result<Machine, Denied> {
        self.check_feed()?;
        let mut buffer = OpenBuffer::new();
        let now = self.parts.clock.now();
        let service = self.parts.tokens.service(|keys| {
            let opened = keys.open_at(token, now, SERVICE_MAX_AGE, &mut buffer)?;
            Machine::read(opened.payload, opened.issued_at)
        })?;
        self.unless_revoked(service.sid, Some(&service.client), service.issued_at)?;
        Ok(service)
    }

    /// Revokes one service token; audit `service.revoked`. Revoking it a second time has no effect.
    ///
    /// # Errors
    ///
    /// `Denied::CannotTell` if the store does not answer.
    pub async fn revoke_service(&self, service: &Machine, actor: &Actor) -> Result<(), Denied> {
        let until = service.issued_at.plus(SERVICE_MAX_AGE + SKEW * 2);
        let event = AuditEvent::new(Event::ServiceRevoked, actor.clone(), service.sid.to_string());
        self.parts.store.revoke(RevocationTarget::Session(service.sid), until, event).await?;
        Ok(())
    }
}
