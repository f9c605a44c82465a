//! An OAuth client that a test registers at a server, and its requests.

use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

use super::server::{Server, set_cookies};

/// A client of the installation, as `bulla client add` printed it.
pub struct App {
    pub id: String,
    pub secret: String,
    pub origin: String,
    pub http: Client,
}

impl Server {
    /// Adds a client with the command line.
    pub fn client(&self, name: &str, arguments: &[&str]) -> App {
        let mut line = vec!["--json", "client", "add", name];
        line.extend(arguments);
        let added = self.cli(&line);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let shown: Value = serde_json::from_slice(&added.stdout).unwrap();
        App {
            id: shown["id"].as_str().unwrap().into(),
            secret: shown["client_secret"].as_str().unwrap_or_default().into(),
            origin: self.origin.clone(),
            http: Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
        }
    }
}

impl App {
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.origin))
    }

    /// Sends a form with the client's secret in the `Authorization` header.
    pub async fn form(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.post(path).basic_auth(&self.id, Some(&self.secret)).form(form).send().await.unwrap()
    }

    pub async fn token(&self, form: &[(&str, &str)]) -> Response {
        self.form("/oauth/token", form).await
    }

    /// Requests a service token.
    pub async fn service(&self) -> Value {
        let answer = self.token(&[("grant_type", "client_credentials")]).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    pub async fn exchange(&self, token: &str, audience: &str, more: &[(&str, &str)]) -> Response {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", token),
            ("audience", audience),
        ];
        form.extend(more);
        self.token(&form).await
    }

    pub async fn introspect(&self, token: &str) -> Value {
        let answer = self.form("/oauth/introspect", &[("token", token)]).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    pub async fn is_active(&self, token: &str) -> bool {
        self.introspect(token).await["active"].as_bool().unwrap()
    }

    /// The status of a request to an administrative route with a bearer token.
    pub async fn admin(&self, token: &str, path: &str) -> u16 {
        let request = self.http.get(format!("{}{path}", self.origin)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    }
}

pub fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}"))
}

/// The status and the OAuth error code of a refusal.
pub async fn refused(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(set_cookies(&answer).is_empty());
    let said: Value = answer.json().await.unwrap();
    (status, text(&said, "error").into())
}

pub fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.into())
}
