//! Tests a server that speaks TLS itself.

use std::{
    io::Read as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support::{
    server::{ACCESS, PASSWORD, REFRESH},
    tls::{curl, speaking_tls},
};

#[tokio::test]
async fn a_login_over_tls_sets_secure_cookies_and_hsts() {
    let mut server = speaking_tls();
    assert!(server.origin.starts_with("https://localhost:"), "{}", server.origin);
    let form = format!("username=ada&password={PASSWORD}").replace(' ', "%20");
    for version in ["--http1.1", "--http2"] {
        let http2 = cfg!(feature = "http2") && version == "--http2";
        // The second login needs an empty jar: with the cookies of the first it could be a request that another site made the
        // client send.
        let _ = std::fs::remove_file(server.path("jar"));
        let answer =
            curl(&server, &[version, "--include", "--data", &form, &format!("{}/auth/login", server.origin)]);
        let answer = answer.to_lowercase();
        assert!(answer.starts_with(if http2 { "http/2 303" } else { "http/1.1 303" }), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age="), "{answer}");
        for name in [ACCESS, REFRESH] {
            let name = name.to_lowercase();
            let cookie =
                answer.lines().find(|line| line.starts_with(&format!("set-cookie: {name}="))).unwrap();
            assert!(cookie.contains("; secure; httponly; samesite=lax"), "{cookie}");
        }
        let who = curl(&server, &[version, &format!("{}/auth/session", server.origin)]);
        assert!(who.contains("\"name\":\"ada\""), "{who}");
    }
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn a_connection_without_a_tls_handshake_is_closed() {
    let server = speaking_tls();
    let mut silent = TcpStream::connect(server.address()).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let started = Instant::now();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    println!("a silent connection: closed after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(curl(&server, &[&format!("{}/health/ready", server.origin)]).contains("\"ready\""));
}

#[test]
fn http2_is_not_compiled_in_and_not_offered_by_default() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("actix-http v"), "{tree}");
    assert!(!tree.lines().any(|line| line.starts_with("h2 v0.3")), "{tree}");
    if cfg!(feature = "http2") {
        return;
    }
    let server = speaking_tls();
    let arguments = ["--http2", "--silent", "--output", "none", "--write-out", "%{http_version}"];
    let said = curl(&server, &[&arguments[..], &[&format!("{}/auth/login", server.origin)]].concat());
    assert_eq!(said, "1.1");
}
