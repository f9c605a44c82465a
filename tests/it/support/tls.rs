//! A server that speaks TLS, a client for it, and certificates.

use std::{path::Path, process::Command};

use crate::support::server::Server;

/// A running server with a self-signed certificate.
pub fn speaking_tls() -> Server {
    let mut server = Server::new(&[("BULLA_TLS_CERT", "cert.pem"), ("BULLA_TLS_KEY", "key.pem")]);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-out",
            "cert.pem",
            "-keyout",
            "key.pem",
        ])
        .current_dir(server.dir.path())
        .output()
        .expect("openssl is installed by scripts/test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    server.start();
    server
}

/// The output of `curl`, which trusts the certificate.
pub fn curl(server: &Server, arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--cacert",
        "cert.pem",
        "--cookie-jar",
        "jar",
        "--cookie",
        "jar",
    ]);
    let said = curl.args(arguments).current_dir(server.dir.path()).output().unwrap();
    assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

/// Creates a certificate for `localhost` that is valid for `days` days. If `encrypted`, the key is protected by the passphrase
/// `secret`.
pub fn certificate(folder: &Path, days: &str, encrypted: bool) {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-days",
        days,
    ]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-out", "cert.pem", "-keyout", "key.pem"]).current_dir(folder);
    openssl.args(if encrypted { &["-passout", "pass:secret"][..] } else { &["-noenc"][..] });
    let made = openssl.output().expect("openssl is installed by scripts/test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
