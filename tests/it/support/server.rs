//! Runs the real program as a user does: a process on a free port, a separate folder, and browsers with cookie jars.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder, Response};

/// The name of the access cookie.
pub const ACCESS: &str = "__Host-Http-bulla-access";
/// The name of the refresh cookie.
pub const REFRESH: &str = "__Host-Http-bulla-refresh";
/// The prefix of the names of the cookies for logins at providers.
pub const LOGIN: &str = "__Host-Http-bulla-login-";
/// The password of every user that a test creates.
pub const PASSWORD: &str = "correct horse battery";

/// A folder with a ring, a database and, while it runs, a server.
pub struct Server {
    pub dir: Arc<tempfile::TempDir>,
    pub environment: Vec<(String, String)>,
    process: Option<Child>,
    pub origin: String,
    stderr: Arc<Mutex<String>>,
    /// The thread that collects the output of the process until its end.
    scribe: Option<JoinHandle<()>>,
}

impl Server {
    /// An installation with the user `ada`; its server is not started.
    pub fn new(environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let server = Self {
            dir,
            environment,
            process: None,
            origin: String::new(),
            stderr: Arc::default(),
            scribe: None,
        };
        assert!(server.cli(&["init"]).status.success());
        server.add_user("ada", &["admin"]);
        server
    }

    /// Sets an environment variable for all later commands.
    pub fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.environment.push((name.into(), value.as_ref().to_str().unwrap().into()));
    }

    /// The same with a running server.
    pub fn started(environment: &[(&str, &str)]) -> Self {
        let mut server = Self::new(environment);
        server.start();
        server
    }

    /// Another running server over the same folder.
    pub fn beside(&self) -> Self {
        let (dir, environment) = (Arc::clone(&self.dir), self.environment.clone());
        let mut server = Self {
            dir,
            environment,
            process: None,
            origin: String::new(),
            stderr: Arc::default(),
            scribe: None,
        };
        server.start();
        server
    }

    pub fn start(&mut self) {
        self.start_on("127.0.0.1:0");
    }

    /// Starts the server at an address that differs from its public URL.
    pub fn start_on(&mut self, listen: &str) {
        let mut command = self.command(&["serve", "--listen", listen]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let collected = Arc::clone(&self.stderr);
        let origin = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("the server ended: {}", collected.lock().unwrap()))
                .unwrap();
            collected.lock().unwrap().push_str(&format!("{line}\n"));
            if let Some((_, rest)) = line.split_once("Bulla serves on ") {
                break rest.split(' ').next().unwrap().to_owned();
            }
        };
        self.scribe = Some(std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                collected.lock().unwrap().push_str(&format!("{line}\n"));
            }
        }));
        self.origin = origin;
        self.process = Some(process);
    }

    /// The output of the process on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until the output contains a text. A line arrives a moment after the answer that it belongs to.
    pub async fn says(&self, text: &str) {
        eventually(&format!("the server says {text:?}"), async || self.stderr().contains(text)).await;
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Host and port, without the scheme.
    pub fn address(&self) -> String {
        self.origin.split_once("://").unwrap().1.to_owned()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Ends the process with `kill -9`.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Waits until the process has ended by itself and all its output is collected; returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let code = self.process.take().unwrap().wait().unwrap().code();
        self.scribe.take().unwrap().join().unwrap();
        code
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
        command.args(arguments).current_dir(self.dir.path()).env_remove("RUST_LOG");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program with these arguments in the folder.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// The same with standard input.
    pub fn cli_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses its arguments doesn't read its input, so writing may fail.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    pub fn add_user(&self, name: &str, roles: &[&str]) {
        let mut arguments = vec!["user", "add", name, "--password-stdin"];
        roles.iter().for_each(|role| arguments.extend(["--role", role]));
        let added = self.cli_with(&arguments, PASSWORD);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that only its owner may read.
    pub fn write_secret(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs a statement in a real `sqlite3` shell.
    pub fn sqlite3(&self, statement: &str) -> String {
        sqlite3(&self.path("bulla.db"), statement)
    }

    pub fn browser(&self) -> Browser {
        Browser {
            client: Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
            origin: self.origin.clone(),
            jar: Jar::default(),
        }
    }

    /// The status and the body of `/health/ready`.
    pub async fn readiness(&self) -> (u16, serde_json::Value) {
        let answer = self.browser().get("/health/ready").await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A browser in which `ada` is logged in.
    pub async fn ada(&self) -> Browser {
        let browser = self.browser();
        browser.log_in("ada").await;
        browser
    }

    /// `count` such browsers, logged in at the same time.
    pub async fn adas(&self, count: usize) -> Vec<Browser> {
        futures_util::future::join_all((0..count).map(|_| self.ada())).await
    }

    /// Adds `count` users, `u1`, `u2`, …, with the password hash of `ada`, because hashing a password for each takes time.
    pub fn crowd(&self, count: usize) {
        self.sqlite3(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO users (name, folded, password_hash, created_at)
             SELECT 'u' || i, 'u' || i, password_hash, created_at FROM n, users WHERE name = 'ada'"
        ));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Runs a statement in a real `sqlite3` shell; returns what it prints.
pub fn sqlite3(database: &Path, statement: &str) -> String {
    let shell = Command::new("sqlite3").arg(database).args([".timeout 5000", statement]).output();
    let shell = shell.expect("sqlite3 is installed by scripts/test");
    assert!(shell.status.success(), "{statement}: {}", String::from_utf8_lossy(&shell.stderr));
    String::from_utf8(shell.stdout).unwrap().trim_end().to_owned()
}

/// Cookies, stored as a browser stores them: those that were created first are sent first (RFC 6265, section 5.4).
#[derive(Clone, Default)]
pub struct Jar(Arc<Mutex<Vec<(String, String)>>>);

impl Jar {
    pub fn get(&self, name: &str) -> Option<String> {
        let all = self.0.lock().unwrap();
        all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// The cookies of logins at providers, by name.
    pub fn logins(&self) -> Vec<(String, String)> {
        let all = self.0.lock().unwrap();
        let logins = all.iter().filter(|(name, _)| name.starts_with(LOGIN));
        logins.cloned().collect()
    }

    pub fn set(&self, name: &str, value: &str) {
        let mut all = self.0.lock().unwrap();
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.into(),
            None => all.push((name.into(), value.into())),
        }
    }

    pub fn remove(&self, name: &str) {
        self.0.lock().unwrap().retain(|(known, _)| known != name);
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub fn header(&self) -> String {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// Stores the cookies that an answer sets, and removes those that it clears.
    pub fn take_from(&self, response: &Response) {
        for line in set_cookies(response) {
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0;") { self.remove(name) } else { self.set(name, value) }
        }
    }
}

/// The `Set-Cookie` lines of an answer.
pub fn set_cookies(response: &Response) -> Vec<String> {
    response.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned()).collect()
}

/// A browser: a cookie jar, and the headers that a browser sends from the server's own pages.
#[derive(Clone)]
pub struct Browser {
    pub client: Client,
    pub origin: String,
    pub jar: Jar,
}

impl Browser {
    /// A request as a page of the server makes it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .client
            .request(method, format!("{}{path}", self.origin))
            .header("sec-fetch-site", "same-origin");
        let cookies = self.jar.header();
        if cookies.is_empty() { request } else { request.header("cookie", cookies) }
    }

    pub async fn send(&self, request: RequestBuilder) -> Response {
        let response = request.send().await.unwrap();
        self.jar.take_from(&response);
        response
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: serde_json::Value) -> Response {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn log_in(&self, name: &str) -> Response {
        let form = [("username", name), ("password", PASSWORD)];
        let response = self.send(self.request(Method::POST, "/auth/login").form(&form)).await;
        assert_eq!(response.status(), 303, "login of {name}");
        response
    }

    /// The status of a request with the session. If there is an access token, that token decides.
    pub async fn status(&self) -> u16 {
        self.get("/auth/session").await.status().as_u16()
    }

    pub async fn sid(&self) -> String {
        let who: serde_json::Value = self.get("/auth/session").await.json().await.unwrap();
        who["sid"].as_str().unwrap().to_owned()
    }
}

/// Calls `ask` repeatedly until it returns true. Returns how long that took. Fails after a minute, a limit that is reached only if
/// the event never happens: a test that requires a shorter time asserts it on the returned duration.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) -> Duration {
    let started = Instant::now();
    while !ask().await {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}
