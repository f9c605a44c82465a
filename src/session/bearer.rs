//! Authenticates bearer tokens: a person's access token or a machine's service token.

use crate::{
    ids::{Audience, Purpose},
    session::{Denied, Machine, Principal, SERVICE_MAX_AGE, Sessions},
    store::ClientRow,
    token::OpenBuffer,
};

/// The person or machine that a bearer token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// A person, by an access token. An OAuth app may hold it for the person.
    Person(Principal),
    /// An OAuth client that speaks for itself.
    Machine(Machine),
}

impl Sessions {
    /// Step 1 of authentication on routes that accept machines as well as people. Does no I/O.
    ///
    /// # Errors
    ///
    /// As [`Self::authenticate`] and [`Self::authenticate_service`].
    pub fn authenticate_bearer(&self, token: &str) -> Result<Bearer, Denied> {
        match self.authenticate_service(token) {
            Ok(service) => Ok(Bearer::Machine(service)),
            Err(Denied::Token(_)) => self.authenticate(token).map(Bearer::Person),
            Err(denied) => Err(denied),
        }
    }

    /// Like [`Self::authenticate_bearer`], for a token that was sealed for another audience.
    ///
    /// # Errors
    ///
    /// As [`Self::authenticate_bearer`].
    pub fn authenticate_for(&self, audience: &Audience, token: &str) -> Result<Bearer, Denied> {
        self.check_feed()?;
        let (parts, mut buffer) = (self.parts(), OpenBuffer::new());
        let now = parts.clock.now();
        let machines = parts.tokens.derive(&Purpose::service(), audience);
        if let Ok(opened) = machines.open_at(token, now, SERVICE_MAX_AGE, &mut buffer) {
            let service = Machine::read(opened.payload, opened.issued_at)?;
            return self
                .unless_revoked(service.sid(), Some(service.client()), service.issued_at())
                .map(|()| Bearer::Machine(service));
        }
        let people = parts.tokens.derive(&Purpose::access(), audience);
        let opened = people.open_at(token, now, parts.policy.access_max_age, &mut buffer)?;
        let principal = Principal::read(opened)?;
        let client = principal.grant().map(|grant| &grant.client);
        self.unless_revoked(principal.sid(), client, principal.issued_at())?;
        Ok(Bearer::Person(principal))
    }

    /// Reads the client of a machine from the store.
    ///
    /// # Errors
    ///
    /// `Denied::Session` if the client does not exist or is disabled.
    pub async fn confirm_service(&self, service: &Machine) -> Result<ClientRow, Denied> {
        let (client, _) = self.parts().store.client(service.client()).await?;
        client.filter(|client| !client.disabled).ok_or(Denied::Session)
    }
}
