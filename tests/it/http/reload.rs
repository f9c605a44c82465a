//! Tests what a running server loads again: its certificate, and its settings at SIGHUP.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::support::{
    server::Server,
    tls::{certificate, curl, speaking_tls},
};

/// Opens a TLS connection that trusts the certificate in the folder.
async fn connect(server: &Server) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.path("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Sends a request and checks that the answer on the same connection is 200.
async fn is_answered(connection: &mut TlsStream<TcpStream>) {
    connection.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut bytes = [0; 4096];
    let length = connection.read(&mut bytes).await.unwrap();
    assert!(bytes[..length].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&bytes[..length]));
}

/// Replaces a file by renaming, as certbot and Kubernetes do.
fn replace(from: &Path, server: &Server, name: &str) {
    fs::copy(from.join(name), server.path("next")).unwrap();
    fs::rename(server.path("next"), server.path(name)).unwrap();
}

fn is_ready(server: &Server, roots: &str) {
    let url = format!("{}/health/ready", server.origin);
    assert!(curl(server, &["--cacert", roots, &url]).contains("\"ready\""));
}

/// Whether a client that trusts these certificates can connect.
fn accepts(server: &Server, roots: &str) -> bool {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--max-time",
        "20",
        "--cacert",
        roots,
        &format!("{}/health/ready", server.origin),
    ]);
    curl.current_dir(server.dir.path()).stdout(Stdio::null()).status().unwrap().success()
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_open_connections_stay_open() {
    let server = speaking_tls();
    fs::copy(server.path("cert.pem"), server.path("old.pem")).unwrap();
    let mut open = connect(&server).await;
    is_answered(&mut open).await;
    let renewed = tempfile::tempdir().unwrap();
    certificate(renewed.path(), "3", false);
    replace(renewed.path(), &server, "cert.pem");
    replace(renewed.path(), &server, "key.pem");
    server.says("the certificate was reloaded").await;
    is_ready(&server, "cert.pem");
    assert!(!accepts(&server, "old.pem"), "the old certificate is no longer presented");
    is_answered(&mut open).await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_an_error_in_the_log_and_the_old_one_stays_in_force() {
    let server = speaking_tls();
    fs::copy(server.path("cert.pem"), server.path("old.pem")).unwrap();
    let renewed = tempfile::tempdir().unwrap();
    certificate(renewed.path(), "3", false);
    replace(renewed.path(), &server, "cert.pem");
    server.says("the certificate was not reloaded").await;
    server.says("is not the private key of").await;
    is_ready(&server, "old.pem");
    replace(renewed.path(), &server, "key.pem");
    server.signal("HUP");
    server.says("the certificate was reloaded").await;
    is_ready(&server, "cert.pem");
}

#[tokio::test]
async fn a_hangup_signal_puts_other_certificate_files_into_force() {
    let mut server = speaking_tls();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    server.environment.clear();
    let others = server.path("others");
    fs::create_dir(&others).unwrap();
    certificate(&others, "3", false);
    let settings = |folder: &str| format!("tls_cert = '{folder}cert.pem'\ntls_key = '{folder}key.pem'\n");
    fs::write(server.path("bulla.toml"), settings("")).unwrap();
    server.start();
    is_ready(&server, "cert.pem");
    fs::write(server.path("bulla.toml"), settings("others/")).unwrap();
    server.signal("HUP");
    server.says("the certificate was reloaded").await;
    is_ready(&server, "others/cert.pem");
    assert!(!accepts(&server, "cert.pem"));
    assert!(!server.stderr().contains("need a restart"), "{}", server.stderr());
}

#[tokio::test]
async fn a_hangup_signal_reloads_the_settings_and_names_those_that_need_a_restart() {
    let server = Server::started(&[("BULLA_SESSION_CAP", "5")]);
    let browser = server.browser();
    let settings = |text: &str| fs::write(server.path("bulla.toml"), text).unwrap();
    settings("log_level = 'debug'\nlogin_queue = 3\npassword_min = 12\nsession_cap = 7\n");
    server.signal("HUP");
    server.says("need a restart of the server: login_queue, password_min\n").await;
    server.says("log_level = \"debug\" is in force").await;
    browser.get("/health/live?first").await;
    server.says("path=/health/live ").await;

    settings("log_level = 'warn'\nlogin_queue = 'many'\n");
    server.signal("HUP");
    server.says("the settings were not reloaded: login_queue = \"many\" in bulla.toml, line 2").await;
    let before = server.stderr().matches("path=/health/ready ").count();
    browser.get("/health/ready").await;
    server.says("path=/health/ready ").await;
    assert_eq!(before, 0, "{}", server.stderr());

    settings("log_level = 'warn'\naudit_keep = '30d'\n");
    server.signal("HUP");
    server.says("log_level = \"warn\" is in force").await;
    server.says("need a restart of the server: audit_keep\n").await;
    browser.get("/health/live?last").await;
    browser.get("/openapi.json").await;
    settings("audit_keep = '31d'\nlogin_queue = 4\n");
    server.signal("HUP");
    server.says("need a restart of the server: audit_keep, login_queue\n").await;
    assert!(!server.stderr().contains("/openapi.json"), "{}", server.stderr());
}
