//! The token endpoint (RFC 6749, section 3.2): selects the grant type and issues the tokens.

use crate::{
    ids::{Audience, Purpose, Scope},
    oauth::{Client, Form, Issuer, Refusal, target},
    secret::SecretText,
    session::{Principal, SERVICE_MAX_AGE},
    store::{Device, Grant},
    token::{SealError, SealedToken},
};

/// The answer to a token request (RFC 6749, section 5.1).
#[derive(Debug)]
pub struct Granted {
    /// The access token.
    pub access: SealedToken,
    /// The remaining life of the access token, in seconds.
    pub expires_in: u64,
    /// The scope of the access token.
    pub scope: Scope,
    /// The refresh token, if there is one: a new one, or the presented one, which remains valid.
    pub refresh: Option<SecretText>,
    /// The type of the token, for an exchange (RFC 8693, section 2.2.1).
    pub kind: Option<&'static str>,
}

impl Issuer<'_> {
    /// Answers a token request of an authenticated client.
    pub async fn token(&self, client: &Client, form: &Form, device: Device) -> Result<Granted, Refusal> {
        let granted = match form.required("grant_type", "the parameter grant_type is missing")? {
            "client_credentials" => self.client_credentials(client, form).await,
            "refresh_token" => self.refresh(client, form, device).await,
            "authorization_code" => self.code(client, form, device).await,
            "urn:ietf:params:oauth:grant-type:token-exchange" => self.exchange(client, form).await,
            _ => Err(Refusal::GrantType),
        }?;
        // The tokens are sealed by now. A later change of the client's credentials revokes them; an earlier one is seen here.
        let (now, _) = self.sessions.parts().store.client(&client.row.id).await?;
        match now.is_some_and(|now| client.row.is_authenticated_by(&now)) {
            true => Ok(granted),
            false => Err(Refusal::Client),
        }
    }

    /// The client credentials grant, for machines (RFC 6749, section 4.4).
    async fn client_credentials(&self, client: &Client, form: &Form) -> Result<Granted, Refusal> {
        if client.row.is_public() {
            return Err(Refusal::Unauthorized("a public client can act only for its users, not for itself"));
        }
        let scope = form.scope()?.unwrap_or_else(|| client.row.scopes.clone());
        if !scope.is_within(&client.row.scopes) {
            return Err(Refusal::Scope);
        }
        let audience = target::select(None, target::requested(&client.row, form, self.url)?, &client.row)?;
        let issued = self.sessions.issue_service(&client.row, scope.clone(), &audience).await;
        // The client was changed after it was authenticated. The refusal tells it to authenticate again.
        let (_, access) = issued.map_err(|denied| match denied.into() {
            Refusal::Grant => Refusal::Client,
            other => other,
        })?;
        Ok(Granted { access, expires_in: SERVICE_MAX_AGE.as_secs(), scope, refresh: None, kind: None })
    }

    /// The refresh token grant (RFC 6749, section 6). The refresh rule is the same as for every session. The request can narrow the
    /// scope of the access token.
    async fn refresh(&self, client: &Client, form: &Form, device: Device) -> Result<Granted, Refusal> {
        let token = form.required("refresh_token", "the parameter refresh_token is missing")?;
        let row = self.sessions.identify(token).await?.ok_or(Refusal::Grant)?;
        let grant = row.grant.filter(|grant| grant.client == client.row.id).ok_or(Refusal::Grant)?;
        let most = grant.scope.and(&client.row.scopes);
        let scope = form.scope()?.unwrap_or_else(|| most.clone());
        if !scope.is_within(&most) {
            return Err(Refusal::Scope);
        }
        let granted = self.sessions.granted_audience(token)?;
        let audience = target::select(granted, target::requested(&client.row, form, self.url)?, &client.row)?;
        let grant = Grant { client: grant.client, scope: scope.clone() };
        let renewed = self.sessions.renew_for(&grant, token, &device).await?;
        let access = self.sealed_for(&audience, &renewed.principal, renewed.access)?;
        // Many clients keep only the latest answer. Without a refresh token in it, they could not renew again.
        let refresh = renewed.refresh.map_or_else(|| token.to_owned(), SealedToken::into_string);
        let refresh = Some(SecretText::new(refresh));
        Ok(Granted { access, expires_in: self.access_life(), scope, refresh, kind: None })
    }

    /// The access token of an app's session for this audience. `own` is the token for this server, which is returned if the
    /// audience is the server.
    pub(super) fn sealed_for(
        &self,
        audience: &Audience,
        principal: &Principal,
        own: SealedToken,
    ) -> Result<SealedToken, SealError> {
        if *audience == Audience::own() {
            return Ok(own);
        }
        let keys = self.sessions.parts().tokens.derive(&Purpose::access(), audience);
        keys.seal_at(principal.payload(), principal.issued_at())
    }

    /// The life of a new access token, in seconds.
    pub(super) fn access_life(&self) -> u64 {
        self.sessions.parts().policy.access_max_age.as_secs()
    }
}
