//! Tests a real, certified provider with its own login and consent pages, and a real browser that goes there and comes back.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::json;

use crate::support::providers::provider::{CLIENT, SECRET};
use crate::support::{
    chromium::Chromium,
    server::{ACCESS, LOGIN, Server, eventually},
};

/// An `oidc-provider` process on its own port. It ends when this value is dropped.
struct RealProvider {
    process: Child,
    said: BufReader<ChildStdout>,
    issuer: String,
}

impl RealProvider {
    /// Returns `None` and prints a message if scripts/test has not installed it; fails if `CI=true`.
    fn start() -> Option<Self> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let folder: PathBuf = target.join("openid");
        if !folder.join("node_modules").exists() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "scripts/test installs oidc-provider");
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED {test}: oidc-provider is missing; scripts/test installs it"
            );
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openid/provider.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("node is installed by scripts/test");
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut provider = Self { process, said, issuer: String::new() };
        provider.issuer = provider.line();
        Some(provider)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Registers our server as a client of the provider.
    fn knows(&mut self, redirect: &str) {
        let client = json!({"client": CLIENT, "secret": SECRET, "redirect": redirect});
        writeln!(self.process.stdin.as_mut().unwrap(), "{client}").unwrap();
        assert_eq!(self.line(), "ready");
    }
}

impl Drop for RealProvider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts our server with these providers, named `acme` and `other` in this order, and registers it with them.
fn server_with(providers: &mut [RealProvider]) -> Server {
    let mut server = Server::new(&[]);
    server.write_secret("secret", SECRET);
    let mut settings = String::new();
    for (name, provider) in ["acme", "other"].into_iter().zip(providers.iter()) {
        settings += &format!(
            "\n[provider.{name}]\nissuer = '{}'\nclient_id = '{CLIENT}'\nclient_secret_file = 'secret'\ncreate = 'always'\n",
            provider.issuer
        );
    }
    let file = server.path("bulla.toml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &settings).unwrap();
    server.start();
    for (name, provider) in ["acme", "other"].into_iter().zip(providers) {
        provider.knows(&format!("{}/auth/provider/{name}/callback", server.origin));
    }
    server
}

/// Signs in at the provider's page and gives consent.
async fn agrees(person: &Chromium, name: &str) {
    person.types("input[name=login]", name).await;
    person.types("input[name=password]", "any").await;
    person.presses("Sign-in").await;
    person.presses("Continue").await;
}

/// Returns the browser's errors about our pages. Errors about the provider's pages are ignored.
async fn complaints_of_ours(person: &Chromium, server: &Server) -> Vec<String> {
    person.complaints().await.into_iter().filter(|line| line.contains(&server.origin)).collect()
}

#[tokio::test]
async fn a_user_logs_in_at_a_real_provider_and_is_recognized_the_next_time() {
    let (Some(acme), Some(other)) = (RealProvider::start(), RealProvider::start()) else { return };
    let mut providers = [acme, other];
    let server = server_with(&mut providers);
    let Some(person) = Chromium::start(&server.origin).await else { return };

    person.goes_to("/auth/login?rd=/auth/account").await;
    person.presses("Sign in with Acme").await;
    assert!(person.place().await.starts_with(&providers[0].issuer), "{}", person.place().await);
    agrees(&person, "grace").await;
    assert_eq!((person.status().await, person.place().await.as_str()), (200, "/auth/account"));
    assert_eq!(person.reads("h1").await, "grace@example.org");
    assert!(person.cookie(ACCESS).await.unwrap().value().starts_with("bulX"));
    assert_eq!(person.counts_cookies(LOGIN).await, 1, "the login's own cookie remembers that it is finished");
    assert_eq!(complaints_of_ours(&person, &server).await, Vec::<String>::new());

    person.presses("Sign out").await;
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
    person.presses("Sign in with Acme").await;
    // The provider remembers the person and the consent.
    assert_eq!(
        (person.place().await.as_str(), person.reads("h1").await.as_str()),
        ("/auth/account", "grace@example.org")
    );
    assert_eq!(server.sqlite3("SELECT count(*) FROM users WHERE name LIKE 'grace%'"), "1");

    // The same name at another provider is another user.
    person.presses("Sign out").await;
    person.presses("Sign in with Other").await;
    agrees(&person, "grace").await;
    assert!(person.reads("h1").await.starts_with("grace@example.org-"), "{}", person.reads("h1").await);
    assert_eq!(
        server.sqlite3("SELECT count(*), count(DISTINCT user_id), count(DISTINCT subject) FROM identities"),
        "2|2|1"
    );
}

#[tokio::test]
async fn a_user_who_cancels_at_the_provider_is_told_and_can_log_in_otherwise() {
    let Some(acme) = RealProvider::start() else { return };
    let mut providers = [acme];
    let server = server_with(&mut providers);
    let Some(person) = Chromium::without_scripts(&server.origin).await else { return };
    person.goes_to("/auth/login?rd=/auth/account").await;
    person.presses("Sign in with Acme").await;
    person.presses("[ Cancel ]").await;
    assert!(person.place().await.starts_with("/auth/provider/acme/callback?"), "{}", person.place().await);
    assert_eq!(person.reads(".error").await, "The sign-in with Acme failed. Please try again.");
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
    person.signs_in("ada", crate::support::server::PASSWORD).await;
    assert_eq!((person.place().await.as_str(), person.reads("h1").await.as_str()), ("/auth/account", "ada"));
}

#[tokio::test]
async fn a_user_links_a_real_provider_and_unlinks_it() {
    let Some(acme) = RealProvider::start() else { return };
    let mut providers = [acme];
    let server = server_with(&mut providers);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.logs_in("ada").await;
    // After an old login the button leads through a new login and back.
    server.sqlite3("UPDATE sessions SET auth_time = NULL");
    person.presses("Link Acme").await;
    assert_eq!((person.status().await, person.title().await.as_str()), (403, "Sign in · Bulla"));
    person.types("#password", crate::support::server::PASSWORD).await;
    person.presses("Sign in").await;
    assert_eq!(person.place().await, "/auth/account");
    person.presses("Link Acme").await;
    eventually("sent on", || async { person.sees("input[name=login]").await }).await;
    agrees(&person, "grace").await;
    assert_eq!((person.place().await.as_str(), person.reads("h1").await.as_str()), ("/auth/account", "ada"));
    let issuer = server.sqlite3("SELECT issuer FROM identities");
    assert!(person.reads("main").await.contains(&issuer));

    person.presses("Sign out").await;
    person.presses("Sign in with Acme").await;
    assert_eq!(person.reads("h1").await, "ada", "by the identity now");
    // The provider did not say when the user signed in, so the login does not count as recent. The user must sign in again and
    // comes back.
    let unlink = format!("Unlink grace at {issuer}");
    person.presses(&unlink).await;
    assert_eq!(person.status().await, 403);
    assert!(person.reads(".error").await.contains("too long ago"), "{}", person.reads(".error").await);
    assert_eq!(server.sqlite3("SELECT count(*) FROM identities"), "1");
    person.presses("Sign in with Acme").await;
    assert!(person.place().await.starts_with(&providers[0].issuer), "asked though signed in there");
    person.types("input[name=login]", "grace").await;
    person.types("input[name=password]", "any").await;
    person.presses("Sign-in").await;
    eventually("back, or asked to agree", || async {
        person.place().await == "/auth/account" || person.sees("button.login-submit, button[autofocus]").await
    })
    .await;
    if person.place().await != "/auth/account" {
        person.presses("Continue").await;
    }
    assert_eq!((person.place().await.as_str(), person.reads("h1").await.as_str()), ("/auth/account", "ada"));
    person.presses(&unlink).await;
    assert_eq!(person.place().await, "/auth/account");
    assert_eq!(server.sqlite3("SELECT count(*) FROM identities"), "0");
    // The browser reports only the two refusals above.
    let complaints = complaints_of_ours(&person, &server).await;
    let refused =
        |line: &String| line.contains("403") && (line.contains("/unlink") || line.contains("/link"));
    assert!(complaints.len() <= 2 && complaints.iter().all(refused), "{complaints:?}");
}
