//! Connections as no browser uses them: vanished, half-closed and slow peers, and bytes after a refused upgrade.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use super::{
    ada, before, configured,
    streams::{WEBSOCKET, frame, open, quiet_app},
};
use crate::support::{app::RecordingApp, raw_http::Raw, server::eventually};

/// The timer of the connection between two ports in the kernel's table: its kind (2 is keepalive), and the time left. The row is that
/// of the side with the port `local`.
fn timer(local: u16, remote: u16) -> Option<(u8, Duration)> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let row = table.lines().skip(1).map(fields).find(|row| {
        row[1].ends_with(&format!(":{local:04X}")) && row[2].ends_with(&format!(":{remote:04X}"))
    })?;
    let (kind, left) = row[5].split_once(':').unwrap();
    let hundredths = u64::from_str_radix(left, 16).unwrap();
    Some((kind.parse().unwrap(), Duration::from_millis(hundredths * 10)))
}

#[tokio::test]
async fn the_kernel_probes_both_connections_of_a_tunnel_so_that_a_vanished_peer_does_not_hold_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let app_port = listener.local_addr().unwrap().port();
    let server = before(&format!("http://127.0.0.1:{app_port}"));
    let (_, cookies) = ada(&server).await;
    let mut client = TcpStream::connect(server.address()).unwrap();
    let host = server.address();
    let head = format!("GET /ws HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\n{WEBSOCKET}\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let (mut app, gateway) = listener.accept().unwrap();
    assert!(app.read(&mut [0; 4096]).unwrap() > 0);
    app.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        .unwrap();
    assert!(client.read(&mut [0; 4096]).unwrap() > 0);
    let own: u16 = server.address().rsplit_once(':').unwrap().1.parse().unwrap();
    for (local, remote) in [(own, client.local_addr().unwrap().port()), (gateway.port(), app_port)] {
        // After data, the timer is that of a retransmission until the peer has acknowledged them.
        eventually("the kernel waits to send a probe", async || {
            timer(local, remote).is_some_and(|(kind, left)| kind == 2 && left <= Duration::from_secs(60))
        })
        .await;
    }
}

#[tokio::test]
async fn bytes_after_an_upgrade_that_the_app_refuses_are_a_request_of_their_own_and_are_judged() {
    let app = RecordingApp::answering(|request| {
        let status = if request.head.contains(" /moved ") { "302 Found" } else { "200 OK" };
        format!(
            "HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nok"
        )
        .into_bytes()
    });
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    for (at, path) in ["/ws", "/moved"].into_iter().enumerate() {
        let mut raw = Raw::connect(&server);
        let host = server.address();
        let upgrade = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\n{WEBSOCKET}\r\n");
        let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw.send(format!("{upgrade}{smuggled}").as_bytes());
        let answers = raw.read_to_end();
        let statuses: Vec<&str> =
            answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
        assert_eq!(statuses[1..], ["401"], "{answers}");
        assert!(!answers.to_lowercase().contains("upgrade: websocket"), "{answers}");
        assert_eq!(app.received().len(), at + 1, "{path}: {:?}", app.received());
    }
}

/// Bytes that a client sends before it has seen 101 wait for the app's decision.
#[tokio::test]
async fn frames_that_a_client_sends_with_its_upgrade_reach_the_app_after_101_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = before(&format!("http://{}", listener.local_addr().unwrap()));
    let (_, cookies) = ada(&server).await;
    let mut client = open(&server, "/ws", &format!("Cookie: {cookies}\r\n{WEBSOCKET}"));
    client.send(&frame("early"));
    let (mut app, _) = listener.accept().unwrap();
    let mut bytes = vec![0; 8192];
    let read = app.read(&mut bytes).unwrap();
    assert!(bytes[..read].ends_with(b"\r\n\r\n"), "only the head has arrived");
    app.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    app.read(&mut bytes).unwrap_err();
    app.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        .unwrap();
    app.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let read = app.read(&mut bytes).unwrap();
    assert_eq!(bytes[..read], frame("early"));
}

#[tokio::test]
async fn the_end_of_one_side_of_a_tunnel_is_passed_on_and_the_other_side_can_still_send() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = before(&format!("http://{}", listener.local_addr().unwrap()));
    let (_, cookies) = ada(&server).await;
    let mut client = TcpStream::connect(server.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let host = server.address();
    let head = format!("GET /ws HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\n{WEBSOCKET}\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let (mut app, _) = listener.accept().unwrap();
    app.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = vec![0; 8192];
    assert!(app.read(&mut bytes).unwrap() > 0);
    app.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        .unwrap();
    assert!(client.read(&mut bytes).unwrap() > 0);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(app.read(&mut bytes).unwrap(), 0);
    app.write_all(b"goodbye").unwrap();
    let read = client.read(&mut bytes).unwrap();
    assert_eq!(&bytes[..read], b"goodbye");
    drop(app);
    assert_eq!(client.read(&mut bytes).unwrap(), 0);
}

/// The head has 10 seconds, whatever arrives meanwhile.
#[tokio::test]
async fn a_head_that_arrives_byte_by_byte_is_given_up_and_the_app_gets_nothing() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    let mut raw = Raw::connect(&server);
    raw.send(format!("GET /a HTTP/1.1\r\nHost: {}\r\nCookie: {cookies}\r\n", server.address()).as_bytes());
    let began = Instant::now();
    let ended = tokio::task::spawn_blocking(move || {
        while began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(300));
            if raw.try_send(b"X-A: 1\r\n").is_err() {
                return Some(began.elapsed());
            }
        }
        None
    });
    let ended = ended.await.unwrap().expect("the connection is closed");
    assert!(ended >= Duration::from_secs(9), "{ended:?}");
    assert!(app.received().is_empty());
}

#[tokio::test]
async fn a_body_without_progress_is_given_up_and_the_app_does_not_take_it_for_complete() {
    let app = RecordingApp::start();
    let server = configured(&format!("[[upstream]]\nurl = '{}'\nidle_timeout = '1s'\n", app.url));
    let (_, cookies) = ada(&server).await;
    for length in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut raw = Raw::connect(&server);
        raw.head("POST /a", &format!("Cookie: {cookies}\r\nSec-Fetch-Site: same-origin\r\n{length}"));
        raw.send(b"5\r\nabc");
        let answer = tokio::task::spawn_blocking(move || raw.read_to_end()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{length}: {answer}");
    }
    assert!(app.received().is_empty(), "{:?}", app.received());
}

#[tokio::test]
async fn a_connection_is_closed_if_the_rest_of_a_body_does_not_arrive_after_the_answer() {
    let app = quiet_app("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n");
    let server = configured(&format!("[[upstream]]\nurl = '{app}'\nidle_timeout = '1s'\n"));
    let (_, cookies) = ada(&server).await;
    for (length, part) in
        [("Content-Length: 100000000\r\n", "abc"), ("Transfer-Encoding: chunked\r\n", "ffff\r\nabc")]
    {
        let mut raw = Raw::connect(&server);
        raw.head("POST /a", &format!("Cookie: {cookies}\r\nSec-Fetch-Site: same-origin\r\n{length}"));
        raw.send(part.as_bytes());
        let answer = tokio::task::spawn_blocking(move || raw.read_to_end()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
}

/// As nginx does, the gateway takes a client for gone that closes its side before it has the answer.
#[tokio::test]
async fn a_client_that_closes_its_side_early_is_not_waited_for() {
    let app = quiet_app("");
    let server = before(&app);
    let (_, cookies) = ada(&server).await;
    let mut client = TcpStream::connect(server.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("GET /a HTTP/1.1\r\nHost: {}\r\nCookie: {cookies}\r\n\r\n", server.address());
    client.write_all(head.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 1024]).unwrap(), 0);
}

#[tokio::test]
async fn a_head_that_is_too_long_or_has_too_many_headers_is_refused() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    let long = "a".repeat(100 << 10);
    for (path, headers) in [
        ("/a", format!("X: {long}\r\n")),
        ("/a", "X: a\r\n".repeat(200)),
        (&format!("/{long}"), String::new()),
    ] {
        let mut raw = Raw::connect(&server);
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookies}\r\n{headers}\r\n",
            server.address()
        );
        // The server may close the connection before it has taken the whole head.
        let _ = raw.try_send(head.as_bytes());
        let answer = raw.read_to_end();
        let status = answer.get(9..12).unwrap_or_default();
        assert!(["431", "414", ""].contains(&status), "{answer}");
    }
    assert!(app.received().is_empty());
}

/// An app that refuses an upload closes its connection, so the rest of the body can't be sent to it.
#[tokio::test]
async fn the_answer_of_an_app_that_refuses_an_upload_and_closes_reaches_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = before(&format!("http://{}", listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let _ = connection.read(&mut [0; 1024]);
            let _ = connection.write_all(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\n\r\nlarge");
        }
    });
    let (_, cookies) = ada(&server).await;
    for length in [100_000, 30 << 20] {
        for _ in 0..10 {
            let mut raw = Raw::connect(&server);
            let headers =
                format!("Cookie: {cookies}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: {length}\r\n");
            raw.head("POST /upload", &headers);
            let _ = raw.try_send(&[7; 100_000]);
            let answer = raw.read();
            assert!(answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
        }
    }
}
