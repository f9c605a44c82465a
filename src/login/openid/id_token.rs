//! Begins a session by a token of a provider that the client presents itself, with a nonce of this server that can be used once.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    clock::SKEW,
    identity::openid::{OpenIdError, Provider, claimed_nonce},
    login::{
        Account, Logins, Requester,
        openid::{Pending, provider::failed, reauthentication::proven_at, same},
    },
    problem::Problem,
    secret::SecretText,
    session::Issued,
    store::{Proof, Transport},
};

/// The fields of a login by a presented token.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct PresentedToken {
    pub(crate) provider: String,
    id_token: Option<SecretText>,
    /// Accepted only for Facebook.
    access_token: Option<SecretText>,
    pub(crate) nonce: String,
    ticket: Option<SecretText>,
}

/// A presented token with its type.
#[derive(Clone, Copy)]
enum Token<'a> {
    Id(&'a str),
    Access(&'a str),
}

impl Logins {
    /// Begins a session by a presented token. `kept` is the token in the login cookie of this nonce; with transport `body` the
    /// nonce is in the ticket instead. `replaces` is the refresh token of the same request.
    pub(crate) async fn by_presented(
        &self,
        requester: &Requester,
        presented: &PresentedToken,
        kept: Option<&str>,
        transport: Transport,
        replaces: Option<&str>,
    ) -> Result<Issued, Problem> {
        let no_such = || Problem::bad_request("There is no such provider.");
        let provider = self.providers.named(&presented.provider).ok_or_else(no_such)?;
        let token = match (&presented.id_token, &presented.access_token) {
            (Some(token), None) => Token::Id(token.expose()),
            (None, Some(token)) => Token::Access(token.expose()),
            _ => return Err(Problem::bad_request("The body must contain either id_token or access_token.")),
        };
        let ticket = presented.ticket.as_ref().map(SecretText::expose);
        let nonce = match transport {
            Transport::Body => match ticket.and_then(|ticket| self.open_pending(ticket)) {
                Some(Pending::Body { nonce }) => Some(nonce),
                _ => None,
            },
            _ => self.nonce_in(kept),
        };
        let nonce = nonce.filter(|nonce| same(nonce, &presented.nonce));
        self.by_token(requester, provider, token, nonce, transport, replaces).await
    }

    /// Begins a session by an ID token that is sent as a bearer token. `kept` returns the token in the login cookie of a nonce.
    /// Also returns the nonce, whose cookie is no longer needed.
    pub(crate) async fn by_bearer<'a>(
        &self,
        requester: &Requester,
        id_token: &str,
        kept: impl FnOnce(&str) -> Option<&'a str>,
    ) -> Result<(Issued, String), Problem> {
        let provider = self.providers.of_token(id_token).ok_or_else(Problem::unauthorized)?;
        let claimed = claimed_nonce(id_token).unwrap_or_default();
        let nonce = self.nonce_in(kept(&claimed));
        let token = Token::Id(id_token);
        let issued = self.by_token(requester, provider, token, nonce, Transport::Cookie, None).await?;
        Ok((issued, claimed))
    }

    /// The nonce in the cookie of a browser.
    fn nonce_in(&self, kept: Option<&str>) -> Option<String> {
        match self.open_pending(kept?)? {
            Pending::Cookie { nonce } => Some(nonce),
            Pending::Provider(_) | Pending::Body { .. } | Pending::Finished { .. } => None,
        }
    }

    async fn by_token(
        &self,
        requester: &Requester,
        provider: &Provider,
        token: Token<'_>,
        nonce: Option<String>,
        transport: Transport,
        replaces: Option<&str>,
    ) -> Result<Issued, Problem> {
        let now = self.sessions.parts().clock.now();
        let check = async {
            let checked = match (&nonce, token) {
                // A token without a nonce of this server can come from anyone, even if its signature is valid.
                (None, _) => Err(OpenIdError::Refused("nonce")),
                (Some(nonce), Token::Id(token)) => {
                    provider.check(token, nonce, now).await.map(|proven| (proven, None))
                }
                (Some(_), Token::Access(token)) => {
                    let checked = provider.check_access_token(token, now).await;
                    checked.map(|(proven, ends)| (proven, Some((Sha256::digest(token).into(), ends))))
                }
            };
            checked.map_err(|error| failed(provider, error))
        };
        let account = Account::Provider(&provider.settings().name);
        let (proven, once) = self.attempt(account, requester, check).await?;
        self.spend(&nonce.unwrap_or_default()).await?;
        // An access token has no nonce, so the token itself is remembered as used.
        if let Some((hash, ends)) = once
            && !self.sessions.parts().store.mark_used(hash, ends.plus(SKEW)).await?
        {
            return Err(Problem::unauthorized());
        }
        let user = self.user_of(provider, &proven).await?;
        let at = proven_at(&proven, now);
        let proof = Proof { at, identity: Some(proven.identity), ..Proof::default() };
        Ok(self.sessions.begin_by(&user, proof, transport, requester.device.clone(), replaces).await?)
    }
}
