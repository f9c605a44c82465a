//! Real reverse proxies with the configurations of `contrib/`, in front of a server and an app. TLS is left out, and addresses are
//! replaced.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{
    ports::free_port,
    server::{Server, eventually},
};

/// A proxy that runs in front of a server and an app.
pub struct Proxy {
    pub server: Server,
    /// The address of the proxy, which is the public address of the server.
    pub origin: String,
    process: Child,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The proxies of `contrib/` that Debian has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
    HAProxy,
}

pub const KINDS: [Kind; 3] = [Kind::Nginx, Kind::Caddy, Kind::HAProxy];

/// The path of an installed program. `None` if it is missing.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let program = folders.find_map(|folder| Some(folder.join(name)).filter(|program| program.exists()));
    if program.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{name} is missing");
        eprintln!("skipped: {name} is missing");
    }
    program
}

/// A complete configuration of nginx with these server blocks. nginx writes its files into `folder`.
pub fn nginx_configuration(blocks: &str, folder: &Path) -> String {
    let folder = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.iter().map(|name| format!("{name}_temp_path {folder}; ")).collect();
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn; events {{}}\n\
         http {{ access_log off; {temporary}\n{blocks}\n}}"
    )
}

/// A file of `contrib/` with replacements, each of which must occur.
fn adapted(name: &str, replacements: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    replacements.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "contrib/{name} no longer has {from}");
        text.replace(from, to)
    })
}

impl Proxy {
    /// Starts a proxy in front of the app at `app` (`http://HOST:PORT`). `query` is appended to the address of Bulla's check. `None`
    /// if the proxy is not installed.
    pub async fn start(kind: Kind, app: &str, query: &str) -> Option<Self> {
        let name = format!("{kind:?}").to_lowercase();
        let program = program(&name)?;
        let (front, back) = (free_port(), free_port());
        let origin = format!("http://localhost:{front}");
        let mut server =
            Server::new(&[("BULLA_PUBLIC_URL", &origin), ("BULLA_TRUSTED_PROXIES", "127.0.0.1")]);
        server.start_on(&format!("127.0.0.1:{back}"));
        let app = app.strip_prefix("http://").unwrap();
        let folder = server.dir.path();
        let addresses = [("127.0.0.1:8080", format!("127.0.0.1:{back}")), ("127.0.0.1:3000", app.to_owned())];
        let mut command = Command::new(program);
        match kind {
            Kind::Nginx => {
                let mut replacements = addresses.to_vec();
                replacements.extend([
                    ("listen 443 ssl;", format!("listen 127.0.0.1:{front};")),
                    ("    ssl_certificate fullchain.pem;\n    ssl_certificate_key key.pem;\n", String::new()),
                    ("app.example.org", "localhost".to_owned()),
                    ("/auth/verify;", format!("/auth/verify{query};")),
                ]);
                let blocks = adapted("nginx.conf", &replacements);
                let configuration = nginx_configuration(&blocks, folder);
                std::fs::write(folder.join("nginx.conf"), configuration).unwrap();
                command.args(["-e", "stderr", "-c"]).arg(folder.join("nginx.conf"));
            }
            Kind::Caddy => {
                let mut replacements = addresses.to_vec();
                let query = if query.is_empty() { "?" } else { query };
                replacements.extend([
                    ("app.example.org {", format!("http://localhost:{front} {{")),
                    ("/auth/verify/redirect?\n", format!("/auth/verify/redirect{query}\n")),
                ]);
                let site = adapted("Caddyfile", &replacements);
                let configuration = format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}");
                std::fs::write(folder.join("Caddyfile"), configuration).unwrap();
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
                command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
            }
            Kind::HAProxy => {
                let mut replacements = addresses.to_vec();
                replacements.extend([
                    ("bind :443 ssl crt app.example.org.pem", format!("bind 127.0.0.1:{front}")),
                    ("X-Forwarded-Proto https", "X-Forwarded-Proto http".to_owned()),
                    ("/auth/verify/redirect unless", format!("/auth/verify/redirect{query} unless")),
                ]);
                std::fs::write(folder.join("haproxy.cfg"), adapted("haproxy.cfg", &replacements)).unwrap();
                std::fs::write(folder.join("bulla.lua"), adapted("bulla.lua", &[])).unwrap();
                command.args(["-db", "-f"]).arg(folder.join("haproxy.cfg"));
            }
        }
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        let process =
            command.stderr(std::fs::File::create(folder.join("proxy.log")).unwrap()).spawn().unwrap();
        let client = server.browser().client;
        eventually("the proxy answers", async || client.get(&origin).send().await.is_ok()).await;
        Some(Self { server, origin, process })
    }

    /// The log of the proxy.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.server.path("proxy.log")).unwrap_or_default()
    }

    /// Host and port of the proxy.
    pub fn address(&self) -> String {
        self.origin.strip_prefix("http://").unwrap().to_owned()
    }
}
