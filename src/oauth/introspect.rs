//! Token introspection (RFC 7662), for the clients that may see a token.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    clock::Timestamp,
    ids::Audience,
    oauth::{Client, Issuer, Refusal},
    session::{Bearer, Denied, SERVICE_MAX_AGE},
};

/// The scope of a client that may introspect every token for this server, not only the tokens it holds.
const EVERY_TOKEN: &str = "introspect";

impl Issuer<'_> {
    /// Describes an active token. `None` if the token is not active or if this client may not see it; the answer does not tell
    /// which.
    ///
    /// # Errors
    ///
    /// `Refusal::Client` for a public client, `Refusal::CannotTell` if the store does not answer.
    pub async fn introspect(&self, client: &Client, token: &str) -> Result<Option<Value>, Refusal> {
        if client.row.is_public() {
            return Err(Refusal::Client);
        }
        match self.inspect(client, token).await {
            Ok(found) => Ok(found),
            Err(Denied::CannotTell(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    async fn inspect(&self, client: &Client, token: &str) -> Result<Option<Value>, Denied> {
        match self.sessions.authenticate_bearer(token) {
            Ok(bearer) => {
                let holder = match &bearer {
                    Bearer::Person(principal) => principal.grant().map(|grant| &grant.client),
                    Bearer::Machine(service) => Some(service.client()),
                };
                let may = holder == Some(&client.row.id) || client.row.scopes.contains(EVERY_TOKEN);
                return if may { self.describe(&bearer, self.url).await.map(Some) } else { Ok(None) };
            }
            Err(Denied::Token(_)) => {}
            Err(denied) => return Err(denied),
        }
        for audience in client.row.audiences.iter().filter(|audience| **audience != Audience::own()) {
            match self.sessions.authenticate_for(audience, token) {
                Ok(bearer) => return self.describe(&bearer, audience.as_str()).await.map(Some),
                Err(Denied::Token(_)) => {}
                Err(denied) => return Err(denied),
            }
        }
        self.describe_refresh(client, token).await
    }

    /// Describes a token by the state of the store: the row is live, the user or the client is enabled, and roles and claims are
    /// those that still hold.
    async fn describe(&self, bearer: &Bearer, audience: &str) -> Result<Value, Denied> {
        let mut said = json!({"active": true, "token_type": "Bearer", "iss": self.url, "aud": audience});
        match bearer {
            Bearer::Person(principal) => {
                let (_, user) = self.sessions.confirm(principal).await?;
                let user = principal.restrict(user);
                said["sub"] = principal.id().into();
                said["username"] = user.name.into();
                said["sid"] = principal.sid().to_string().into();
                said["roles"] = user.roles.into();
                said["claims"] = user.claims.into();
                if let Some(grant) = principal.grant() {
                    said["client_id"] = grant.client.as_str().into();
                    said["scope"] = grant.scope.to_string().into();
                }
                add_times(&mut said, principal.issued_at(), self.sessions.parts().policy.access_max_age);
            }
            Bearer::Machine(service) => {
                self.sessions.confirm_service(service).await?;
                said["sub"] = service.id().into();
                said["client_id"] = service.client().as_str().into();
                said["sid"] = service.sid().to_string().into();
                said["scope"] = service.scope().to_string().into();
                add_times(&mut said, service.issued_at(), SERVICE_MAX_AGE);
            }
        }
        Ok(said)
    }

    /// Describes a refresh token to the client that holds it. This does not use up the token.
    async fn describe_refresh(&self, client: &Client, token: &str) -> Result<Option<Value>, Denied> {
        let Some(row) = self.sessions.examine(token).await? else { return Ok(None) };
        let Some(grant) = row.grant.as_ref().filter(|grant| grant.client == client.row.id) else {
            return Ok(None);
        };
        let Some(user) = self.sessions.parts().users.find(&row.user_id).await? else { return Ok(None) };
        Ok(Some(json!({
            "active": true, "iss": self.url, "sub": row.user_id.as_str(), "username": user.name,
            "sid": row.sid.to_string(), "client_id": grant.client.as_str(), "scope": grant.scope.to_string(),
            "iat": seconds(row.rotated_at), "exp": seconds(row.ends_at()),
        })))
    }
}

fn add_times(said: &mut Value, issued_at: Timestamp, life: Duration) {
    said["iat"] = seconds(issued_at).into();
    said["exp"] = seconds(issued_at.plus(life)).into();
}

/// A time as `NumericDate` (RFC 7519, section 2).
fn seconds(time: Timestamp) -> i64 {
    time.millis().div_euclid(1000)
}
