//! The ways to an app: hosts, Unix sockets, TLS with an own authority, and connections that are kept.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
};

use super::{ada, before, configured};
use crate::support::{
    app::RecordingApp,
    ports::free_port,
    raw_http::Raw,
    server::{Server, eventually},
    tls::certificate,
};

#[tokio::test]
async fn each_host_has_its_apps_and_its_own_login() {
    let (one, two) = (RecordingApp::start(), RecordingApp::start());
    let server = configured(&format!(
        "[[upstream]]\nurl = '{}'\nhost = 'one.example'\n[[upstream]]\nurl = '{}'\nhost = 'Two.example'\nhost_header = 'upstream'\n",
        one.url, two.url
    ));
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    let (_, cookies) = ada(&server).await;
    let status = |host: &str| {
        let mut raw = Raw::connect(&server);
        raw.send(
            format!("GET /a HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        );
        raw.read_to_end().split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status(&format!("one.example:{port}")), "200");
    assert_eq!(one.last().value("host").unwrap(), format!("one.example:{port}"));
    assert_eq!(one.last().value("x-forwarded-host").unwrap(), format!("one.example:{port}"));
    assert_eq!(status(&format!("TWO.example:{port}")), "200");
    assert_eq!(format!("http://{}", two.last().value("host").unwrap()), two.url);
    assert_eq!(two.last().value("x-forwarded-host").unwrap(), format!("two.example:{port}"));
    assert_eq!(status(&format!("localhost:{port}")), "404");
    assert_eq!(status(&format!("three.example:{port}")), "421");
    assert_eq!((one.received().len(), two.received().len()), (1, 1));
}

#[tokio::test]
async fn an_app_listens_on_a_unix_socket() {
    let mut server = Server::new(&[]);
    let socket = server.path("app.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix");
        }
    });
    server.set("BULLA_UPSTREAM", format!("unix:{}", socket.display()));
    server.start();
    let (browser, _) = ada(&server).await;
    assert_eq!(browser.get("/a").await.text().await.unwrap(), "unix");
}

/// A server that speaks TLS with a certificate of an authority of its own, `ca.pem` in this folder.
fn tls_app(folder: &Path) -> (String, std::process::Child) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        let made = command.args(arguments.split(' ')).current_dir(folder).output();
        let made = made.expect("openssl is installed by scripts/test");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2";
    openssl(&format!("req -x509 {key} -subj /CN=authority -out ca.pem -keyout ca.key"));
    openssl(&format!(
        "req -x509 {key} -CA ca.pem -CAkey ca.key -subj /CN=localhost -addext subjectAltName=DNS:localhost \
         -addext basicConstraints=critical,CA:FALSE -out cert.pem -keyout key.pem"
    ));
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args([
        "s_server",
        "-quiet",
        "-www",
        "-cert",
        "cert.pem",
        "-key",
        "key.pem",
        "-accept",
        &port.to_string(),
    ]);
    let process =
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    (format!("https://localhost:{port}"), process.spawn().unwrap())
}

#[tokio::test]
async fn an_app_with_tls_is_trusted_only_by_the_authority_of_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let (url, mut app) = tls_app(folder.path());
    let with_authority =
        |ca: &Path| configured(&format!("[[upstream]]\nurl = '{url}'\nca = '{}'", ca.display()));
    let trusted = with_authority(&folder.path().join("ca.pem"));
    let (browser, _) = ada(&trusted).await;
    eventually("the app answers", async || browser.get("/").await.status() == 200).await;
    let other = tempfile::tempdir().unwrap();
    certificate(other.path(), "2", false);
    let distrusted = with_authority(&other.path().join("cert.pem"));
    let (browser, _) = ada(&distrusted).await;
    assert_eq!(browser.get("/").await.status(), 502);
    distrusted.says("does not accept connections").await;
    let _ = app.kill();
    let _ = app.wait();
}

#[tokio::test]
async fn a_certificate_file_that_can_not_be_read_stops_the_start_and_is_named() {
    let server = Server::new(&[]);
    server.write_secret("bulla.toml", "[[upstream]]\nurl = 'https://localhost'\nca = 'missing.pem'");
    let refused = server.cli(&["serve", "--listen", "127.0.0.1:0"]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("missing.pem"), "{message}");
}

#[tokio::test]
async fn a_connection_that_the_app_has_closed_costs_no_request() {
    // An app that closes each connection after its answer, without saying so.
    let app = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", app.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in app.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = connection.read(&mut [0; 4096]);
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                std::thread::sleep(std::time::Duration::from_millis(2));
            });
        }
    });
    let server = before(&url);
    let (browser, _) = ada(&server).await;
    for at in 0..300 {
        assert_eq!(browser.get("/a").await.status(), 200, "request {at}");
    }
}
