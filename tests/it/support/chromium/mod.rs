//! Drives Chromium for tests: headless, with chromedriver and the WebDriver protocol.

mod driver;

use std::{io::Write as _, path::PathBuf};

use fantoccini::{Client, Locator, cookies::Cookie, elements::Element};
use serde_json::{Value, json};

use self::driver::{Driver, Extension};
use super::server::{PASSWORD, eventually};

const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // The pipe breaks when chromedriver dies, and then the browser ends itself.
    "--remote-debugging-pipe",
];

/// A browser with its own profile. Dropping this value ends the browser, also when a test panics.
pub struct Chromium {
    client: Client,
    origin: String,
    _driver: Driver,
}

/// Starting the browser and moving between pages.
impl Chromium {
    /// Starts a browser for the pages of `origin`. If Chromium or chromedriver is missing, prints that the test is skipped and
    /// returns `None`; with `CI=true` that is a failure.
    pub async fn start(origin: &str) -> Option<Self> {
        Self::with(origin, json!({})).await
    }

    /// The same with scripts disabled.
    pub async fn without_scripts(origin: &str) -> Option<Self> {
        Self::with(origin, json!({"profile.managed_default_content_settings.javascript": 2})).await
    }

    async fn with(origin: &str, preferences: Value) -> Option<Self> {
        let (Some(browser), Some(driver)) = (on_path("chromium"), on_path("chromedriver")) else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "chromium or its driver is missing");
            // Written directly to stderr, because the test runner hides the output of tests that pass.
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: chromium or chromedriver is missing");
            return None;
        };
        let mut driver = Driver::start(&driver);
        let profile = format!("--user-data-dir={}", driver.home().join("profile").display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        let capabilities = json!({
            "goog:chromeOptions": {"binary": browser, "args": flags, "prefs": preferences},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object") };
        let client = driver.open(capabilities).await;
        Some(Self { client, origin: origin.to_owned(), _driver: driver })
    }

    /// Opens an address: a path of the server, or a whole URL.
    pub async fn goes_to(&self, place: &str) {
        let url = if place.starts_with('/') { format!("{}{place}", self.origin) } else { place.to_owned() };
        self.client.goto(&url).await.unwrap();
    }

    pub async fn reloads(&self) {
        self.client.refresh().await.unwrap();
    }

    pub async fn goes_back(&self) {
        self.client.back().await.unwrap();
    }

    /// Replaces the text of a field.
    pub async fn types(&self, field: &str, text: &str) {
        let field = self.find(field).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Clicks the button or link with this name (its text, or its `aria-label`) and waits until the next page has loaded with its
    /// pictures. A picture on the page after a logout lets the browser forget the page before.
    pub async fn presses(&self, name: &str) {
        let left = self.find("html").await;
        let button =
            format!("//*[self::button or self::a][normalize-space()='{name}' or @aria-label='{name}']");
        self.client.find(Locator::XPath(&button)).await.unwrap().click().await.unwrap();
        eventually(name, || async { left.tag_name().await.is_err() }).await;
        let loaded = "return document.readyState === 'complete'";
        eventually(name, || async { self.client.execute(loaded, vec![]).await.is_ok_and(|yes| yes == true) })
            .await;
    }

    /// Fills in the login form of the page and submits it.
    pub async fn signs_in(&self, name: &str, password: &str) {
        self.types("#username", name).await;
        self.types("#password", password).await;
        self.presses("Sign in").await;
    }

    /// Opens the login page and signs in.
    pub async fn logs_in(&self, name: &str) {
        self.goes_to("/auth/login").await;
        self.signs_in(name, PASSWORD).await;
    }
}

/// Reading the page.
impl Chromium {
    /// The current address, without the server's origin.
    pub async fn place(&self) -> String {
        let url = self.client.current_url().await.unwrap().to_string();
        url.strip_prefix(&self.origin).unwrap_or(&url).to_owned()
    }

    /// The HTTP status of the page.
    pub async fn status(&self) -> u64 {
        let script = "return performance.getEntriesByType('navigation')[0].responseStatus";
        self.runs(script).await.as_u64().unwrap()
    }

    pub async fn title(&self) -> String {
        self.client.title().await.unwrap()
    }

    /// The first element that a CSS selector finds.
    pub async fn find(&self, selector: &str) -> Element {
        let found = self.client.find(Locator::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("{selector}: {error}"))
    }

    /// The visible text of an element.
    pub async fn reads(&self, selector: &str) -> String {
        self.find(selector).await.text().await.unwrap()
    }

    /// The current text of a field.
    pub async fn value(&self, field: &str) -> String {
        self.find(field).await.prop("value").await.unwrap().unwrap()
    }

    pub async fn counts(&self, selector: &str) -> usize {
        self.client.find_all(Locator::Css(selector)).await.unwrap().len()
    }

    pub async fn sees(&self, selector: &str) -> bool {
        self.counts(selector).await > 0
    }

    /// The id of the element that has the keyboard focus.
    pub async fn focus(&self) -> String {
        self.client.active_element().await.unwrap().attr("id").await.unwrap().unwrap_or_default()
    }
}

/// Tabs. A script in the page opens and reloads them, because WebDriver would handle one after the other.
impl Chromium {
    /// Opens `count` more tabs with a path of the server, all at once.
    pub async fn opens_tabs(&self, count: u32, path: &str) {
        let open = "window.tabs = Array.from({length: arguments[0]}, () => window.open(arguments[1]))";
        self.client.execute(open, vec![count.into(), path.into()]).await.unwrap();
        self.every_tab_is_loaded().await;
    }

    /// Reloads this tab and the tabs it has opened, all at once.
    pub async fn reloads_every_tab(&self) {
        let reload = "for (const tab of [...tabs, window]) { tab.left = true; tab.location.reload(); }";
        self.runs(reload).await;
        self.every_tab_is_loaded().await;
    }

    async fn every_tab_is_loaded(&self) {
        let here = self.client.window().await.unwrap();
        for tab in self.client.windows().await.unwrap() {
            self.client.switch_to_window(tab).await.unwrap();
            let loaded =
                "return !window.left && document.readyState == 'complete' && location.href != 'about:blank'";
            eventually("a tab loads", || async { self.runs(loaded).await == true }).await;
        }
        self.client.switch_to_window(here).await.unwrap();
    }

    /// The visible text of an element in each tab.
    pub async fn reads_in_every_tab(&self, selector: &str) -> Vec<String> {
        let here = self.client.window().await.unwrap();
        let mut texts = Vec::new();
        for tab in self.client.windows().await.unwrap() {
            self.client.switch_to_window(tab).await.unwrap();
            texts.push(self.reads(selector).await);
        }
        self.client.switch_to_window(here).await.unwrap();
        texts
    }
}

/// State that a person doesn't see.
impl Chromium {
    pub async fn cookie(&self, name: &str) -> Option<Cookie<'static>> {
        let cookies = self.client.get_all_cookies().await.unwrap();
        cookies.into_iter().find(|cookie| cookie.name() == name)
    }

    /// The number of cookies whose name begins with `prefix`.
    pub async fn counts_cookies(&self, prefix: &str) -> usize {
        let cookies = self.client.get_all_cookies().await.unwrap();
        cookies.iter().filter(|cookie| cookie.name().starts_with(prefix)).count()
    }

    pub async fn loses_cookie(&self, name: &str) {
        assert!(self.cookie(name).await.is_some(), "there is a {name} to lose");
        self.client.delete_cookie(name).await.unwrap();
        assert!(self.cookie(name).await.is_none());
    }

    /// Runs a script in the page. This works for the driver even if the page's own scripts are disabled.
    pub async fn runs(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap()
    }

    /// The warnings and errors of the console since the last call: failed loads, violated policies, script errors.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.issue("se/log", json!({"type": "browser"})).await;
        let entries = entries.as_array().unwrap().iter().filter(|entry| entry["level"] != "INFO");
        entries.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Emulates a preference for the colour scheme `light` or `dark`.
    pub async fn prefers(&self, scheme: &str) {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Emulates a phone with this screen width.
    pub async fn holds_a_phone(&self, width: u32) {
        let phone = json!({"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": true});
        self.devtools("Emulation.setDeviceMetricsOverride", phone).await;
    }

    /// Sends a command of the Chrome DevTools Protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.issue("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    async fn issue(&self, endpoint: &'static str, body: Value) -> Value {
        self.client.issue_cmd(Extension { endpoint, body }).await.unwrap()
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
