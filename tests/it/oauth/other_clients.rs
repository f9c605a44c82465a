//! Tests OAuth clients of other authors, unchanged: in Python, Node and Rust.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use oauth2::{
    AccessToken, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, IntrospectionUrl,
    PkceCodeChallenge, RedirectUrl, RevocationUrl, Scope, TokenIntrospectionResponse as _,
    TokenResponse as _, TokenUrl, basic::BasicClient,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::support::{
    oauth_client::App,
    providers::signer::P256,
    server::{Browser, Server},
};

const BACK: &str = "https://app.example/back";

/// The folder into which `scripts/test` installs programs of other authors. If `what` is missing there, prints that the test is
/// skipped and returns `None`; in CI that is a failure.
pub fn folder(what: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("foreign");
    if folder.join(what).exists() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have {what}: scripts/test installs it");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    // Written directly to stderr, because the test runner hides the output of tests that pass.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: no {what}; scripts/test installs it");
    None
}

/// An installation with a confidential client, a public one and one that signs assertions, and a browser in which `ada` is signed
/// in.
struct Stage {
    server: Server,
    web: App,
    app: App,
    signer: Value,
    browser: Browser,
}

impl Stage {
    async fn new() -> Self {
        let server = Server::started(&[]);
        let rights = ["--scope", "read", "--scope", "write", "--audience", "billing", "--redirect-uri", BACK];
        let web = server.client("web", &rights);
        let app = server.client("app", &[&rights[..4], &["--public", "--redirect-uri", BACK]].concat());
        std::fs::write(server.path("signer.jwk"), P256.jwk().to_string()).unwrap();
        let id = server.client("signer", &["--scope", "read", "--jwks", "signer.jwk"]).id;
        let signer = json!({"id": id, "key": P256.private_jwk().to_string()});
        let browser = server.ada().await;
        Self { web, app, signer, browser, server }
    }

    /// Follows the server's redirects from `url`; returns the first address outside the server.
    async fn browse(&self, url: &str) -> String {
        let mut at = url.to_owned();
        while let Some(path) =
            at.strip_prefix(&self.server.origin).or(at.strip_prefix('/').map(|_| at.as_str()))
        {
            let answer = self.browser.get(path).await;
            assert_eq!(answer.status(), 303, "{path}");
            at = answer.headers()["location"].to_str().unwrap().to_owned();
        }
        at
    }

    /// Runs a program of `tests/foreign` and acts as its browser; returns the steps that it has completed.
    async fn play(&self, mut command: Command) -> Vec<String> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = json!({
            "issuer": self.server.origin, "back": BACK, "app": {"id": self.app.id}, "signer": self.signer,
            "web": {"id": self.web.id, "secret": self.web.secret},
        });
        stdin.write_all(format!("{told}\n").as_bytes()).await.unwrap();
        let mut steps = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            match line.split_once(' ').unwrap_or_default() {
                ("browse", url) => {
                    let back = self.browse(url).await;
                    stdin.write_all(format!("{back}\n").as_bytes()).await.unwrap();
                }
                ("done", step) => steps.push(step.to_owned()),
                _ => panic!("{line}"),
            }
        }
        assert!(child.wait().await.unwrap().success(), "after {steps:?}");
        steps
    }
}

fn python(script: &str) -> Option<Command> {
    let folder = folder("venv")?;
    let mut command = Command::new(folder.join("venv/bin/python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(script));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

/// Node looks for packages in the program's folder, so the program is copied to the packages.
fn node(script: &str) -> Option<Command> {
    let folder = folder("node_modules")?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    for name in ["conversation.mjs", script] {
        std::fs::copy(sources.join(name), folder.join(name)).unwrap();
    }
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    Some(command)
}

const PEOPLE: [&str; 3] = ["authorization_code with PKCE", "a resource", "refresh_token"];
const MACHINES: [&str; 2] =
    ["client_credentials client_secret_basic", "client_credentials client_secret_post"];

#[tokio::test]
async fn authlib_works_unchanged() {
    let Some(command) = python("authlib_client.py") else { return };
    let steps = Stage::new().await.play(command).await;
    let more = ["introspect", "token exchange", "revoke"];
    assert_eq!(steps, [&MACHINES[..], &["private_key_jwt"], &PEOPLE, &more].concat());
}

#[tokio::test]
async fn requests_oauthlib_works_unchanged() {
    let Some(command) = python("requests_oauthlib_client.py") else { return };
    let steps = Stage::new().await.play(command).await;
    assert_eq!(steps, [&MACHINES[..], &PEOPLE, &["revoke"]].concat());
}

#[tokio::test]
async fn oauth4webapi_works_unchanged() {
    let Some(command) = node("oauth4webapi.mjs") else { return };
    let steps = Stage::new().await.play(command).await;
    let more = ["token exchange", "introspect", "revoke"];
    assert_eq!(steps, [&["metadata"], &MACHINES[..], &["private_key_jwt"], &PEOPLE, &more].concat());
}

#[tokio::test]
async fn openid_client_works_unchanged() {
    let Some(command) = node("openid-client.mjs") else { return };
    let steps = Stage::new().await.play(command).await;
    let more = ["token exchange", "introspect", "revoke"];
    assert_eq!(steps, [&["metadata"], &MACHINES[..], &["private_key_jwt"], &PEOPLE, &more].concat());
}

/// These clients keep only the latest answer.
#[tokio::test]
async fn simple_oauth2_renews_repeatedly() {
    let Some(command) = node("simple-oauth2.mjs") else { return };
    let steps = Stage::new().await.play(command).await;
    assert_eq!(steps, ["authorization_code with PKCE", "refresh_token", "revoke"]);
}

#[tokio::test]
async fn arctic_renews_repeatedly() {
    let Some(command) = node("arctic.mjs") else { return };
    let steps = Stage::new().await.play(command).await;
    assert_eq!(steps, ["authorization_code with PKCE", "refresh_token", "revoke"]);
}

/// Sends a request of the `oauth2` crate with the HTTP client that all tests use.
async fn http(request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse, reqwest::Error> {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let answer = client.execute(request.try_into()?).await?;
    let mut response = oauth2::HttpResponse::new(Vec::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    *response.body_mut() = answer.bytes().await?.to_vec();
    Ok(response)
}

#[tokio::test]
async fn the_oauth2_crate_works_unchanged() {
    let stage = Stage::new().await;
    let at = |path: &str| format!("{}{path}", stage.server.origin);
    let client = BasicClient::new(ClientId::new(stage.web.id.clone()))
        .set_client_secret(ClientSecret::new(stage.web.secret.clone()))
        .set_auth_uri(AuthUrl::new(at("/oauth/authorize")).unwrap())
        .set_token_uri(TokenUrl::new(at("/oauth/token")).unwrap())
        .set_introspection_url(IntrospectionUrl::new(at("/oauth/introspect")).unwrap())
        .set_redirect_uri(RedirectUrl::new(BACK.into()).unwrap());
    let machine = client.exchange_client_credentials().add_scope(Scope::new("read".into()));
    let machine = machine.request_async(&http).await.unwrap();
    assert_eq!(machine.expires_in(), Some(std::time::Duration::from_secs(3600)));

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let request = client.authorize_url(CsrfToken::new_random).add_scope(Scope::new("read".into()));
    let (url, state) = request.set_pkce_challenge(challenge).url();
    let back = oauth2::url::Url::parse(&stage.browse(url.as_str()).await).unwrap();
    let said = |name: &str| back.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned();
    assert_eq!((said("state"), said("iss")), (state.secret().clone(), stage.server.origin.clone()));
    let request = client.exchange_code(AuthorizationCode::new(said("code"))).set_pkce_verifier(verifier);
    let first = request.request_async(&http).await.unwrap();
    let refresh = first.refresh_token().unwrap();
    let second = client.exchange_refresh_token(refresh).request_async(&http).await.unwrap();
    assert_ne!(first.access_token().secret(), second.access_token().secret());

    let active =
        async |token: &AccessToken| client.introspect(token).request_async(&http).await.unwrap().active();
    assert!(active(second.access_token()).await);
    // The crate's type allows revocation over TLS only, so the test sends the same request itself.
    assert!(RevocationUrl::new(at("/oauth/revoke")).is_ok());
    let revoked = stage.web.form("/oauth/revoke", &[("token", refresh.secret())]).await;
    assert_eq!(revoked.status(), 200);
    assert!(!active(second.access_token()).await);
    assert!(client.exchange_refresh_token(refresh).request_async(&http).await.is_err());
}
