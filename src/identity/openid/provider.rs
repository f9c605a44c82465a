//! A provider at work: sends people there, redeems what they come back with, checks tokens that are presented.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, StandardRevocableToken, StandardTokenResponse, TokenResponse as _,
    TokenUrl,
    basic::{
        BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
        BasicTokenIntrospectionResponse, BasicTokenType,
    },
    url::Url,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ClientAuth, Create, OpenIdError, Preset, ProviderSettings, claims,
    claims::Proven,
    endpoints::{self, Endpoints},
    facebook,
    keys::{KeySet, Signed, Verdict},
    published::Published,
};
use crate::{
    clock::Timestamp,
    fetch::{Fetch, FetchError},
    secret::Secret,
};

/// Tokens with unknown key ids make us look for newer keys at most once in this time, however many there are.
const STRANGER: Duration = Duration::from_secs(30);

/// A provider, and what it has published so far. Nothing is asked before it is needed.
#[derive(Debug)]
pub struct Provider {
    settings: ProviderSettings,
    fetch: Arc<Fetch>,
    endpoints: Published<Endpoints>,
    keys: Published<KeySet>,
}

/// Somebody is sent to a provider: where, and what must be known when they come back.
#[derive(Debug)]
pub struct Invitation {
    /// The address to go to.
    pub url: String,
    /// Comes back with them.
    pub state: zeroize::Zeroizing<String>,
    /// Comes back in the ID token.
    pub nonce: zeroize::Zeroizing<String>,
    /// Shown when the code is redeemed (RFC 7636).
    pub verifier: zeroize::Zeroizing<String>,
}

/// How old a login at a provider may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A login of earlier will do.
    Any,
    /// The provider is to ask them who they are, whether or not they are signed in there (Core, 3.1.2.1).
    Now,
}

/// What a token endpoint answers besides access tokens. As text: the library can't read every legal ID token.
#[derive(Debug, Deserialize, Serialize)]
struct WithIdToken {
    #[serde(default)]
    id_token: Option<String>,
}

impl oauth2::ExtraTokenFields for WithIdToken {}

type Client = oauth2::Client<
    BasicErrorResponse,
    StandardTokenResponse<WithIdToken, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

impl Provider {
    /// Over a client for requests.
    pub fn new(settings: ProviderSettings, fetch: Arc<Fetch>) -> Self {
        Self { settings, fetch, endpoints: Published::default(), keys: Published::default() }
    }

    /// Its settings.
    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    pub(super) fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    /// Sends somebody there, to come back to `redirect`.
    pub async fn invite(&self, redirect: &str, freshness: Freshness) -> Result<Invitation, OpenIdError> {
        let draw = || Secret::<32>::generate().map(|secret| secret.to_base64url());
        let drawn = || -> Result<_, crate::secret::NoRandomness> { Ok((draw()?, draw()?, draw()?)) };
        let (state, nonce, verifier) = drawn().map_err(|error| OpenIdError::Away(error.to_string()))?;
        let endpoints = self.endpoints().await?;
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_string()));
        let client = self.client(redirect)?.set_auth_uri(AuthUrl::from_url(endpoints.authorization.clone()));
        let mut request = client
            .authorize_url(|| CsrfToken::new(state.to_string()))
            .add_scopes(self.settings.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .add_extra_param("nonce", nonce.as_str());
        if let (Preset::Google, Create::Domains(domains)) = (self.settings.preset, &self.settings.create) {
            // Only a hint to Google's page; what counts is the claim that comes back.
            request = request.add_extra_param("hd", if domains.len() == 1 { &domains[0] } else { "*" });
        }
        if freshness == Freshness::Now {
            for (name, value) in self.settings.preset.asks_anew() {
                request = request.add_extra_param(*name, *value);
            }
        }
        let (url, _) = request.url();
        Ok(Invitation { url: url.into(), state, nonce, verifier })
    }

    /// Redeems a code that came back to `redirect`, and judges the ID token it gives.
    pub async fn redeem(
        &self,
        code: &str,
        verifier: &str,
        nonce: &str,
        redirect: &str,
        now: Timestamp,
    ) -> Result<Proven, OpenIdError> {
        let endpoints = self.endpoints().await?;
        let mut client = self.client(redirect)?.set_token_uri(TokenUrl::from_url(endpoints.token.clone()));
        client = client.set_auth_type(match endpoints.auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Post => AuthType::RequestBody,
        });
        if let Some(secret) = self.settings.secret.read()? {
            client = client.set_client_secret(oauth2::ClientSecret::new(secret.expose().to_owned()));
        }
        let status = AtomicU16::new(0);
        let send = |request| async {
            let answer = self.fetch.send(request).await?;
            status.store(answer.status().as_u16(), Ordering::Relaxed);
            Ok::<_, FetchError>(answer)
        };
        let answer = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()))
            .request_async(&send)
            .await;
        let answer = answer.map_err(|error| refused_code(&error, status.load(Ordering::Relaxed)))?;
        let token = answer.extra_fields().id_token.as_deref().ok_or(OpenIdError::Refused("id_token"))?;
        // It comes from the provider itself: nobody else can make us ask for keys this way.
        let proven = self.judge(token, nonce, Duration::ZERO, now).await?;
        match &endpoints.userinfo {
            Some(url) if self.lacks(&proven) => {
                self.complete(proven, url, answer.access_token().secret()).await
            }
            _ => Ok(proven),
        }
    }

    /// Whether something is missing that is likely to be had at the userinfo endpoint (Core, 5.4).
    fn lacks(&self, proven: &Proven) -> bool {
        let roles = self.settings.roles.as_ref().is_some_and(|map| proven.find(&map.claim).is_none());
        roles || !proven.claims.contains_key("email")
    }

    /// Adds what the provider says elsewhere of the same subject (Core, 5.3). What the ID token says counts.
    async fn complete(&self, proven: Proven, url: &Url, access_token: &str) -> Result<Proven, OpenIdError> {
        let answer = endpoints::get_with(&self.fetch, url.as_str(), access_token).await?;
        let said = serde_json::from_slice(answer.body());
        let mut said: Map<String, Value> =
            said.map_err(|_| OpenIdError::Away(format!("{url} answers no JSON object")))?;
        let subject = &proven.identity.subject;
        if said.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(OpenIdError::Refused("userinfo"));
        }
        let subject = subject.clone();
        said.extend(proven.claims);
        // When they signed in is for the ID token alone to say.
        Ok(Proven { auth_time: proven.auth_time, ..Proven::new(&self.settings, &subject, said)? })
    }

    /// Checks an ID token that somebody presents, made for `nonce`.
    pub async fn check(&self, id_token: &str, nonce: &str, now: Timestamp) -> Result<Proven, OpenIdError> {
        self.judge(id_token, nonce, STRANGER, now).await
    }

    /// Checks an access token that somebody presents (Facebook's alone can be); says until when it could be presented again.
    pub async fn check_access_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<(Proven, Timestamp), OpenIdError> {
        facebook::check(self, token, now).await
    }

    async fn judge(
        &self,
        id_token: &str,
        nonce: &str,
        spacing: Duration,
        now: Timestamp,
    ) -> Result<Proven, OpenIdError> {
        let token = Signed::read(id_token)?;
        let fetch = async || self.fetch_keys().await;
        let keys = self.keys.current(fetch).await?;
        let verdict = match keys.verify(&token) {
            Verdict::UnknownKey => match self.keys.newer(&keys, spacing, fetch).await? {
                Some(newer) => newer.verify(&token),
                None => Verdict::UnknownKey,
            },
            known => known,
        };
        match verdict {
            Verdict::Holds => claims::judge(token.claims, &self.settings, nonce, now),
            Verdict::Fails => Err(OpenIdError::Refused("signature")),
            Verdict::UnknownKey => Err(OpenIdError::Refused("kid")),
        }
    }

    pub(super) async fn endpoints(&self) -> Result<Arc<Endpoints>, OpenIdError> {
        self.endpoints.current(async || endpoints::discover(&self.settings, &self.fetch).await).await
    }

    async fn fetch_keys(&self) -> Result<KeySet, OpenIdError> {
        // An address in the settings needs no discovery.
        let url = match &self.settings.jwks_uri {
            Some(url) => url.clone(),
            None => self.endpoints().await?.keys.clone(),
        };
        KeySet::read(endpoints::get(&self.fetch, url.as_str()).await?.body())
    }

    fn client(&self, redirect: &str) -> Result<Client, OpenIdError> {
        let redirect =
            RedirectUrl::new(redirect.to_owned()).map_err(|error| OpenIdError::Away(error.to_string()))?;
        Ok(Client::new(ClientId::new(self.settings.client_id.clone())).set_redirect_uri(redirect))
    }
}

/// Why a code gave nothing. The provider's words are for nobody but an operator, and may hold what a stranger sent.
fn refused_code(error: &RequestTokenError<FetchError, BasicErrorResponse>, status: u16) -> OpenIdError {
    let ours = |kind: &BasicErrorResponseType| {
        matches!(kind, BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient)
    };
    match error {
        RequestTokenError::Request(error) => OpenIdError::Away(format!("the token endpoint: {error}")),
        RequestTokenError::ServerResponse(said) if ours(said.error()) => {
            OpenIdError::Away("the token endpoint refuses our client id or secret".into())
        }
        _ if status >= 500 || status == 429 => {
            OpenIdError::Away(format!("the token endpoint answered {status}"))
        }
        _ => OpenIdError::Refused("code"),
    }
}
