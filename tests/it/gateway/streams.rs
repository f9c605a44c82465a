//! Event streams, WebSockets, downloads and uploads: bytes arrive at once, memory stays flat, and streams end with their session.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use super::{ada, before, configured};
use crate::support::{
    app::SampleApp,
    raw_http::Raw,
    server::{ACCESS, Server, eventually},
    system::{resident, take_descriptors},
};

pub(super) const WEBSOCKET: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-Fetch-Site: same-origin\r\n";

/// A stream of an app through the gateway.
pub(super) fn open(server: &Server, path: &str, headers: &str) -> Raw {
    let mut raw = Raw::connect(server);
    raw.head(&format!("GET {path}"), headers);
    raw
}

/// A masked text frame of a client (RFC 6455, section 5.2).
pub(super) fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 1, 2, 3, 4];
    frame.extend(text.bytes().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
    frame
}

pub(super) fn cut_rows(server: &Server) -> String {
    server.sqlite3(
        "SELECT coalesce(sum(json_extract(detail, '$.streams')), 0) FROM audit WHERE event = 'streams.cut'",
    )
}

#[tokio::test]
async fn an_event_stream_arrives_at_once_and_ends_with_its_session() {
    let Some(app) = SampleApp::start() else { return };
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    let mut stream = open(&server, "/events", &format!("Cookie: {cookies}\r\n"));
    let mut seen = String::new();
    while !seen.contains("data: 1") {
        seen += &stream.read();
    }
    server.sqlite3("DELETE FROM sessions");
    let ended = Instant::now();
    let rest = tokio::task::spawn_blocking(move || stream.read_to_end()).await.unwrap();
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}: {rest}", ended.elapsed());
    assert!(!rest.contains("\r\n0\r\n\r\n"), "the end of the stream must not look complete");
    eventually("the audit row is written", async || cut_rows(&server) == "1").await;
}

#[tokio::test]
async fn a_websocket_passes_messages_and_ends_with_its_session() {
    let Some(app) = SampleApp::start() else { return };
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    let mut socket = open(&server, "/ws", &format!("Cookie: {cookies}\r\n{WEBSOCKET}"));
    let head = socket.read().to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    for message in ["hello", "again"] {
        socket.send(&frame(message));
        assert!(socket.read().ends_with(message));
    }
    server.sqlite3("DELETE FROM sessions");
    let ended = Instant::now();
    tokio::task::spawn_blocking(move || socket.read_to_end()).await.unwrap();
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    eventually("the audit row is written", async || cut_rows(&server) == "1").await;
}

#[tokio::test]
async fn a_logout_ends_the_streams_of_its_session_only() {
    let Some(app) = SampleApp::start() else { return };
    let server = before(&app.url);
    let (one, cookies) = ada(&server).await;
    let (_, others) = ada(&server).await;
    let mut stream = open(&server, "/ws", &format!("Cookie: {cookies}\r\n{WEBSOCKET}"));
    let mut other = open(&server, "/ws", &format!("Cookie: {others}\r\n{WEBSOCKET}"));
    assert!(stream.read().starts_with("HTTP/1.1 101") && other.read().starts_with("HTTP/1.1 101"));
    one.post("/auth/logout", serde_json::json!({})).await;
    let ended = Instant::now();
    tokio::task::spawn_blocking(move || stream.read_to_end()).await.unwrap();
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    other.send(&frame("still here"));
    assert!(other.read().ends_with("still here"));
}

#[tokio::test]
async fn a_stream_outlives_its_access_token_while_the_session_is_renewed_and_ends_when_it_expires() {
    let Some(app) = SampleApp::start() else { return };
    let server = Server::started(&[
        ("BULLA_UPSTREAM", &app.url),
        ("BULLA_ACCESS_MAX_AGE", "10s"),
        ("BULLA_REPLAY_WINDOW", "2s"),
        ("BULLA_REFRESH_IDLE", "60s"),
    ]);
    let (browser, cookies) = ada(&server).await;
    let mut socket = open(&server, "/ws", &format!("Cookie: {cookies}\r\n{WEBSOCKET}"));
    assert!(socket.read().starts_with("HTTP/1.1 101"));
    // Another tab renews the session after the time at which it would have expired.
    server.sqlite3(
        "UPDATE sessions SET rotated_at = rotated_at - 58000, idle_expires_at = idle_expires_at - 58000",
    );
    browser.jar.remove(ACCESS);
    assert_eq!(browser.get("/auth/session").await.status(), 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    socket.send(&frame("renewed"));
    assert!(socket.read().ends_with("renewed"));
    // Nothing renews it any more.
    server.sqlite3(
        "UPDATE sessions SET rotated_at = rotated_at - 59000, idle_expires_at = idle_expires_at - 59000",
    );
    let set = Instant::now();
    tokio::task::spawn_blocking(move || socket.read_to_end()).await.unwrap();
    assert!(set.elapsed() < Duration::from_secs(20), "{:?}", set.elapsed());
}

#[tokio::test]
async fn a_setting_lets_downloads_finish_and_event_streams_end_nevertheless() {
    let Some(app) = SampleApp::start() else { return };
    let server = configured(&format!("[[upstream]]\nurl = '{}'\ncut_downloads = false", app.url));
    let (_, cookies) = ada(&server).await;
    let bytes = 64 << 20;
    let mut stream = open(&server, "/events", &format!("Cookie: {cookies}\r\n"));
    let mut download = open(
        &server,
        &format!("/download?bytes={bytes}"),
        &format!("Cookie: {cookies}\r\nConnection: close\r\n"),
    );
    assert!(stream.read().starts_with("HTTP/1.1 200") && download.read().starts_with("HTTP/1.1 200"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.sqlite3("DELETE FROM sessions");
    let ended = Instant::now();
    tokio::task::spawn_blocking(move || stream.read_to_end()).await.unwrap();
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    let rest = tokio::task::spawn_blocking(move || download.read_to_end()).await.unwrap();
    assert!(rest.len() > bytes - 8192, "{} bytes of the download arrived", rest.len());
}

#[tokio::test]
async fn a_thousand_event_streams_end_within_a_second() {
    let streams = 1000;
    take_descriptors();
    let app = quiet_app("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    let server = before(&app);
    let (_, cookies) = ada(&server).await;
    let mut open: Vec<Raw> =
        (0..streams).map(|_| open(&server, "/events", &format!("Cookie: {cookies}\r\n"))).collect();
    for stream in &mut open {
        let mut seen = String::new();
        while !seen.contains("data: 1") {
            seen += &stream.read();
        }
    }
    server.sqlite3("DELETE FROM sessions");
    let ended = Instant::now();
    let took = tokio::task::spawn_blocking(move || {
        open.iter_mut().for_each(|stream| drop(stream.read_to_end()));
        ended.elapsed()
    });
    let took = took.await.unwrap();
    println!("{streams} event streams ended {took:?} after their session");
    assert!(took < Duration::from_secs(1), "{took:?}");
    eventually("the audit counts them", async || cut_rows(&server) == streams.to_string()).await;
}

/// An app that answers each connection with these bytes once its head has arrived, and keeps it open.
pub(super) fn quiet_app(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut connection in listener.incoming().map_while(Result::ok) {
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer.as_bytes());
            open.push(connection);
        }
    });
    url
}

#[tokio::test]
async fn idle_websockets_cost_little_memory() {
    // This process and the server hold two descriptors of each. Other tests need some, too.
    let sockets = (take_descriptors().saturating_sub(4000) / 2).min(10_000);
    let app =
        quiet_app("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    let server = before(&app);
    let (_, cookies) = ada(&server).await;
    let before = resident(server.pid());
    let mut sockets_open = Vec::new();
    for at in 0..sockets {
        let mut socket = open(&server, "/ws", &format!("Cookie: {cookies}\r\n{WEBSOCKET}"));
        let answer = socket.read();
        assert!(answer.starts_with("HTTP/1.1 101"), "{at}: {answer} {}", server.stderr());
        sockets_open.push(socket);
    }
    let each = (resident(server.pid()) - before) * 1024 / sockets;
    println!("{each} bytes for each of {sockets} idle WebSockets");
    assert!(each < 16 << 10, "{each} bytes for each WebSocket");
}

/// An app that counts the bytes of each upload, and answers a download with as many bytes as its path says.
fn bulk_app() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve_bulk(connection));
        }
    });
    url
}

fn serve_bulk(mut connection: TcpStream) -> Option<()> {
    let mut bytes = vec![0; 1 << 18];
    let mut head = Vec::new();
    let end = loop {
        let read = connection.read(&mut bytes).ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&bytes[..read]);
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&head[..end]).to_lowercase();
    if let Some((_, length)) = text.split_once("content-length: ") {
        let mut left: u64 = length.lines().next()?.parse().ok()?;
        left -= (head.len() - end) as u64;
        while left > 0 {
            left -= connection.read(&mut bytes).ok().filter(|read| *read > 0)? as u64;
        }
        return connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").ok();
    }
    let mut left: u64 = text.split(' ').nth(1)?.trim_start_matches('/').parse().ok()?;
    connection.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n").as_bytes()).ok()?;
    while left > 0 {
        let now = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        connection.write_all(&bytes[..now]).ok()?;
        left -= now as u64;
    }
    Some(())
}

#[tokio::test]
async fn large_bodies_pass_both_ways_with_flat_memory() {
    const BYTES: u64 = 10 << 30;
    let server = before(&bulk_app());
    let (_, cookies) = ada(&server).await;
    let pid = server.pid();
    let headers = format!("Cookie: {cookies}\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n");
    let before = resident(pid);
    let mut upload = Raw::connect(&server);
    upload.head("POST /", &format!("{headers}Content-Length: {BYTES}\r\n"));
    let most = tokio::task::spawn_blocking(move || {
        let piece = vec![7; 1 << 20];
        let mut most = 0;
        for _ in 0..BYTES >> 20 {
            upload.send(&piece);
            most = most.max(resident(pid));
        }
        assert!(upload.read_to_end().ends_with("done"));
        most
    });
    let most = most.await.unwrap();
    println!("{BYTES} bytes up: {} KiB of growth", most.saturating_sub(before));
    assert!(most < before + (8 << 10), "{before} KiB before, {most} KiB during the upload");
    let mut download = TcpStream::connect(server.address()).unwrap();
    let head = format!("GET /{BYTES} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.address());
    download.write_all(head.as_bytes()).unwrap();
    let (most, total) = tokio::task::spawn_blocking(move || {
        let (mut bytes, mut most, mut total) = (vec![0; 1 << 20], 0, 0);
        while let Some(read) = download.read(&mut bytes).ok().filter(|read| *read > 0) {
            total += read as u64;
            most = most.max(resident(pid));
        }
        (most, total)
    })
    .await
    .unwrap();
    println!("{BYTES} bytes down: {} KiB of growth", most.saturating_sub(before));
    assert!(total > BYTES && total < BYTES + 4096, "{total} bytes arrived");
    assert!(most < before + (8 << 10), "{before} KiB before, {most} KiB during the download");
}

#[tokio::test]
async fn the_app_learns_that_a_client_has_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = before(&format!("http://{}", listener.local_addr().unwrap()));
    let (_, cookies) = ada(&server).await;
    for answered in [false, true] {
        let client = open(&server, "/", &format!("Cookie: {cookies}\r\n"));
        let (mut app, _) = listener.accept().unwrap();
        assert!(app.read(&mut [0; 4096]).unwrap() > 0);
        if answered {
            app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc").unwrap();
        }
        drop(client);
        app.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let end = tokio::task::spawn_blocking(move || app.read(&mut [0; 16])).await.unwrap();
        assert!(
            matches!(end, Ok(0))
                || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }
}

#[tokio::test]
async fn a_server_that_stops_lets_downloads_finish() {
    let mut server = before(&bulk_app());
    let (_, cookies) = ada(&server).await;
    let bytes = 32 << 20;
    let mut download =
        open(&server, &format!("/{bytes}"), &format!("Cookie: {cookies}\r\nConnection: close\r\n"));
    assert!(download.read().starts_with("HTTP/1.1 200"));
    server.signal("TERM");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let rest = tokio::task::spawn_blocking(move || download.read_to_end()).await.unwrap();
    assert!(rest.len() > bytes - 8192, "{} bytes arrived", rest.len());
    assert_eq!(server.wait(), Some(0));
}
