//! The programs of `docs/protect-any-app.md`, in their languages behind a real gateway: each names the user, and refuses a request
//! without a user or with a forged token.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method};

use super::{ada, configured};
use crate::support::{ports::free_port, proxies::program, server::Server};

/// The port at which the programs of the page listen.
const PORT: &str = "3000";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The only program of the page in this language that contains `part`.
fn sample(language: &str, part: &str) -> String {
    let page = fs::read_to_string(root().join("docs/protect-any-app.md")).unwrap();
    let fence = format!("\n```{language}\n");
    let blocks = page.split(&fence).skip(1);
    let mut found = blocks.map(|rest| rest.split("\n```").next().unwrap()).filter(|it| it.contains(part));
    let sample = found.next().unwrap_or_else(|| panic!("the page has no {language} with {part}"));
    assert!(found.next().is_none(), "the page has two {language} with {part}");
    assert!(sample.contains("127.0.0.1") || !["python", "js", "go"].contains(&language));
    format!("{sample}\n")
}

/// A program of the page that runs in a folder of its own.
struct Sample {
    url: String,
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Drop for Sample {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Sample {
    /// Writes a program of the page to the file `name`, with a free port.
    fn written(name: &str, text: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        fs::write(folder.path().join(name), text.replace(PORT, &port.to_string())).unwrap();
        Self { url: format!("http://127.0.0.1:{port}"), folder, port, process: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command in the folder of the program.
    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Builds a Go program.
    fn build(&self, go: &Path) {
        let client = root().join("clients/go");
        let module = format!(
            "module sample\n\ngo 1.19\n\nrequire github.com/bulla-sessions/bulla/clients/go v0.0.0\n\n\
             replace github.com/bulla-sessions/bulla/clients/go => {}\n",
            client.display()
        );
        fs::write(self.path("go.mod"), module).unwrap();
        let built = self.command(go, &["build", "-o", "sample", "."]).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }

    /// Runs the command, and waits until the program listens.
    async fn listens(&mut self, mut command: Command) {
        let log = fs::File::create(self.path("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = self.process.insert(command.spawn().unwrap());
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let runs = process.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(60);
            assert!(runs, "{}", fs::read_to_string(self.folder.path().join("log")).unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The answer to a request that reaches the program without the gateway.
    async fn directly(&self, headers: &[(&str, &str)]) -> (u16, String) {
        let request = Client::new().get(&self.url);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The gateway in front of the program.
    fn gateway(&self) -> Server {
        configured(&format!("[[upstream]]\nurl = '{}'\naudience = 'reports'\n", self.url))
    }

    /// What the program answers to Ada, whose request has forged headers.
    async fn answers_ada(&self, server: &Server) -> String {
        let (browser, _) = ada(server).await;
        let mut request = browser.request(Method::GET, "/any");
        for name in ["remote-user", "Remote_User", "remote-groups", "bulla-token"] {
            request = request.header(name, "evil");
        }
        let answer = browser.send(request).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        let log = fs::read_to_string(self.path("log")).unwrap();
        assert_eq!(status, 200, "{text}{log}");
        text
    }

    /// Checks a program that reads the identity headers.
    async fn reads_the_headers(&self) {
        let server = self.gateway();
        server.sqlite3(r#"UPDATE users SET roles = '["a,b%","ä"]' WHERE name = 'ada'"#);
        let text = self.answers_ada(&server).await;
        assert!(text.starts_with("user 1, roles a,b%") && text.trim_end().ends_with('ä'), "{text}");
        for headers in [&[][..], &[("remote-user", "")]] {
            assert_eq!(self.directly(headers).await.0, 403);
        }
    }

    /// Checks a program that opens `Bulla-Token`. Its keys must be in `reports.keys.json` before it starts.
    async fn opens_the_token(&self, server: &Server) {
        let text = self.answers_ada(server).await;
        assert!(text.starts_with("user 1, roles") && text.contains("admin"), "{text}");
        let sealed = |audience: &str| {
            let sealed = server.cli(&["token", "seal", "--audience", audience, r#"{"id":"7","sid":"x"}"#]);
            assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
            String::from_utf8(sealed.stdout).unwrap().trim().to_owned()
        };
        let (genuine, foreign) = (sealed("reports"), sealed("billing"));
        let (status, text) = self.directly(&[("bulla-token", &genuine)]).await;
        assert_eq!(status, 200);
        assert!(text.starts_with("user 7"), "{text}");
        let end = if genuine.ends_with('A') { "B" } else { "A" };
        let changed = format!("{}{end}", &genuine[..genuine.len() - 1]);
        for forged in [foreign.as_str(), &changed, "evil", ""] {
            let headers = [("bulla-token", forged), ("remote-user", "1")];
            assert_eq!(self.directly(&headers).await.0, 401, "{forged}");
        }
        assert_eq!(self.directly(&[("remote-user", "1")]).await.0, 401);
    }

    /// Exports the keys into the folder of the program.
    fn export_keys(&self, server: &Server) {
        let out = self.path("reports.keys.json");
        let exported =
            server.cli(&["keys", "export", "--audience", "reports", "--out", out.to_str().unwrap()]);
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    }
}

#[tokio::test]
async fn the_php_program_names_the_user() {
    let Some(php) = program("php") else { return };
    let mut sample = Sample::written("app.php", &sample("php", "HTTP_REMOTE_USER"));
    let address = format!("127.0.0.1:{}", sample.port);
    sample.listens(sample.command(&php, &["-S", &address, "app.php"])).await;
    sample.reads_the_headers().await;
}

#[tokio::test]
async fn the_python_program_names_the_user() {
    let Some(python) = program("python3") else { return };
    let mut sample = Sample::written("app.py", &sample("python", "HTTP_REMOTE_USER"));
    sample.listens(sample.command(&python, &["app.py"])).await;
    sample.reads_the_headers().await;
}

#[tokio::test]
async fn the_ruby_program_names_the_user() {
    let Some(puma) = program("puma") else { return };
    let mut sample = Sample::written("config.ru", &sample("ruby", "HTTP_REMOTE_USER"));
    let address = format!("tcp://127.0.0.1:{}", sample.port);
    sample.listens(sample.command(&puma, &["--bind", &address])).await;
    sample.reads_the_headers().await;
}

#[tokio::test]
async fn the_node_program_names_the_user() {
    let Some(node) = program("node") else { return };
    let mut sample = Sample::written("app.mjs", &sample("js", "remote-user"));
    sample.listens(sample.command(&node, &["app.mjs"])).await;
    sample.reads_the_headers().await;
}

#[tokio::test]
async fn the_go_program_names_the_user() {
    let Some(go) = program("go") else { return };
    let mut sample = Sample::written("main.go", &sample("go", "Remote-User"));
    sample.build(&go);
    sample.listens(sample.command(&sample.path("sample"), &[])).await;
    sample.reads_the_headers().await;
}

#[tokio::test]
async fn the_python_program_with_a_token_names_the_user_and_refuses_a_forged_one() {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients/python/bin/python");
    let mut check = Command::new(&python);
    if !check.args(["-c", "import cryptography"]).output().is_ok_and(|output| output.status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "the Python of the clients is missing");
        eprintln!("skipped: the Python of the clients is missing (scripts/test installs it)");
        return;
    }
    let mut sample = Sample::written("app.py", &sample("python", "HTTP_BULLA_TOKEN"));
    let server = sample.gateway();
    sample.export_keys(&server);
    let mut command = sample.command(&python, &["app.py"]);
    command.env("PYTHONPATH", root().join("clients/python/src"));
    sample.listens(command).await;
    sample.opens_the_token(&server).await;
}

#[tokio::test]
async fn the_node_program_with_a_token_names_the_user_and_refuses_a_forged_one() {
    let Some(node) = program("node") else { return };
    let mut sample = Sample::written("app.mjs", &sample("js", "bulla-token"));
    let server = sample.gateway();
    sample.export_keys(&server);
    fs::create_dir(sample.path("node_modules")).unwrap();
    let package = sample.path("node_modules").join("bulla-sessions");
    std::os::unix::fs::symlink(root().join("clients/javascript"), package).unwrap();
    sample.listens(sample.command(&node, &["app.mjs"])).await;
    sample.opens_the_token(&server).await;
}

#[tokio::test]
async fn the_go_program_with_a_token_names_the_user_and_refuses_a_forged_one() {
    let Some(go) = program("go") else { return };
    let mut sample = Sample::written("main.go", &sample("go", "Bulla-Token"));
    let server = sample.gateway();
    sample.export_keys(&server);
    sample.build(&go);
    sample.listens(sample.command(&sample.path("sample"), &[])).await;
    sample.opens_the_token(&server).await;
}
