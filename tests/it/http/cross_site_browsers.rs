//! Tests requests that another site makes a browser send (links, WebSockets, forms), and what the browser then shows.

use std::{
    fs::Permissions,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bulla::internals::{
    http::{Bulla, Site},
    session::Principal,
};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    chromium::Chromium,
    firefox::Firefox,
    other_site,
    ports::free_port,
    raw_http,
    server::{ACCESS, Browser, PASSWORD, REFRESH, Server, eventually, set_cookies},
};

/// A program that embeds Bulla, with a WebSocket and a page behind the guard.
struct Embedder {
    installation: Server,
    origin: String,
}

impl Embedder {
    async fn start() -> Self {
        let installation = Server::new(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bulla = Bulla::builder(installation.path("keys"), installation.path("bulla.db"))
            .site(Site::loopback(port, false))
            .start()
            .await
            .unwrap();
        let application = HttpServer::new(move || {
            let guarded = web::scope("").wrap(bulla.guard()).route("/ws", web::get().to(socket)).route(
                "/page",
                web::get().to(|who: Principal| async move {
                    HttpResponse::Ok().content_type("text/html").body(format!("<h1>{}</h1>", who.id()))
                }),
            );
            App::new().configure(bulla.routes()).service(guarded)
        });
        tokio::spawn(application.workers(1).disable_signals().listen(listener).unwrap().run());
        Self { installation, origin: format!("http://localhost:{port}") }
    }

    async fn ada(&self) -> Browser {
        let mut browser = self.installation.browser();
        browser.origin.clone_from(&self.origin);
        browser.log_in("ada").await;
        browser
    }

    /// The status line of the answer to a WebSocket handshake with these headers.
    fn opens(&self, headers: &str) -> String {
        let host = self.origin.strip_prefix("http://").unwrap();
        let mut connection = raw_http::Raw::connect_to(&host.replace("localhost", "127.0.0.1"));
        connection.send(format!("GET /ws HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").as_bytes());
        connection.read().lines().next().unwrap().to_owned()
    }
}

/// Sends the user's id and closes the WebSocket.
async fn socket(request: HttpRequest, body: web::Payload, who: Principal) -> actix_web::Result<HttpResponse> {
    let (response, mut session, _messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        let _ = session.text(who.id().to_owned()).await;
        let _ = session.close(None).await;
    });
    Ok(response)
}

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[actix_web::test]
async fn only_pages_of_this_site_and_bearer_tokens_open_a_websocket() {
    let embedder = Embedder::start().await;
    let ada = embedder.ada().await;
    let cookies = format!("Cookie: {}\r\n", ada.jar.header());
    let ours = format!("Origin: {}\r\n", embedder.origin);
    for (who, status) in [
        (ours.as_str(), 101),
        ("Sec-Fetch-Site: same-origin\r\n", 101),
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: http://localhost:1\r\n", 403),
        (&ours.replace("localhost", "127.0.0.1"), 403),
        ("Sec-Fetch-Site: same-site\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        (&format!("{ours}Sec-Fetch-Site: same-site\r\n"), 403),
        ("", 403),
    ] {
        let answer = embedder.opens(&format!("{HANDSHAKE}{cookies}{who}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{who:?}: {answer}");
    }
    // The refresh cookie alone is refused as well.
    let refresh = format!("Cookie: {REFRESH}={}\r\n", ada.jar.get(REFRESH).unwrap());
    let answer = embedder.opens(&format!("{HANDSHAKE}{refresh}Origin: https://evil.example\r\n"));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    // A page of another site can't send this header.
    let bearer = format!("Authorization: Bearer {}\r\n", ada.jar.get(ACCESS).unwrap());
    let answer = embedder.opens(&format!("{HANDSHAKE}{bearer}Origin: https://evil.example\r\n"));
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    // Any other protocol is refused as well, however the upgrade is requested.
    for upgrade in
        ["Upgrade: h2c\r\nConnection: Upgrade\r\n", "Upgrade: x\r\n", "Connection: keep-alive, UPGRADE\r\n"]
    {
        let answer = embedder.opens(&format!("{upgrade}{cookies}Origin: https://evil.example\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403"), "{upgrade:?}: {answer}");
    }
}

/// A script that opens a WebSocket and stores the first message, or that the WebSocket was refused.
const OPENS: &str = "window.said = 'nothing yet'; const ws = new WebSocket(URL);
                     ws.onmessage = (message) => { window.said = message.data; };
                     ws.onerror = () => { window.said = 'refused'; };";

#[actix_web::test]
async fn a_page_at_another_port_opens_no_websocket_in_chromium() {
    let embedder = Embedder::start().await;
    let Some(person) = Chromium::start(&embedder.origin).await else { return };
    let opens = OPENS.replace("URL", &format!("'{}/ws'", embedder.origin.replace("http:", "ws:")));
    let elsewhere = other_site::serves("<!doctype html><title>elsewhere</title>".into());
    // The policy of Bulla's own pages lets no script connect; the embedder's page has no policy.
    person.logs_in("ada").await;
    person.goes_to("/page").await;
    let said = async |expected: &str| {
        person.runs(&opens).await;
        let said = || async { person.runs("return window.said").await != "nothing yet" };
        eventually("the socket opens or not", said).await;
        assert_eq!(person.runs("return window.said").await, expected);
    };
    said("1").await;
    // For cookies this is the same site, so they are sent whatever `SameSite` says; but it is another origin.
    person.goes_to(&format!("http://localhost:{elsewhere}/")).await;
    said("refused").await;
    person.goes_to("/page").await;
    said("1").await;
}

#[actix_web::test]
async fn a_page_at_another_port_opens_no_websocket_in_firefox() {
    let embedder = Embedder::start().await;
    let opens = OPENS.replace("URL", &format!("'{}/ws'", embedder.origin.replace("http:", "ws:")));
    let elsewhere = other_site::serves("<!doctype html><title>elsewhere</title>".into());
    let origin = embedder.origin.clone();
    // A separate thread drives Firefox, because the server runs in this one.
    let driven = tokio::task::spawn_blocking(move || {
        let Some(mut person) = Firefox::start() else { return };
        person.logs_in(&origin, "ada");
        person.goes_to(&format!("{origin}/page"));
        person.runs(&opens);
        person.comes_to("return window.said", &json!("1"));
        person.goes_to(&format!("http://localhost:{elsewhere}/"));
        person.runs(&opens);
        person.comes_to("return window.said", &json!("refused"));
    });
    driven.await.unwrap();
}

/// Sets the last rotation of every session back by 61 seconds, so that the next renewal rotates.
fn a_minute_passes(server: &Server) {
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
}

fn generation(server: &Server) -> String {
    server.sqlite3("SELECT max(generation) FROM sessions")
}

/// The target of the link; every part of it must arrive unchanged.
const PLACE: &str = "/auth/account?from=mail&x=%2F%2Fevil.example&y=a%20b&y=%22%3E%3Cb%3E";

#[tokio::test]
async fn a_link_from_another_site_rotates_and_shows_the_page_in_chromium() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::without_scripts(&server.origin).await else { return };
    let elsewhere = other_site::links_to(&format!("{}{PLACE}#part", server.origin));
    person.logs_in("ada").await;
    let refresh = person.cookie(REFRESH).await.unwrap();
    a_minute_passes(&server);
    person.loses_cookie(ACCESS).await;
    person.goes_to(&format!("http://127.0.0.1:{elsewhere}/")).await;
    person.presses("go").await;
    eventually("the page of the link", || async { person.title().await == "ada · Bulla" }).await;
    assert_eq!((person.status().await, person.place().await), (200, PLACE.to_owned()));
    assert_eq!(generation(&server), "1");
    assert_ne!(person.cookie(REFRESH).await.unwrap().value(), refresh.value());
    assert!(person.cookie(ACCESS).await.is_some());
    person.goes_back().await;
    assert_eq!(person.title().await, "elsewhere", "the page between leaves no trace in the history");
    // With a valid access token the page is shown immediately.
    person.presses("go").await;
    assert_eq!((person.title().await.as_str(), generation(&server).as_str()), ("ada · Bulla", "1"));
}

#[tokio::test]
async fn a_link_from_another_site_without_a_session_leads_to_the_login_in_chromium() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    let elsewhere = other_site::links_to(&format!("{}{PLACE}", server.origin));
    person.logs_in("ada").await;
    server.sqlite3("DELETE FROM sessions");
    person.loses_cookie(ACCESS).await;
    person.goes_to(&format!("http://127.0.0.1:{elsewhere}/")).await;
    person.presses("go").await;
    eventually("the login", || async { person.title().await == "Sign in · Bulla" }).await;
    assert_eq!((person.status().await, person.place().await.as_str()), (401, PLACE));
    person.signs_in("ada", PASSWORD).await;
    assert_eq!((person.title().await.as_str(), person.place().await.as_str()), ("ada · Bulla", PLACE));
}

#[tokio::test]
async fn a_link_from_another_site_rotates_and_shows_the_page_in_firefox() {
    let server = Server::started(&[]);
    let Some(mut person) = Firefox::start() else { return };
    let elsewhere = other_site::links_to(&format!("{}{PLACE}#part", server.origin));
    person.logs_in(&server.origin, "ada");
    a_minute_passes(&server);
    person.loses_cookie(ACCESS);
    person.goes_to(&format!("http://127.0.0.1:{elsewhere}/"));
    person.clicks("a");
    person.comes_to("return document.title", &json!("ada · Bulla"));
    assert_eq!(person.place(), format!("{}{PLACE}", server.origin));
    assert_eq!(generation(&server), "1");
}

/// A request that another site makes a browser send: with a browser's `Accept` and without an access token.
async fn foreign(ada: &Browser, method: Method, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let request = ada.client.request(method, format!("{}{path}", ada.origin));
    let request = request.header("cookie", format!("{REFRESH}={}", ada.jar.get(REFRESH).unwrap()));
    let request = request.header("sec-fetch-site", "cross-site").header("accept", "text/html,*/*;q=0.8");
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

const NAVIGATES: [(&str, &str); 2] = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];

#[tokio::test]
async fn a_request_caused_by_another_site_never_uses_the_refresh_token() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    a_minute_passes(&server);
    for path in [
        "/auth/session",
        "/auth/account",
        "/auth/sessions",
        "/admin/users",
        "/auth/continue?rd=/auth/session",
    ] {
        let page = foreign(&ada, Method::GET, path, &NAVIGATES).await;
        assert_eq!((page.status().as_u16(), set_cookies(&page).len()), (200, 0), "{path}");
        assert_eq!(page.headers()["cache-control"], "no-store");
        let head = foreign(&ada, Method::HEAD, path, &NAVIGATES).await;
        assert_eq!((head.status(), head.headers().get("refresh")), (page.status(), None), "{path}");
        let page = page.text().await.unwrap();
        let again = format!(r#"<meta http-equiv="refresh" content="0;url={path}">"#);
        assert!(page.contains(&again) && page.contains(&format!(r#"<a href="{path}">"#)), "{page}");
        assert!(!page.contains("ada"), "{page}");
        for headers in [
            &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")][..],
            &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")],
            &[("sec-fetch-mode", "cors")],
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        ] {
            let refused = foreign(&ada, Method::GET, path, headers).await;
            assert_eq!(
                (refused.status().as_u16(), set_cookies(&refused).len()),
                (401, 0),
                "{path} {headers:?}"
            );
            assert!(!refused.text().await.unwrap().contains("refresh\""));
        }
    }
    assert_eq!(foreign(&ada, Method::POST, "/auth/refresh", &NAVIGATES).await.status(), 403);
    assert_eq!(generation(&server), "0");
    assert_eq!(server.sqlite3("SELECT count(*) FROM audit WHERE event LIKE 'refresh.%'"), "0");

    // A page of the same site is not another site, so its request rotates.
    let same_site =
        ada.client.get(format!("{}/auth/session", ada.origin)).header("sec-fetch-site", "same-site");
    let same_site = same_site.header("cookie", format!("{REFRESH}={}", ada.jar.get(REFRESH).unwrap()));
    let served = same_site.send().await.unwrap();
    assert_eq!(
        (served.status().as_u16(), set_cookies(&served).len(), generation(&server)),
        (200, 2, "1".into())
    );
}

#[tokio::test]
async fn a_browser_that_always_reports_cross_site_is_not_redirected_forever() {
    let server = Server::started(&[]);
    let ada = server.ada().await;
    let itself = format!("{}{PLACE}", server.origin);
    let [mode, dest] = NAVIGATES;
    let again = foreign(&ada, Method::GET, PLACE, &[mode, dest, ("referer", &itself)]).await;
    assert_eq!(again.status(), 401);
    let page = again.text().await.unwrap();
    assert!(page.contains("Sign in") && !page.contains("http-equiv"), "{page}");
}

#[actix_web::test]
async fn pages_of_an_embedding_program_renew_after_a_link_from_another_site() {
    let embedder = Embedder::start().await;
    let ada = embedder.ada().await;
    a_minute_passes(&embedder.installation);
    let page = foreign(&ada, Method::GET, "/page?a=b", &NAVIGATES).await;
    assert_eq!((page.status().as_u16(), set_cookies(&page).len()), (200, 0));
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(page.text().await.unwrap().contains("http-equiv=\"refresh\""));
    assert_eq!(foreign(&ada, Method::GET, "/page?a=b", &[("sec-fetch-mode", "no-cors")]).await.status(), 401);
    ada.jar.remove(ACCESS);
    assert_eq!(ada.get("/page?a=b").await.status(), 200);
    assert_eq!(generation(&embedder.installation), "1");
}

/// A provider at a port where nothing listens.
const PROVIDER: &str = "\n[provider.keycloak]\nclient_id = 'x'\nclient_secret_file = 'secret'\n\
                        issuer = 'https://127.0.0.1:1/realms/main'\n";

/// nginx in front of a server. It removes the headers that say where a request comes from.
struct Stripping {
    server: Server,
    nginx: std::process::Child,
    _dir: tempfile::TempDir,
}

impl Stripping {
    fn start() -> Option<Self> {
        let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
        let Some(nginx) = nginx.iter().find(|path| std::path::Path::new(path).is_file()) else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nginx is missing");
            eprintln!("SKIPPED: nginx is missing");
            return None;
        };
        let [port, own] = [(); 2].map(|()| free_port());
        let public = format!("http://localhost:{port}");
        let mut server = Server::new(&[("BULLA_PUBLIC_URL", &public)]);
        let mut settings = std::fs::read_to_string(server.path("bulla.toml")).unwrap();
        settings.push_str(PROVIDER);
        std::fs::write(server.path("bulla.toml"), settings).unwrap();
        std::fs::write(server.path("secret"), "shared").unwrap();
        std::fs::set_permissions(server.path("secret"), Permissions::from_mode(0o600)).unwrap();
        let to = format!("127.0.0.1:{own}");
        server.start_on(&to);
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().display();
        let stripped: String = ["Site", "Mode", "Dest", "User"]
            .map(|what| format!("proxy_set_header Sec-Fetch-{what} \"\";\n"))
            .concat();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {home}/{what};\n"))
            .concat();
        let config = format!(
            "daemon off; pid {home}/pid; error_log stderr warn; events {{}}
             http {{ access_log off; {temporary}
               server {{ listen 127.0.0.1:{port}; location / {{
                 proxy_pass http://{to}; proxy_set_header Host $http_host; proxy_buffer_size 16k; proxy_buffers 8 16k;
                 {stripped} }} }} }}"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let mut command = Command::new(nginx);
        command.args(["-e", "stderr", "-c"]).arg(dir.path().join("nginx.conf"));
        let nginx = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Self { server, nginx, _dir: dir })
    }

    async fn is_there(&self) {
        let client = reqwest::Client::new();
        let asked = format!("{}/auth/login", self.server.origin);
        eventually("nginx serves", || async {
            client.get(&asked).send().await.is_ok_and(|a| a.status() == 200)
        })
        .await;
    }
}

impl Drop for Stripping {
    fn drop(&mut self) {
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

#[tokio::test]
async fn forms_work_behind_a_proxy_that_removes_origin_headers() {
    let Some(stripping) = Stripping::start() else { return };
    stripping.is_there().await;
    let server = &stripping.server;
    server.sqlite3(
        "INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', 'ada', '1')",
    );
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.goes_to("/auth/account").await;
    person.signs_in("ada", "wrong").await;
    assert_eq!(person.reads(".error").await, "Name or password is wrong.");
    person.signs_in("ada", PASSWORD).await;
    assert_eq!((person.status().await, person.reads("h1").await.as_str()), (200, "ada"));
    person.presses("Unlink ada at https://id.example").await;
    assert_eq!(person.status().await, 200);
    assert_eq!(server.sqlite3("SELECT count(*) FROM identities"), "0");
    // The provider can't be reached, but the form was accepted.
    person.presses("Link Keycloak").await;
    assert_eq!(
        (person.status().await, person.reads("h1").await.as_str()),
        (503, "Not available at the moment")
    );
    let other = server.browser();
    other.log_in("ada").await;
    person.goes_to("/auth/account").await;
    person.presses("End the session of Unknown device").await;
    assert_eq!((person.status().await, person.counts(".devices li").await), (200, 1));
    person.types("#current", PASSWORD).await;
    person.types("#new", "a new good one").await;
    person.presses("Change the password").await;
    assert!(person.reads(".done").await.contains("Your password was changed"));
    for button in ["Sign out", "Sign out everywhere"] {
        person.presses(button).await;
        assert_eq!(person.place().await, "/auth/login?signed-out");
        person.signs_in("ada", "a new good one").await;
        assert_eq!(person.reads("h1").await, "ada");
    }
    // A form that is not on a page of the server sends the origin `null` or another one. It is refused with a page.
    person
        .goes_to(&format!(
            "data:text/html,<form method=post action='{}/auth/logout'><button>go</button></form>",
            server.origin
        ))
        .await;
    person.presses("go").await;
    assert_eq!((person.status().await, person.reads("h1").await.as_str()), (403, "This form was refused"));
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "1");
}

#[tokio::test]
async fn a_refusal_is_a_page_for_navigations_and_json_for_programs() {
    let server = Server::started(&[]);
    let long = "x".repeat(40 << 10);
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (status, method, path, headers, body) in [
        (421, Method::GET, "/auth/login", [("host", "evil.example"), ("x-a", "")], String::new()),
        (421, Method::GET, "/health", [("host", "evil.example"), ("x-a", "")], String::new()),
        (431, Method::GET, "/auth/login", [("x-long", long.as_str()), ("x-a", "")], String::new()),
        (403, Method::POST, "/auth/login", [("origin", "null"), form], "username=ada&password=x".into()),
        (403, Method::POST, "/auth/logout", [("sec-fetch-site", "cross-site"), form], "x=y".into()),
        (400, Method::GET, "/auth/login?rd=a&rd=b", [("x-a", ""), ("x-b", "")], String::new()),
        (400, Method::GET, "/auth/session", [("authorization", "x"), ("x-b", "")], String::new()),
        (400, Method::POST, "/auth/login", [("sec-fetch-site", "same-origin"), form], "x=y".into()),
        (400, Method::GET, "/oauth/authorize?response_type=code", [("x-a", ""), ("x-b", "")], String::new()),
        (404, Method::GET, "/nothing", [("x-a", ""), ("x-b", "")], String::new()),
        (405, Method::GET, "/auth/logout", [("x-a", ""), ("x-b", "")], String::new()),
        (405, Method::POST, "/", [("sec-fetch-site", "same-origin"), form], String::new()),
        (413, Method::POST, "/auth/login", [("sec-fetch-site", "same-origin"), form], "x=".repeat(50_000)),
        (
            415,
            Method::POST,
            "/auth/login",
            [("sec-fetch-site", "same-origin"), ("content-type", "text/plain")],
            "username=ada".into(),
        ),
    ] {
        for (mode, html) in [(Some("navigate"), true), (None, true), (Some("cors"), false)] {
            let request = server.browser().client.request(method.clone(), format!("{}{path}", server.origin));
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let request = request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
            let request =
                mode.into_iter().fold(request, |request, mode| request.header("sec-fetch-mode", mode));
            let answer = request.body(body.clone()).send().await.unwrap();
            let what = format!("{status} {method} {path} {mode:?}");
            assert_eq!(answer.status(), status, "{what}");
            let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
            let text = answer.text().await.unwrap();
            // For a program, the answer to a malformed OAuth authorization request has the form that the RFC defines.
            assert_eq!(kind.starts_with("text/html"), html, "{what}: {kind} {text}");
            assert!(!html || text.contains(&format!("Error {status}")), "{what}: {text}");
        }
    }
    let request = server.browser().client.get(format!("{}/auth/login", server.origin));
    let request = request.header("host", "evil.example").header("accept", "text/html");
    let page = request.send().await.unwrap().text().await.unwrap();
    assert!(page.contains(&format!("<a href=\"{0}\">Go to {0}</a>", server.origin)), "{page}");
}
