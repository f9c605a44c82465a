//! Token revocation (RFC 7009).

use crate::{
    ids::Audience,
    oauth::{Client, Issuer, Refusal},
    session::{Bearer, Denied},
    store::{Actor, AuditEvent, Event},
};

impl Issuer<'_> {
    /// Revokes a token of this client. A service token is revoked alone; a person's token is revoked together with its session. A
    /// text that is not a token, or a token that belongs to another client or is already revoked, is ignored.
    ///
    /// # Errors
    ///
    /// `Refusal::CannotTell` if the store does not answer; then the token may still be valid.
    pub async fn revoke(&self, client: &Client, token: &str) -> Result<(), Refusal> {
        match self.find_and_revoke(client, token).await {
            Err(Denied::CannotTell(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn find_and_revoke(&self, client: &Client, token: &str) -> Result<(), Denied> {
        let (own, actor) = (Some(&client.row.id), Actor::from(&client.row.id));
        let sid = match self.sessions.authenticate_bearer(token) {
            Ok(Bearer::Machine(service)) if service.client() == &client.row.id => {
                return self.sessions.revoke_service(&service, &actor).await;
            }
            Ok(Bearer::Person(principal)) if principal.grant().map(|grant| &grant.client) == own => {
                principal.sid()
            }
            Err(Denied::Token(_)) => match self.find_for_an_audience(client, token) {
                Some(Bearer::Machine(service)) if service.client() == &client.row.id => {
                    return self.sessions.revoke_service(&service, &actor).await;
                }
                Some(Bearer::Machine(_)) => return Ok(()),
                // A token that was exchanged from another holder's token is not revoked here: it ends with the session of that
                // token.
                Some(Bearer::Person(principal)) => match self.sessions.row(&principal).await? {
                    Some(row) if row.holder() == own => row.sid,
                    _ => return Ok(()),
                },
                None => match self.sessions.identify_to_end(token).await? {
                    // The holder of an unreadable row is unknown. The session is ended anyway.
                    Some(row) if row.holder() == own || row.is_unreadable() => row.sid,
                    _ => return Ok(()),
                },
            },
            Ok(_) => return Ok(()),
            Err(denied) => return Err(denied),
        };
        let event = AuditEvent::new(Event::SessionRevoked, actor, sid.to_string());
        self.sessions.end(sid, event).await?;
        Ok(())
    }

    /// The content of a token that is sealed for one of the client's audiences.
    fn find_for_an_audience(&self, client: &Client, token: &str) -> Option<Bearer> {
        let audiences = client.row.audiences.iter().filter(|audience| **audience != Audience::own());
        audiences.filter_map(|audience| self.sessions.authenticate_for(audience, token).ok()).next()
    }
}
