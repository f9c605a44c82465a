//! Drives Firefox for tests: headless, with its own remote protocol (Marionette), which needs no driver program.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::server::PASSWORD;

/// Prevents requests that Firefox makes by itself, and lets Marionette listen on a free port.
const PREFERENCES: &str = r#"
user_pref("marionette.port", 0);
user_pref("app.update.disabledForTesting", true);
user_pref("app.normandy.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.safebrowsing.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,none");
user_pref("signon.rememberSignons", false);
"#;

/// A browser with its own profile. Dropping this value ends the browser, also when a test panics.
pub struct Firefox {
    connection: BufReader<TcpStream>,
    commands: u64,
    process: Child,
    _home: tempfile::TempDir,
}

impl Firefox {
    /// Starts Firefox. If it is missing, prints that the test is skipped and returns `None`; with `CI=true` that is a failure.
    pub fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let programs = ["firefox-esr", "firefox"];
        let found =
            programs.iter().find_map(|name| folders.iter().map(|f| f.join(name)).find(|p| p.is_file()));
        let Some(program) = found else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "firefox-esr is missing");
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: firefox-esr is missing");
            return None;
        };
        let home = tempfile::tempdir().unwrap();
        let profile = home.path().join("profile");
        std::fs::create_dir(&profile).unwrap();
        std::fs::write(profile.join("user.js"), PREFERENCES).unwrap();
        let mut command = Command::new(program);
        command.args(["--headless", "--no-remote", "--marionette", "--profile"]).arg(&profile);
        command.env("HOME", home.path()).env("TMPDIR", home.path()).env("MOZ_CRASHREPORTER_DISABLE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let port = profile.join("MarionetteActivePort");
        let connection = within(Duration::from_secs(120), "Firefox starts", || {
            assert!(process.try_wait().unwrap().is_none(), "Firefox has ended");
            let port: u16 = std::fs::read_to_string(&port).ok()?.trim().parse().ok()?;
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        connection.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let mut firefox = Self { connection: BufReader::new(connection), commands: 0, process, _home: home };
        firefox.reads();
        firefox.asks("WebDriver:NewSession", json!({}));
        Some(firefox)
    }

    /// Reads a message: its length, a colon, JSON.
    fn reads(&mut self) -> Value {
        let mut length = Vec::new();
        self.connection.read_until(b':', &mut length).unwrap();
        let length = String::from_utf8(length).unwrap().trim_end_matches(':').parse().unwrap();
        let mut message = vec![0; length];
        self.connection.read_exact(&mut message).unwrap();
        serde_json::from_slice(&message).unwrap()
    }

    fn asks(&mut self, command: &str, parameters: Value) -> Value {
        self.tries(command, parameters).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    fn tries(&mut self, command: &str, parameters: Value) -> Result<Value, Value> {
        self.commands += 1;
        let message = json!([0, self.commands, command, parameters]).to_string();
        write!(self.connection.get_mut(), "{}:{message}", message.len()).unwrap();
        let mut answer = self.reads();
        assert_eq!(answer[1], self.commands);
        if answer[2].is_null() { Ok(answer[3].take()) } else { Err(answer[2].take()) }
    }

    pub fn goes_to(&mut self, url: &str) {
        self.asks("WebDriver:Navigate", json!({"url": url}));
    }

    pub fn place(&mut self) -> String {
        self.asks("WebDriver:GetCurrentURL", json!({}))["value"].as_str().unwrap().to_owned()
    }

    /// The value that a script returns; `None` while the browser moves to another page.
    pub fn runs(&mut self, script: &str) -> Option<Value> {
        let parameters = json!({"script": script, "args": []});
        self.tries("WebDriver:ExecuteScript", parameters).ok().map(|mut answer| answer["value"].take())
    }

    /// Runs a script until it returns `expected`; fails after a minute.
    pub fn comes_to(&mut self, script: &str, expected: &Value) {
        let mut last = None;
        let started = Instant::now();
        while last.as_ref() != Some(expected) {
            let late = started.elapsed() > Duration::from_secs(60);
            assert!(!late, "{script}: {last:?} at {}, expected {expected}", self.place());
            last = self.runs(script);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn clicks(&mut self, selector: &str) {
        let element = self.finds(selector);
        self.asks("WebDriver:ElementClick", json!({"id": element}));
    }

    fn types(&mut self, selector: &str, text: &str) {
        let element = self.finds(selector);
        self.asks("WebDriver:ElementSendKeys", json!({"id": element, "text": text}));
    }

    fn finds(&mut self, selector: &str) -> String {
        let found = self.asks("WebDriver:FindElement", json!({"using": "css selector", "value": selector}));
        found["value"].as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    pub fn logs_in(&mut self, origin: &str, name: &str) {
        self.goes_to(&format!("{origin}/auth/login"));
        self.types("#username", name);
        self.types("#password", PASSWORD);
        self.clicks("button.primary");
        self.comes_to("return document.querySelector('h1').innerText", &json!(name));
    }

    pub fn loses_cookie(&mut self, name: &str) {
        self.asks("WebDriver:DeleteCookie", json!({"name": name}));
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        // Firefox is asked to quit first, so that its child processes end with it and its files can be removed.
        let _ = self.tries("Marionette:Quit", json!({"flags": ["eForceQuit"]}));
        let asked = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
