//! One simulated provider with its documents, its token endpoint and its users, and a person who signs in there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bulla::internals::clock::{Clock as _, SystemClock};
use reqwest::{Method, Response, Url};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    internet::{Internet, Received, Reply},
    signer::{RSA, Signer},
};
use crate::support::server::{Browser, Server};

/// Our client id and secret at every simulated provider.
pub const CLIENT: &str = "our-client-id";
pub const SECRET: &str = "our client's secret & more";

/// A provider's documented behavior.
#[derive(Clone)]
pub struct Profile {
    /// The provider's name in the settings.
    pub name: &'static str,
    pub settings: &'static str,
    pub issuer: &'static str,
    /// The discovery document, if the login needs one.
    pub discovery: Option<Value>,
    pub authorization_endpoint: &'static str,
    pub token_endpoint: &'static str,
    pub jwks_uri: &'static str,
    /// Claims of its ID tokens in addition to `iss`, `aud`, `exp`, `iat` and `nonce`.
    pub claims: Value,
    /// The body of its refusal of a code.
    pub refusal: Value,
}

/// An ID token that is not yet signed.
pub struct Token {
    pub header: Value,
    pub claims: Value,
    pub signer: &'static Signer,
    /// The complete token; replaces the other fields.
    pub text: Option<String>,
}

impl Token {
    pub fn text(&self) -> String {
        self.text.clone().unwrap_or_else(|| self.signer.sign(&self.header, &self.claims))
    }
}

/// The codes and access tokens that a provider has issued.
#[derive(Default)]
struct Grants {
    codes: BTreeMap<String, Grant>,
    /// The answers of the userinfo endpoint, by access token.
    people: BTreeMap<String, Value>,
}

/// An issued code: the values that its redemption must present, and the values that it returns.
struct Grant {
    challenge: String,
    redirect: String,
    id_token: String,
    said: Value,
}

/// A running provider and one of our servers that is configured for it.
pub struct TestProvider {
    pub internet: Internet,
    pub profile: Profile,
    pub server: Server,
    pub keys: Arc<Mutex<Vec<Value>>>,
    grants: Arc<Mutex<Grants>>,
    codes: AtomicU32,
}

pub fn now() -> u64 {
    SystemClock.now().millis().unsigned_abs() / 1000
}

impl TestProvider {
    /// Starts the provider, and our server with the provider's preset.
    pub fn open(profile: Profile) -> Self {
        let provider = Self::closed(Internet::new(), profile, "");
        provider.build();
        provider
    }

    /// As [`Self::open`], with further settings.
    pub fn with_settings(profile: Profile, more: &str) -> Self {
        let provider = Self::closed(Internet::new(), profile, more);
        provider.build();
        provider
    }

    /// Starts our server; the provider's addresses do not answer yet.
    pub fn closed(internet: Internet, profile: Profile, more: &str) -> Self {
        let mut environment = internet.environment();
        environment.push(("BULLA_TRUSTED_PROXIES".into(), "127.0.0.1".into()));
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut server = Server::new(&environment);
        server.write_secret("secret", &format!("{SECRET}\n"));
        let settings = format!("\n{}\n{more}\n", profile.settings);
        let file = server.path("bulla.toml");
        std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &settings).unwrap();
        server.start();
        let keys = Arc::new(Mutex::new(vec![RSA.jwk()]));
        Self { internet, profile, server, keys, grants: Arc::default(), codes: AtomicU32::new(0) }
    }

    /// Publishes the provider's documents and its token endpoint.
    pub fn build(&self) {
        let profile = &self.profile;
        if let Some(document) = profile.discovery.clone() {
            let url = format!("{}/.well-known/openid-configuration", profile.issuer.trim_end_matches('/'));
            self.internet.at(&url, move |_| Reply::Json(document.clone()));
        }
        let keys = Arc::clone(&self.keys);
        self.internet.at(profile.jwks_uri, move |_| Reply::Json(json!({"keys": *keys.lock().unwrap()})));
        let (grants, refusal) = (Arc::clone(&self.grants), profile.refusal.clone());
        self.internet.at(profile.token_endpoint, move |asked| match redeem(asked, &grants) {
            Some(answer) => Reply::Json(answer),
            None => Reply::Error(400, refusal.clone()),
        });
        let grants = Arc::clone(&self.grants);
        if let Some(url) = profile.discovery.as_ref().and_then(|said| said["userinfo_endpoint"].as_str()) {
            self.internet.at(url, move |asked| {
                let token = asked.authorization.as_deref().and_then(|header| header.strip_prefix("Bearer "));
                match token.and_then(|token| grants.lock().unwrap().people.get(token).cloned()) {
                    Some(person) => Reply::Json(person),
                    None => Reply::Error(401, json!({"error": "invalid_token"})),
                }
            });
        }
        self.internet.at(profile.authorization_endpoint, |_| Reply::Bytes(b"<h1>Sign in</h1>".to_vec()));
    }

    /// An ID token with the provider's usual claims.
    pub fn token(&self, nonce: &str) -> Token {
        let mut claims = json!({
            "iss": self.profile.issuer, "aud": CLIENT, "iat": now(), "exp": now() + 3600, "nonce": nonce,
        });
        let Value::Object(more) = self.profile.claims.clone() else { unreachable!("claims are an object") };
        claims.as_object_mut().unwrap().extend(more);
        let header = json!({"alg": "RS256", "kid": RSA.kid, "typ": "JWT"});
        Token { header, claims, signer: &RSA, text: None }
    }

    /// A person with a new browser and another IP address.
    pub fn somebody(&self) -> Person<'_> {
        let address = format!("198.51.100.{}", self.codes.fetch_add(1, Ordering::SeqCst) % 250);
        Person { provider: self, browser: self.server.browser(), address }
    }

    /// Issues a code for the authorization request in `url`; the code can be redeemed for this token.
    pub fn grant(&self, url: &Url, token: &Token) -> String {
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let code = format!("code-{}", self.codes.fetch_add(1, Ordering::SeqCst));
        let grant = Grant {
            challenge: query["code_challenge"].clone(),
            redirect: query["redirect_uri"].clone(),
            id_token: token.text(),
            said: json!({"sub": token.claims["sub"], "picture": "https://img.example/1"}),
        };
        self.grants.lock().unwrap().codes.insert(code.clone(), grant);
        code
    }
}

/// Redeems a code (RFC 6749, 4.1.3, and RFC 7636, 4.6): only for our client, once, and with the code's own redirect URI and
/// verifier.
fn redeem(asked: &Received, grants: &Mutex<Grants>) -> Option<Value> {
    let form = |name: &str| asked.form.get(name).map(String::as_str);
    let encoded = |text: &str| -> String {
        reqwest::Url::parse_with_params("x:/", [("", text)]).unwrap().query().unwrap()[1..].to_owned()
    };
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(CLIENT), encoded(SECRET))));
    let ours = match &asked.authorization {
        Some(header) => *header == basic && form("client_secret").is_none(),
        None => form("client_id") == Some(CLIENT) && form("client_secret") == Some(SECRET),
    };
    let grant = grants.lock().unwrap().codes.remove(form("code")?)?;
    let verified = URL_SAFE_NO_PAD.encode(Sha256::digest(form("code_verifier")?)) == grant.challenge;
    let fits =
        form("grant_type") == Some("authorization_code") && form("redirect_uri") == Some(&grant.redirect);
    (ours && verified && fits).then(|| {
        let access_token = format!("access-{}", grant.challenge);
        grants.lock().unwrap().people.insert(access_token.clone(), grant.said);
        json!({"access_token": access_token, "token_type": "bearer", "expires_in": 3599, "id_token": grant.id_token})
    })
}

/// A person who signs in.
pub struct Person<'a> {
    pub provider: &'a TestProvider,
    pub browser: Browser,
    pub address: String,
}

impl Person<'_> {
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.browser.request(method, path).header("x-forwarded-for", &self.address)
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.browser.send(self.request(Method::POST, path).json(&body)).await
    }

    /// Clicks the provider's button; returns the URL of the redirect.
    pub async fn leaves(&self) -> Url {
        let path = format!("/auth/provider/{}", self.provider.profile.name);
        let sent = self.browser.send(self.request(Method::GET, &path)).await;
        assert_eq!(sent.status(), 303, "{}", sent.text().await.unwrap());
        Url::parse(sent.headers()["location"].to_str().unwrap()).unwrap()
    }

    /// Comes back with the headers that a browser sends after a redirect from another site.
    pub async fn comes_back(&self, url: &Url, answer: &[(&str, &str)]) -> Response {
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let to = Url::parse_with_params(&query["redirect_uri"], answer).unwrap();
        let path = format!("{}?{}", to.path(), to.query().unwrap());
        let cookies = self.browser.jar.clone();
        let request = self.browser.client.get(format!("{}{path}", self.browser.origin));
        let request = request
            .header("cookie", cookies.header())
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "navigate")
            .header("accept", "text/html")
            .header("x-forwarded-for", &self.address);
        self.browser.send(request).await
    }

    /// Performs a complete login, with a token that `twist` has changed.
    pub async fn signs_in(&self, twist: impl FnOnce(&mut Token)) -> Response {
        let url = self.leaves().await;
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let mut token = self.provider.token(&query["nonce"]);
        twist(&mut token);
        let code = self.provider.grant(&url, &token);
        self.comes_back(&url, &[("code", &code), ("state", &query["state"])]).await
    }

    /// Requests a nonce for a token that this browser will present.
    pub async fn nonce(&self) -> String {
        let answer: Value = self.post("/auth/login/nonce", json!({})).await.json().await.unwrap();
        answer["nonce"].as_str().unwrap().to_owned()
    }

    /// Presents a token that `twist` has changed.
    pub async fn presents(&self, twist: impl FnOnce(&mut Token)) -> Response {
        let nonce = self.nonce().await;
        let mut token = self.provider.token(&nonce);
        twist(&mut token);
        let body = json!({"provider": self.provider.profile.name, "id_token": token.text(), "nonce": nonce});
        self.post("/auth/login", body).await
    }

    /// Returns the server's description of the session.
    pub async fn is(&self) -> Value {
        self.browser.get("/auth/session").await.json().await.unwrap()
    }
}
