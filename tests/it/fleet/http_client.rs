//! An HTTP client for one node of the fleet or for its load balancer.

use std::time::{Duration, Instant};

use reqwest::{Client, Method};

use crate::support::server::{ACCESS, PASSWORD, REFRESH, set_cookies};

/// Sends requests to one address, with the `Host` header of the fleet's public address as a browser does.
#[derive(Clone)]
pub struct Door {
    client: Client,
    origin: String,
    host: String,
}

/// The tokens in a browser's cookie jar.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    pub access: Option<String>,
    pub refresh: Option<String>,
}

impl Tokens {
    pub fn access(token: &str) -> Self {
        Self { access: Some(token.into()), refresh: None }
    }

    pub fn refresh(token: &str) -> Self {
        Self { access: None, refresh: Some(token.into()) }
    }
}

/// The part of a response that the tests check.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The tokens in the cookies that the response sets.
    pub set: Tokens,
    /// Whether the response sets or deletes any cookie.
    pub touches_cookies: bool,
    pub retry_after: bool,
    pub took: Duration,
}

impl Door {
    /// A client for `port`, in a fleet whose public port is `public`.
    pub fn new(port: u16, public: u16) -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none());
        Self {
            client: client.timeout(Duration::from_secs(10)).build().unwrap(),
            origin: format!("http://127.0.0.1:{port}"),
            host: format!("localhost:{public}"),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        shown: &Tokens,
        body: Option<serde_json::Value>,
    ) -> Option<Answer> {
        let request = self.client.request(method, format!("{}{path}", self.origin));
        let request = request.header("host", &self.host).header("sec-fetch-site", "same-origin");
        let cookies = [(ACCESS, &shown.access), (REFRESH, &shown.refresh)];
        let cookies = cookies.iter().filter_map(|(name, token)| Some(format!("{name}={}", token.as_ref()?)));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let request = if cookies.is_empty() { request } else { request.header("cookie", cookies) };
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let asked = Instant::now();
        let response = request.send().await.ok()?;
        let (status, lines) = (response.status().as_u16(), set_cookies(&response));
        let retry_after = response.headers().contains_key("retry-after");
        let value = |name: &str| {
            let line = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.and_then(|line| line.split(';').next()).filter(|token| !token.is_empty()).map(str::to_owned)
        };
        let set = Tokens { access: value(ACCESS), refresh: value(REFRESH) };
        response.bytes().await.ok()?;
        Some(Answer { status, set, touches_cookies: !lines.is_empty(), retry_after, took: asked.elapsed() })
    }

    /// Whether the guard accepts the request. A page that does not exist is answered by 404 if the request is authenticated,
    /// and by 401 if not. With a good access token the server needs no store. `None`: no answer, or one that does not show
    /// which.
    pub async fn passes(&self, shown: &Tokens) -> Option<bool> {
        match self.ask(Method::GET, "/auth/nowhere", shown, None).await?.status {
            404 => Some(true),
            401 => Some(false),
            _ => None,
        }
    }

    /// Requests the present session. `None`: no answer.
    pub async fn look(&self, shown: &Tokens) -> Option<Answer> {
        self.ask(Method::GET, "/auth/session", shown, None).await
    }

    pub async fn refresh(&self, refresh: &str) -> Option<Answer> {
        self.ask(Method::POST, "/auth/refresh", &Tokens::refresh(refresh), Some(serde_json::json!({}))).await
    }

    pub async fn log_out(&self, shown: &Tokens) -> Option<Answer> {
        self.ask(Method::POST, "/auth/logout", shown, Some(serde_json::json!({}))).await
    }

    pub async fn log_in(&self, name: &str) -> Option<Answer> {
        let login = serde_json::json!({"username": name, "password": PASSWORD});
        self.ask(Method::POST, "/auth/login", &Tokens::default(), Some(login)).await
    }

    pub async fn ready(&self) -> Option<Answer> {
        self.ask(Method::GET, "/health/ready", &Tokens::default(), None).await
    }
}
