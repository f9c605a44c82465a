//! Tests requests that never arrive completely: the memory they occupy is bounded, and the server still serves other users.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::support::{
    raw_http::Raw,
    server::{PASSWORD, Server, eventually},
    system::{resident, take_descriptors},
    tls::{curl, speaking_tls},
};

/// KiB that the server may grow by. Incomplete requests may occupy 32 MiB, in buffers of up to twice the size of their contents;
/// each of 3,000 connections costs another 16 KiB and its buffers for answers.
const BOUND: u64 = 120 << 10;

/// Bytes that each connection sends: just below the limit of actix-http for a head.
const EACH: usize = 120 << 10;

const CONNECTIONS: usize = 3000;

/// Opens [`CONNECTIONS`] connections that send `first` and then [`EACH`] more bytes of the same request. A connection that the
/// server closes meanwhile counts as well.
async fn crowd(address: &str, first: &str, answered: bool) -> Vec<TcpStream> {
    let junk = vec![b'a'; EACH];
    stream::iter(0..CONNECTIONS)
        .map(|_| async {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(first.as_bytes()).await.unwrap();
            if answered {
                assert!(connection.read(&mut [0; 512]).await.unwrap() > 0);
            }
            let _ = timeout(Duration::from_secs(5), connection.write_all(&junk)).await;
            connection
        })
        .buffer_unordered(50)
        .collect()
        .await
}

fn refused(metrics: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with("bulla_connections_refused_total "));
    line.unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

/// Sends many incomplete requests; the server must serve others meanwhile and afterwards.
async fn hold_out(first: impl Fn(&str) -> String, answered: bool) {
    take_descriptors();
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let before = resident(server.pid());
    let address = server.address();
    let crowd = crowd(&address, &first(&address), answered).await;
    let during = resident(server.pid());
    println!("{before} KiB before, {during} KiB beside {} incomplete requests", crowd.len());
    assert!(during - before < BOUND, "{before} KiB before, {during} KiB beside {} connections", crowd.len());
    assert_eq!(browser.status().await, 200);
    assert_eq!(server.ada().await.status().await, 200);
    assert!(refused(&browser.get("/metrics").await.text().await.unwrap()) > 0);
    assert_eq!(
        server.stderr().matches("incomplete requests use all 32 MiB").count(),
        1,
        "{}",
        server.stderr()
    );
    drop(crowd);
    // The memory is free again, so a request that needs part of it is served.
    let long = "a".repeat(60 << 10);
    eventually("a long request is read to its end", async || {
        let login = json!({"username": "ada", "password": PASSWORD, "unknown": long});
        let answer = browser.request(Method::POST, "/auth/login").json(&login).send().await;
        answer.is_ok_and(|answer| answer.status() != 408)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_heads_of_three_thousand_connections_use_bounded_memory() {
    hold_out(|address| format!("GET /auth/session HTTP/1.1\r\nHost: {address}\r\nX-Long: "), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_heads_after_an_answered_request_use_bounded_memory() {
    let first = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nX-Long: ";
    hold_out(|_| first.to_owned(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_bodies_of_three_thousand_connections_use_bounded_memory() {
    let post = |address: &str| {
        format!(
            "POST /auth/login HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            EACH + 1
        )
    };
    hold_out(post, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_heads_inside_tls_use_bounded_memory() {
    let server = speaking_tls();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.path("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let (connector, address) = (TlsConnector::from(Arc::new(client)), server.address());
    let before = resident(server.pid());
    let head = format!("GET / HTTP/1.1\r\nHost: {address}\r\nX-Long: {}", "a".repeat(EACH));
    let crowd: Vec<_> = stream::iter(0..600)
        .map(|_| async {
            let connection = TcpStream::connect(&address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut connection = connector.connect(name, connection).await.unwrap();
            let _ = timeout(Duration::from_secs(5), connection.write_all(head.as_bytes())).await;
            connection
        })
        .buffer_unordered(20)
        .collect()
        .await;
    let during = resident(server.pid());
    println!("{before} KiB before, {during} KiB beside {} incomplete requests", crowd.len());
    assert!(during - before < BOUND, "{before} KiB before, {during} KiB beside {} connections", crowd.len());
    let metrics = curl(&server, &[&format!("{}/metrics", server.origin)]);
    assert!(refused(&metrics) > 0, "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_answers_are_not_read_use_bounded_memory_and_lose_their_connection() {
    let server = Server::started(&[]);
    let browser = server.ada().await;
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let (before, open) = (resident(server.pid()), descriptors());
    let answered = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        .replace("Host: x", &format!("Host: {}", server.address()));
    let short = "GET / HTTP/1.1\r\nHost:x\r\n\r\n";
    let chunked = "POST /auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let floods =
        [answered.repeat(80) + &short.repeat(4000), answered.repeat(10) + chunked + &short.repeat(4000)];
    let address =
        server.address().parse().or_else(|_| server.address().replace("localhost", "127.0.0.1").parse());
    let mut crowd = Vec::new();
    for flood in floods.iter().cycle().take(60) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let mut connection = socket.connect(address.clone().unwrap()).await.unwrap();
        let _ = timeout(Duration::from_millis(200), connection.write_all(flood.as_bytes())).await;
        crowd.push(connection);
    }
    let during = resident(server.pid());
    println!("{before} KiB before, {during} KiB beside {} connections that read nothing", crowd.len());
    assert!(
        during - before < BOUND / 2,
        "{before} KiB before, {during} KiB beside {} connections",
        crowd.len()
    );
    assert_eq!(browser.status().await, 200);
    eventually("connections that read nothing are closed", async || descriptors() <= open + 5).await;
}

#[tokio::test]
async fn a_connection_stays_open_for_every_valid_spelling_of_requests() {
    let server = Server::started(&[]);
    let heads = ["X:  a \r\n", "X:a\r\n", "\r\n"].map(|rest| {
        let mut connection = Raw::connect(&server);
        let line = if rest == "\r\n" { "\r\nGET /health/live" } else { "GET /health/live" };
        let host = "HTTP/1.1\r\nHost: x\r\n";
        connection.send(format!("{line} {host}{}", if rest == "\r\n" { "\r\n" } else { rest }).as_bytes());
        if rest.starts_with('X') {
            connection.send(b"\r\n");
        }
        assert!(connection.read().starts_with("HTTP/1.1 200 "), "{rest:?}");
        (rest, connection)
    });
    // Longer than a head may take.
    tokio::time::sleep(Duration::from_secs(12)).await;
    for (rest, mut connection) in heads {
        connection.head("GET /health/live", "");
        assert!(connection.read().starts_with("HTTP/1.1 200 "), "{rest:?}");
    }
}

#[test]
fn an_incomplete_second_head_closes_its_connection() {
    let server = Server::started(&[]);
    let whole = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut at_once = Raw::connect(&server);
    at_once.send(format!("{whole}GET / HTTP/1.1\r\nX-A: ").as_bytes());
    let mut later = Raw::connect(&server);
    later.send(whole.as_bytes());
    assert!(later.read().starts_with("HTTP/1.1 200 "));
    later.send(b"GET / HTTP/1.1\r\n");
    for connection in [&mut at_once, &mut later] {
        // `read_to_end` panics if the server keeps the connection open for a minute.
        let said = connection.read_to_end();
        assert!(said.is_empty() || said.matches("HTTP/1.1 200 ").count() == 1, "{said}");
    }
}

#[test]
fn requests_of_every_length_are_served_one_after_another_on_one_connection() {
    let server = Server::started(&[]);
    let mut connection = Raw::connect(&server);
    // In total these are more bytes than one connection may hold, and more than all connections may hold.
    for round in 0..1500 {
        let header = format!("X-Long: {}\r\n", "a".repeat(30_000 - round));
        connection.head("GET /health/live", &header);
        let said = connection.read();
        assert!(said.starts_with("HTTP/1.1 200 "), "{round}: {said}");
        assert!(!said.to_lowercase().contains("connection: close"), "{round}: {said}");
    }
    let body = format!("grant_type=unknown&x={}", "a".repeat(7_000));
    let form = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nX-Long: {}\r\n",
        body.len(),
        "a".repeat(12_000)
    );
    for round in 0..100 {
        connection.head("POST /oauth/token", &form);
        connection.send(body.as_bytes());
        let said = connection.read();
        assert!(said.starts_with("HTTP/1.1 4"), "{round}: {said}");
        assert!(!said.to_lowercase().contains("connection: close"), "{round}: {said}");
    }
}

#[test]
fn pipelined_requests_are_answered_one_by_one() {
    let server = Server::started(&[]);
    let mut connection = Raw::connect(&server);
    let request = format!("GET /health/live HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(2000));
    let last = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    connection.send(format!("{}{last}", request.repeat(39)).as_bytes());
    assert_eq!(connection.read_to_end().matches("HTTP/1.1 200 ").count(), 40);
}
