//! A provider in use: sends people there, redeems the codes with which they return, and checks presented tokens.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope, TokenUrl, basic::BasicClient, url::Url,
};
use serde_json::{Map, Value};

use super::{
    ClientAuth, Create, OpenIdError, Preset, ProviderSettings,
    answer::{self, Granted},
    claims,
    claims::Proven,
    endpoints::{self, Endpoints},
    facebook,
    published::Published,
};
use crate::{
    clock::Timestamp,
    fetch::{Fetch, FetchError},
    jws::{KeySet, LONGEST, Signed, Verdict},
    secret::Secret,
};

/// The minimum time between two requests for newer keys that tokens with unknown key ids or invalid signatures cause. Anyone can
/// send such tokens.
const STRANGER: Duration = Duration::from_secs(30);

/// A provider, with those of its published data that were fetched. Data is fetched when it is first needed.
#[derive(Debug)]
pub struct Provider {
    settings: ProviderSettings,
    fetch: Arc<Fetch>,
    endpoints: Published<Endpoints>,
    keys: Published<KeySet>,
}

/// A login at a provider that is about to begin: the URL, and the values that are needed when the person returns.
#[derive(Debug)]
pub struct BegunLogin {
    /// The URL to which the person is sent.
    pub url: String,
    /// The provider returns it with the person.
    pub state: zeroize::Zeroizing<String>,
    /// The provider returns it in the ID token.
    pub nonce: zeroize::Zeroizing<String>,
    /// Sent when the code is redeemed (RFC 7636).
    pub verifier: zeroize::Zeroizing<String>,
}

/// How recent the login at a provider must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// An earlier login is accepted.
    Any,
    /// The provider must authenticate the person again, even if they are logged in there (Core, 3.1.2.1).
    Now,
}

/// The type of a client that knows only the token endpoint.
type Asking = BasicClient<
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

impl Provider {
    /// Creates a provider that sends its requests through `fetch`.
    pub fn new(settings: ProviderSettings, fetch: Arc<Fetch>) -> Self {
        Self { settings, fetch, endpoints: Published::default(), keys: Published::default() }
    }

    /// Returns the settings of the provider.
    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    pub(super) fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    /// Prepares to send a person to the provider. They return to `redirect`.
    ///
    /// # Errors
    ///
    /// `Away` if the provider's endpoints can't be determined, or if the system gives no random bytes.
    pub async fn begin_login(&self, redirect: &str, freshness: Freshness) -> Result<BegunLogin, OpenIdError> {
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
            // This is only a hint for Google's page. The claim in the ID token decides.
            request = request.add_extra_param("hd", if domains.len() == 1 { &domains[0] } else { "*" });
        }
        if freshness == Freshness::Now {
            for (name, value) in self.settings.preset.reauthentication_parameters() {
                request = request.add_extra_param(*name, *value);
            }
        }
        let (url, _) = request.url();
        Ok(BegunLogin { url: url.into(), state, nonce, verifier })
    }

    /// Redeems a code that was returned to `redirect`, and checks the ID token in the answer.
    ///
    /// # Errors
    ///
    /// `Refused` if the code or the ID token is invalid, `Away` if the provider can't be reached or its answer can't be used.
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
        let granted = self.exchange(client, code, verifier).await?;
        if granted.id_token.len() > LONGEST {
            let long = granted.id_token.len();
            let why = format!(
                "the `id_token` of the token endpoint has {long} bytes, more than the maximum of {LONGEST}"
            );
            return Err(OpenIdError::Away(why));
        }
        // The token comes directly from the provider, so no one else can trigger requests for keys in this way. No interval is
        // needed.
        let proven = self
            .check_id_token(&granted.id_token, nonce, Duration::ZERO, now)
            .await
            .map_err(as_provider_fault)?;
        match &endpoints.userinfo {
            Some(url) if self.lacks_claims(&proven) => {
                self.add_userinfo(proven, url, granted.access_token.as_ref().map(|token| token.as_str()), now)
                    .await
            }
            _ => Ok(proven),
        }
    }

    /// Requests the token endpoint. The library builds the request. The answer is parsed by [`answer`], because providers format
    /// the fields that are not needed here in many ways.
    async fn exchange(&self, client: Asking, code: &str, verifier: &str) -> Result<Granted, OpenIdError> {
        let heard = Mutex::new(None);
        let send = |request| async {
            let answer = self.fetch.send(request).await;
            let kept = answer
                .as_ref()
                .map_err(FetchError::clone)
                .map(|answer| (answer.status().as_u16(), zeroize::Zeroizing::new(answer.body().clone())));
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
            answer
        };
        let asked = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()))
            .request_async(&send)
            .await;
        drop(asked);
        match heard.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok((status, body))) => answer::read(status, &body),
            Some(Err(error)) => Err(OpenIdError::Away(format!("the token endpoint: {error}"))),
            None => {
                Err(OpenIdError::Away("the token endpoint can't be reached: its URL is not usable".into()))
            }
        }
    }

    /// Whether a claim is missing that the userinfo endpoint probably has (Core, 5.4).
    fn lacks_claims(&self, proven: &Proven) -> bool {
        let roles = self.settings.roles.as_ref().is_some_and(|map| proven.find(&map.claim).is_none());
        roles || !claims::has_mail(&proven.claims)
    }

    /// Adds the userinfo endpoint's claims about the same subject (Core, 5.3). Claims of the ID token take precedence. If the
    /// endpoint can't be read, only the ID token is used, and [`super::Providers::user`] decides whether it is sufficient.
    async fn add_userinfo(
        &self,
        proven: Proven,
        url: &Result<Url, String>,
        access_token: Option<&str>,
        now: Timestamp,
    ) -> Result<Proven, OpenIdError> {
        let incomplete = |why: String| Ok(Proven { incomplete: Some(why), ..proven.clone() });
        let said = match self.userinfo(url, access_token, now).await {
            Ok(said) => said,
            Err(error) => return incomplete(error.to_string()),
        };
        let subject = proven.identity.subject.clone();
        match said.get("sub").and_then(Value::as_str) {
            Some(same) if same == subject => {}
            None if said.is_empty() || said.contains_key("error") => {
                return incomplete(
                    "the userinfo endpoint answered 200 without claims, or with `error`".into(),
                );
            }
            _ => return Err(OpenIdError::Refused("userinfo")),
        }
        let said = claims::merge(proven.claims, said);
        // Only the ID token can give the time of the login.
        Ok(Proven { auth_time: proven.auth_time, ..Proven::new(&self.settings, &subject, said)? })
    }

    /// Requests the userinfo endpoint's claims, as JSON or as a signed token (Core, 5.3.2).
    async fn userinfo(
        &self,
        url: &Result<Url, String>,
        access_token: Option<&str>,
        now: Timestamp,
    ) -> Result<Map<String, Value>, OpenIdError> {
        let url = url.as_ref().map_err(|why| OpenIdError::Away(why.clone()))?;
        let away = |why: &str| OpenIdError::Away(format!("{url}: {why}"));
        let token = access_token.ok_or_else(|| {
            OpenIdError::Away("the `access_token` of the token endpoint is missing or not a string".into())
        })?;
        let answer = endpoints::get_with(&self.fetch, url.as_str(), token).await?;
        let text =
            std::str::from_utf8(answer.body()).map_err(|_| away("the answer is not a JSON object"))?.trim();
        if text.starts_with('{') {
            return serde_json::from_str(text).map_err(|_| away("the answer is not a JSON object"));
        }
        let said = match Signed::read(text) {
            Ok(token) => self.verified_claims(token, STRANGER).await,
            Err(_) => {
                return Err(away("the answer is neither a JSON object nor a readable signed token (JWS)"));
            }
        };
        let said = said.map_err(|error| away(&format!("the signature of the answer: {error}")))?;
        match claims::is_for_this_client(&said, &self.settings, now) {
            true => Ok(said),
            false => Err(away("the signed answer is for another client, or from another time")),
        }
    }

    /// Checks an ID token that a client presents. It must have been issued for `nonce`.
    ///
    /// # Errors
    ///
    /// `Refused` if the token is invalid, `Away` if the provider's keys can't be fetched.
    pub async fn check(&self, id_token: &str, nonce: &str, now: Timestamp) -> Result<Proven, OpenIdError> {
        self.check_id_token(id_token, nonce, STRANGER, now).await
    }

    /// Checks an access token that a client presents, which is possible only for Facebook. Returns the time until which it could
    /// be presented again.
    ///
    /// # Errors
    ///
    /// `Refused` if the token is invalid, `Away` if the Graph can't be reached or its answer can't be used.
    pub async fn check_access_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<(Proven, Timestamp), OpenIdError> {
        facebook::check(&self.settings, &self.fetch, token, now).await
    }

    async fn check_id_token(
        &self,
        id_token: &str,
        nonce: &str,
        spacing: Duration,
        now: Timestamp,
    ) -> Result<Proven, OpenIdError> {
        let claims = self.verified_claims(Signed::read(id_token)?, spacing).await?;
        claims::check_claims(claims, &self.settings, nonce, now)
    }

    /// Returns the claims of a token after its signature is verified. If the verification fails, fetches newer keys and tries
    /// again, because a provider may change its key under a new or the same key id.
    async fn verified_claims(
        &self,
        token: Signed,
        spacing: Duration,
    ) -> Result<Map<String, Value>, OpenIdError> {
        let fetch = async || self.fetch_keys().await;
        let keys = self.keys.current(fetch).await?;
        let verdict = match keys.verify(&token) {
            Verdict::Holds => Verdict::Holds,
            doubt => match self.keys.newer(&keys, spacing, fetch).await? {
                Some(newer) => newer.verify(&token),
                None => doubt,
            },
        };
        match verdict {
            Verdict::Holds => Ok(token.claims),
            Verdict::Fails => Err(OpenIdError::Refused("signature")),
            Verdict::UnknownKey => Err(OpenIdError::Refused("kid")),
        }
    }

    pub(super) async fn endpoints(&self) -> Result<Arc<Endpoints>, OpenIdError> {
        self.endpoints.current(async || endpoints::discover(&self.settings, &self.fetch).await).await
    }

    async fn fetch_keys(&self) -> Result<KeySet, OpenIdError> {
        // A key set URL from the settings needs no discovery.
        let url = match &self.settings.jwks_uri {
            Some(url) => url.clone(),
            None => self.endpoints().await?.keys.clone(),
        };
        Ok(KeySet::read(endpoints::get(&self.fetch, url.as_str()).await?.body())?)
    }

    fn client(&self, redirect: &str) -> Result<BasicClient, OpenIdError> {
        let redirect =
            RedirectUrl::new(redirect.to_owned()).map_err(|error| OpenIdError::Away(error.to_string()))?;
        Ok(BasicClient::new(ClientId::new(self.settings.client_id.clone())).set_redirect_uri(redirect))
    }
}

/// Converts the error for an `id_token` that is not a signed token. This is a fault of the provider, not a refusal of the person.
fn as_provider_fault(error: OpenIdError) -> OpenIdError {
    match error {
        OpenIdError::Refused("form") => OpenIdError::Away(
            "the `id_token` of the token endpoint is not a readable signed token (JWS); encrypted tokens are not supported"
                .into(),
        ),
        error => error,
    }
}
