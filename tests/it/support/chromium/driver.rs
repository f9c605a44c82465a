//! The chromedriver process, which ends together with its browser.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{
    Client, ClientBuilder,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::Value;

/// The chromedriver process, on its own port.
pub(super) struct Driver {
    process: Child,
    port: u16,
    /// Only the first lines are read. The pipe stays open, because chromedriver must not fail when it writes.
    _output: BufReader<ChildStdout>,
    /// The process id of the browser, once it runs.
    browser: Option<u64>,
    home: tempfile::TempDir,
}

impl Driver {
    pub(super) fn start(program: &Path) -> Self {
        // chromedriver takes one free port for both IPv4 and IPv6. On the second of them another test may take the port first.
        let started = (0..10).find_map(|_| Self::try_start(program));
        started.expect("chromedriver starts")
    }

    fn try_start(program: &Path) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        // A killed browser leaves temporary files; they are deleted together with this folder.
        command.arg("--port=0").env("HOME", home.path()).env("TMPDIR", home.path()).stdin(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            if output.read_line(&mut line).unwrap() == 0 {
                process.wait().unwrap();
                return None;
            }
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end().trim_end_matches('.').parse().unwrap();
            }
        };
        Some(Self { process, port, _output: output, browser: None, home })
    }

    /// A folder for the browser's files.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts the browser.
    pub(super) async fn open(&mut self, capabilities: Capabilities) -> Client {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let driver = format!("http://127.0.0.1:{}", self.port);
        let client = builder.capabilities(capabilities).connect(&driver).await.unwrap();
        self.browser = client.capabilities().and_then(|its| its.get("goog:processID")?.as_u64());
        client
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // The browser's files can be removed only after its end. A process that has ended but was not waited for (a zombie) has
        // an empty command line.
        let alive = |id| {
            std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|command_line| !command_line.is_empty())
        };
        let asked = Instant::now();
        while self.browser.is_some_and(alive) && asked.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A chromedriver command outside the WebDriver standard.
#[derive(Debug)]
pub(super) struct Extension {
    pub(super) endpoint: &'static str,
    pub(super) body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(
        &self,
        base: &reqwest::Url,
        session: Option<&str>,
    ) -> Result<reqwest::Url, <reqwest::Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.endpoint))
    }

    fn method_and_body(&self, _: &reqwest::Url) -> (reqwest::Method, Option<String>) {
        (reqwest::Method::POST, Some(self.body.to_string()))
    }
}
