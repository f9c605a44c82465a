//! Login by an ID token that the client presents itself, with a nonce of this server that can be used once (step 3 of
//! authentication).

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    Bulla, body,
    bulla::Inner,
    cookies::Carried,
    guard::add_cookies,
    proof::proven_at,
    under_way::{LIFE, UnderWay, same},
};
use crate::{
    http::Problem,
    identity::{
        Account,
        openid::{OpenIdError, Provider, claimed_nonce},
    },
    secret::{Secret, SecretText},
    session::{Issued, SKEW},
    store::{self, Transport},
};

#[derive(Deserialize)]
pub(super) struct For {
    #[serde(default)]
    transport: Option<String>,
}

/// `POST /auth/login/nonce`: issues a nonce for an ID token. The nonce is bound to a cookie of this browser or, for transport
/// `body`, to the ticket in the answer.
pub(super) async fn nonce(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let inner = &bulla.0;
    let (input, _) = body::read::<For>(&request, &body)?;
    let carried = inner.cookies.read(&request).unwrap_or_default();
    inner.site.refuse_forgery(&request, carried.any())?;
    let nonce = Secret::<32>::generate().map_err(|_| Problem::unavailable())?.to_base64url().to_string();
    let mut answer = serde_json::json!({"nonce": nonce, "expires_in": LIFE.as_secs()});
    if input.transport.as_deref() == Some("body") {
        answer["ticket"] = inner.seal_under_way(UnderWay::Body { nonce })?.as_str().into();
        return Ok(HttpResponse::Ok().json(answer));
    }
    let mut cookies = HeaderMap::new();
    inner.keep(&request, &mut cookies, &nonce.clone(), UnderWay::Cookie { nonce })?;
    let mut response = HttpResponse::Ok().json(answer);
    add_cookies(response.headers_mut(), cookies);
    Ok(response)
}

/// The fields of `POST /auth/login` for such a token.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Presented {
    pub(super) provider: String,
    id_token: Option<SecretText>,
    /// Accepted only for Facebook.
    access_token: Option<SecretText>,
    pub(super) nonce: String,
    ticket: Option<SecretText>,
}

/// A token with its type.
enum Proof<'a> {
    IdToken(&'a str),
    AccessToken(&'a str),
}

impl Inner {
    /// Step 3 by `POST /auth/login`.
    pub(super) async fn with_presented(
        &self,
        request: &HttpRequest,
        presented: &Presented,
        transport: Transport,
    ) -> Result<Issued, Problem> {
        let no_such = || Problem::bad_request("There is no such provider.");
        let provider = self.providers.named(&presented.provider).ok_or_else(no_such)?;
        let proof = match (&presented.id_token, &presented.access_token) {
            (Some(token), None) => Proof::IdToken(token.expose()),
            (None, Some(token)) => Proof::AccessToken(token.expose()),
            _ => return Err(Problem::bad_request("One of id_token and access_token is needed.")),
        };
        let carried = self.cookies.read(request).unwrap_or_default();
        let ticket = presented.ticket.as_ref().map(SecretText::expose);
        let nonce = match transport {
            Transport::Body => match ticket.and_then(|ticket| self.open_under_way(ticket)) {
                Some(UnderWay::Body { nonce }) => Some(nonce),
                _ => None,
            },
            _ => self.nonce_of(&carried, &presented.nonce),
        };
        let nonce = nonce.filter(|nonce| same(nonce, &presented.nonce));
        self.with_proof(request, provider, proof, nonce, transport, carried.refresh).await
    }

    /// Step 3 on any request: an ID token as `Authorization: Bearer`. Of the cookies only the one of the nonce is read. Also
    /// returns the nonce, whose cookie is no longer needed.
    pub(super) async fn with_bearer(
        &self,
        request: &HttpRequest,
        id_token: &str,
    ) -> Result<(Issued, String), Problem> {
        let provider = self.providers.of_token(id_token).ok_or_else(Problem::unauthorized)?;
        let carried = self.cookies.read(request).unwrap_or_default();
        let claimed = claimed_nonce(id_token).unwrap_or_default();
        let nonce = self.nonce_of(&carried, &claimed);
        let proof = Proof::IdToken(id_token);
        let issued = self.with_proof(request, provider, proof, nonce, Transport::Cookie, None).await?;
        Ok((issued, claimed))
    }

    /// The nonce, if the browser has its cookie.
    fn nonce_of(&self, carried: &Carried<'_>, nonce: &str) -> Option<String> {
        match self.open_under_way(carried.login(nonce)?)? {
            UnderWay::Cookie { nonce } => Some(nonce),
            UnderWay::Provider(_) | UnderWay::Body { .. } | UnderWay::Finished { .. } => None,
        }
    }

    async fn with_proof(
        &self,
        request: &HttpRequest,
        provider: &Provider,
        proof: Proof<'_>,
        nonce: Option<String>,
        transport: Transport,
        replaces: Option<&str>,
    ) -> Result<Issued, Problem> {
        let now = self.sessions.parts().clock.now();
        let charge = self.admit(Account::Provider(&provider.settings().name), request).await?;
        let checked = match (&nonce, proof) {
            // A token without a nonce of this server can come from anyone, even if its signature is valid.
            (None, _) => Err(OpenIdError::Refused("nonce")),
            (Some(nonce), Proof::IdToken(token)) => {
                provider.check(token, nonce, now).await.map(|proven| (proven, None))
            }
            (Some(_), Proof::AccessToken(token)) => {
                let checked = provider.check_access_token(token, now).await;
                checked.map(|(proven, ends)| (proven, Some((Sha256::digest(token).into(), ends))))
            }
        };
        let (proven, once) = match checked {
            Ok(checked) => {
                charge.succeeded();
                checked
            }
            Err(error) => return Err(self.failed(request, provider, charge, error).await?),
        };
        self.spend(&nonce.unwrap_or_default()).await?;
        // An access token has no nonce, so the token itself is remembered as used.
        if let Some((hash, ends)) = once
            && !self.sessions.parts().store.spend(hash, ends.plus(SKEW)).await?
        {
            return Err(Problem::unauthorized());
        }
        let user = self.user_of(provider, &proven).await?;
        let proof = store::Proof {
            at: proven_at(&proven, now),
            password_hash: None,
            identity: Some(proven.identity),
        };
        Ok(self.sessions.begin_by(&user, proof, transport, self.site.device(request), replaces).await?)
    }
}

/// Whether a bearer token has the form of a signed token (RFC 7515). Tokens of this server never have it.
pub(super) fn is_jws(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}
