//! Token exchange (RFC 8693): exchanges a token of this server for one with another audience. The new token never has a wider scope
//! than the old one, and it keeps the old token's time of sealing.

use crate::{
    ids::{Audience, Purpose, Scope},
    oauth::{Client, Form, Granted, Issuer, Refusal, target},
    session::{Bearer, Machine, Principal, SERVICE_MAX_AGE},
    store::Grant,
};

/// The only token type that can be exchanged.
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl Issuer<'_> {
    pub(super) async fn exchange(&self, client: &Client, form: &Form) -> Result<Granted, Refusal> {
        let token = form.required("subject_token", "the parameter subject_token is missing")?;
        if form.required("subject_token_type", "the parameter subject_token_type is missing")? != ACCESS_TOKEN
            || form.text("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN)
        {
            return Err(Refusal::Request("only access tokens can be exchanged, and only for access tokens"));
        }
        if form.text("actor_token").is_some() {
            return Err(Refusal::Request("actor tokens are not supported"));
        }
        let audience = target::requested(&client.row, form, self.url)?;
        let audience = audience.ok_or(Refusal::Request("the parameter audience or resource is missing"))?;
        if audience == Audience::own() {
            return Err(Refusal::Target);
        }
        // A token for another audience does not open here, so an exchanged token can't be exchanged again.
        match self.sessions.authenticate_bearer(token)? {
            Bearer::Person(principal) => self.exchange_persons(client, form, &audience, &principal).await,
            Bearer::Machine(service) => self.exchange_services(client, form, &audience, service).await,
        }
    }

    /// Exchanges a person's token. Row, user and roles are read from the store. The new token contains only those roles and claims
    /// of the user that the old token contains with the same value.
    async fn exchange_persons(
        &self,
        client: &Client,
        form: &Form,
        audience: &Audience,
        principal: &Principal,
    ) -> Result<Granted, Refusal> {
        let (row, user) = self.sessions.confirm(principal).await?;
        let holds = principal.grant().is_some_and(|grant| grant.client == client.row.id);
        // A public client does not prove its identity, so it can exchange only tokens that were issued to it.
        if row.holder() != principal.grant().map(|grant| &grant.client) || client.row.is_public() && !holds {
            return Err(Refusal::Grant);
        }
        let most =
            principal.grant().map_or(client.row.scopes.clone(), |grant| grant.scope.and(&client.row.scopes));
        let scope = narrowed(form, most)?;
        let grant = Grant { client: client.row.id.clone(), scope: scope.clone() };
        let narrow = principal.narrowed(&principal.restrict(user), grant);
        self.seal(
            audience,
            &Purpose::access(),
            narrow.payload(),
            principal.issued_at(),
            self.access_life(),
            scope,
        )
    }

    /// Exchanges a machine's token.
    async fn exchange_services(
        &self,
        client: &Client,
        form: &Form,
        audience: &Audience,
        service: Machine,
    ) -> Result<Granted, Refusal> {
        let subject = self.sessions.confirm_service(&service).await?;
        if client.row.is_public() {
            return Err(Refusal::Grant);
        }
        let scope = narrowed(form, service.scope().and(&subject.scopes).and(&client.row.scopes))?;
        let (issued_at, narrow) = (service.issued_at(), service.narrowed(scope.clone()));
        let life = SERVICE_MAX_AGE.as_secs();
        self.seal(audience, &Purpose::service(), &narrow.payload(), issued_at, life, scope)
    }

    fn seal(
        &self,
        audience: &Audience,
        purpose: &Purpose,
        payload: &str,
        issued_at: crate::clock::Timestamp,
        life: u64,
        scope: Scope,
    ) -> Result<Granted, Refusal> {
        let parts = self.sessions.parts();
        let access = parts.tokens.derive(purpose, audience).seal_at(payload, issued_at)?;
        let expires_in = life.saturating_sub(parts.clock.now().since(issued_at).as_secs());
        Ok(Granted { access, expires_in, scope, refresh: None, kind: Some(ACCESS_TOKEN) })
    }
}

/// The requested scope, which must lie within `most`. If the request names none, `most` itself.
fn narrowed(form: &Form, most: Scope) -> Result<Scope, Refusal> {
    match form.scope()? {
        None => Ok(most),
        Some(scope) if scope.is_within(&most) => Ok(scope),
        Some(_) => Err(Refusal::Scope),
    }
}
