//! Runs the configuration of nginx in `docs/protecting-apps.md` in front of a server and of an app that knows nothing of Bulla.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use reqwest::{Method, RequestBuilder, Response};

use super::{block, read};
use crate::support::{
    ports::free_port,
    server::{ACCESS, Browser, REFRESH, Server, eventually},
};

/// The server, and nginx in front of it and of the app.
struct Protected {
    server: Server,
    nginx: Child,
    browser: Browser,
}

impl Drop for Protected {
    fn drop(&mut self) {
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

/// An app that answers each request with the head of the request.
fn app() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let head = head.join("\n");
            let length = head.len();
            let _ = write!(connection, "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
        }
    });
    port
}

/// The program nginx. `None` if it is missing.
fn nginx() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let program = folders.find_map(|folder| Some(folder.join("nginx")).filter(|program| program.exists()));
    if program.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nginx is missing");
        eprintln!("skipped: nginx is missing");
    }
    program
}

/// A complete configuration with the server blocks of a page. nginx writes its files into `folder`.
fn complete(blocks: &str, folder: &Path) -> String {
    let folder = folder.display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder};"));
    let temporary = temporary.join(" ");
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn; events {{}}\n\
         http {{ access_log off; {temporary}\n{blocks}\n}}"
    )
}

#[test]
fn nginx_accepts_the_configuration_of_the_operations_page() {
    let Some(nginx) = nginx() else { return };
    let page = read("docs/operations.md");
    let shown = block(&page, "nginx");
    assert!(shown.contains("listen 443 ssl;"), "{shown}");
    let folder = tempfile::tempdir().unwrap();
    let configuration = shown.replace("443 ssl", &format!("127.0.0.1:{}", free_port()));
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, complete(&configuration, folder.path())).unwrap();
    let output = Command::new(nginx).args(["-t", "-e", "stderr", "-c"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Starts all of them. `None` if nginx is missing.
async fn protected() -> Option<Protected> {
    let nginx = nginx()?;
    let (front, back) = (free_port(), free_port());
    let origin = format!("http://localhost:{front}");
    let mut server = Server::new(&[("BULLA_PUBLIC_URL", &origin), ("BULLA_TRUSTED_PROXIES", "127.0.0.1")]);
    server.start_on(&format!("127.0.0.1:{back}"));

    let page = read("docs/protecting-apps.md");
    let lines = block(&page, "nginx").lines().filter(|line| !line.trim().starts_with("ssl_certificate"));
    let configuration = lines.collect::<Vec<_>>().join("\n");
    let configuration = [
        ("listen 443 ssl;", format!("listen 127.0.0.1:{front};")),
        ("127.0.0.1:8080", format!("127.0.0.1:{back}")),
        ("127.0.0.1:3000", format!("127.0.0.1:{}", app())),
    ]
    .iter()
    .fold(configuration, |text, (from, to)| {
        assert!(text.contains(from), "the page no longer has {from}");
        text.replace(from, to)
    });
    let configuration = complete(&configuration, server.dir.path());
    std::fs::write(server.path("nginx.conf"), configuration).unwrap();
    let mut command = Command::new(nginx);
    command.args(["-e", "stderr", "-c"]).arg(server.path("nginx.conf")).stdin(Stdio::null());
    let nginx = command.spawn().unwrap();
    let browser = server.browser();
    eventually("nginx answers", async || browser.client.get(&origin).send().await.is_ok()).await;
    Some(Protected { server, nginx, browser })
}

/// A request that navigates a browser's tab.
fn navigation(browser: &Browser, path: &str) -> RequestBuilder {
    browser.request(Method::GET, path).header("sec-fetch-mode", "navigate")
}

fn location(answer: &Response) -> &str {
    answer.headers()["location"].to_str().unwrap()
}

#[tokio::test]
async fn an_app_behind_the_proxy_admits_people_until_their_session_is_revoked() {
    let Some(protected) = protected().await else { return };
    let browser = &protected.browser;
    assert_eq!(browser.get("/notes").await.status(), 401);
    browser.log_in("ada").await;
    browser.jar.set("theme", "dark");
    let answer = browser.get("/notes?a=1").await;
    assert_eq!(answer.status(), 200);
    let head = answer.text().await.unwrap();
    let (access, refresh) = (browser.jar.get(ACCESS).unwrap(), browser.jar.get(REFRESH).unwrap());
    assert!(head.starts_with("GET /notes?a=1 "), "{head}");
    assert!(head.contains(&format!("{ACCESS}={access}")) && head.contains("theme=dark"), "{head}");
    assert!(!head.contains(&refresh) && !head.contains(REFRESH), "the app gets the refresh cookie: {head}");

    let revoked = protected.server.cli(&["session", "revoke", "--user", "ada"]);
    assert!(revoked.status.success());
    eventually("the session is refused", async || browser.get("/notes").await.status() == 401).await;
}

#[tokio::test]
async fn a_navigation_is_led_through_a_renewal_or_the_login_page_and_back_to_the_app() {
    let Some(protected) = protected().await else { return };
    let browser = &protected.browser;
    let away = browser.send(navigation(browser, "/notes?a=1")).await;
    assert_eq!(away.status(), 303);
    let renewal = location(&away).strip_prefix(&browser.origin).unwrap().to_owned();
    assert_eq!(renewal, "/auth/continue?rd=/notes?a=1");
    let login = browser.send(navigation(browser, &renewal)).await;
    assert_eq!((login.status().as_u16(), location(&login)), (303, "/auth/login?rd=/notes%3Fa%3D1"));

    browser.log_in("ada").await;
    browser.jar.remove(ACCESS);
    assert_eq!(browser.send(navigation(browser, "/notes?a=1")).await.status(), 303);
    let back = browser.send(navigation(browser, &renewal)).await;
    assert_eq!((back.status().as_u16(), location(&back)), (303, "/notes?a=1"));
    assert_eq!(browser.send(navigation(browser, "/notes?a=1")).await.status(), 200);
}

#[tokio::test]
async fn a_request_caused_by_another_site_does_not_reach_the_app_behind_the_proxy() {
    let Some(protected) = protected().await else { return };
    let browser = &protected.browser;
    browser.log_in("ada").await;
    let from = |site: Option<&str>, method: Method, upgrade: bool| {
        let url = format!("{}/notes", browser.origin);
        let mut request = browser.client.request(method, url).header("cookie", browser.jar.header());
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        if upgrade { request.header("upgrade", "websocket") } else { request }
    };
    for (site, method, upgrade, expected) in [
        (Some("same-origin"), Method::POST, false, 200),
        (Some("none"), Method::DELETE, false, 200),
        (Some("same-site"), Method::POST, false, 403),
        (Some("cross-site"), Method::PUT, false, 403),
        (None, Method::POST, false, 403),
        (Some("cross-site"), Method::GET, true, 403),
        (Some("cross-site"), Method::GET, false, 200),
        (None, Method::GET, false, 200),
    ] {
        let what = format!("{site:?} {method} {upgrade}");
        let answer = from(site, method, upgrade).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{what}");
    }
}

/// The app asks the server who is signed in, as the page says.
#[tokio::test]
async fn the_app_learns_the_user_from_the_access_cookie() {
    let Some(protected) = protected().await else { return };
    let browser = &protected.browser;
    browser.log_in("ada").await;
    let cookie = format!("{ACCESS}={}", browser.jar.get(ACCESS).unwrap());
    let asked = browser.client.get(format!("{}/auth/session", browser.origin)).header("cookie", cookie);
    let who: serde_json::Value = asked.send().await.unwrap().json().await.unwrap();
    assert_eq!((&who["name"], &who["roles"]), (&"ada".into(), &serde_json::json!(["admin"])));
}
