//! Framing and headers of HTTP/1.1 (RFC 9110, RFC 9112): a table of requests as raw bytes, with the answer and with what the app
//! must receive.

use super::{ada, before};
use crate::support::{
    app::{Received, RecordingApp},
    raw_http::Raw,
};

/// What must happen to a request.
enum Expected {
    /// The answer has this status, and the app gets nothing.
    Refused(u16),
    /// The app gets a request that satisfies the check.
    Passed(fn(&Received) -> bool),
}

use Expected::{Passed, Refused};

fn has_body(request: &Received, body: &str) -> bool {
    request.body == body.as_bytes()
}

/// A request is written with `|` for each line end. `Host` and the cookies are added after the request line.
type Case = (&'static str, &'static str, Expected);

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    vec![
        // The length of the body.
        ("POST /a HTTP/1.1|Content-Length: 3||", "abc", Passed(|it| has_body(it, "abc"))),
        ("POST /a HTTP/1.1|Content-Length: 0||", "", Passed(|it| has_body(it, ""))),
        ("POST /a HTTP/1.1||", "", Passed(|it| has_body(it, ""))),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "3\r\nabc\r\n0\r\n\r\n", Passed(|it| has_body(it, "abc"))),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "1\r\na\r\n2;ext=1\r\nbc\r\n0\r\n\r\n", Passed(|it| has_body(it, "abc"))),
        ("POST /a HTTP/1.1|transfer-encoding: Chunked||", "0\r\n\r\n", Passed(|it| has_body(it, ""))),
        ("POST /a HTTP/1.1|Content-Length: 3|Transfer-Encoding: chunked||", "0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked|Content-Length: 3||", "0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length: 3|Content-Length: 4||", "abcd", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length: 3|Content-Length: 3||", "abc", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length: 3, 3||", "abc", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length: +3||", "abc", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length: -3||", "abc", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length: 0x3||", "abc", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length: 3 ||", "abc", Passed(|it| has_body(it, "abc"))),
        ("POST /a HTTP/1.1|Content-Length: 3a||", "abc", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length: ||", "", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length: 99999999999999999999||", "", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: gzip, chunked||", "0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked, gzip||", "0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: identity||", "", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: xchunked||", "0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked|Transfer-Encoding: identity||", "0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding : chunked||", "0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Content-Length : 3||", "abc", Refused(400)),
        ("POST /a HTTP/1.1| Content-Length: 3||", "abc", Refused(400)),
        ("POST /a HTTP/1.1|X: a|Transfer-Encoding:\u{b}chunked||", "0\r\n\r\n", Refused(400)),
        ("GET /a HTTP/1.1|Content-Length: 2||", "ab", Passed(|it| has_body(it, "ab"))),
        ("POST /a HTTP/1.0|Transfer-Encoding: chunked||", "0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "zz\r\nabc\r\n0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "-3\r\nabc\r\n0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "+3\r\nabc\r\n0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "0x3\r\nabc\r\n0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "3\nabc\r\n0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "3\r\nabcd\r\n0\r\n\r\n", Refused(400)),
        ("POST /a HTTP/1.1|Transfer-Encoding: chunked||", "3;a\nb\r\nabc\r\n0\r\n\r\n", Refused(400)),
        // Lines.
        ("GET /a HTTP/1.1|X: a\rb||", "", Refused(400)),
        ("GET /a HTTP/1.1|X: a\r\rb||", "", Refused(400)),
        ("GET /a HTTP/1.1|X: a| b||", "", Refused(400)),
        ("GET /a HTTP/1.1|X: a|\tb||", "", Refused(400)),
        ("GET /a HTTP/1.1|X: a\u{0}b||", "", Refused(400)),
        ("GET /a HTTP/1.1|X\u{0}: a||", "", Refused(400)),
        ("GET /a HTTP/1.1|X Y: a||", "", Refused(400)),
        ("GET /a HTTP/1.1|: a||", "", Refused(400)),
        ("GET /a HTTP/1.1|X||", "", Refused(400)),
        ("GET /a HTTP/1.1|X:||", "", Passed(|it| it.head.contains("x:"))),
        ("GET /a HTTP/1.1|X:\ta \t||", "", Passed(|it| it.value("x") == Some("a"))),
        ("GET  /a HTTP/1.1||", "", Refused(400)),
        ("GET /a HTTP/1.1 ||", "", Refused(400)),
        ("GET /a b HTTP/1.1||", "", Refused(400)),
        ("GET /a HTTP/1.2||", "", Refused(400)),
        ("GET /a HTTP/2.0||", "", Refused(400)),
        ("GET /a http/1.1||", "", Refused(400)),
        ("G(T /a HTTP/1.1||", "", Refused(400)),
        ("get /a HTTP/1.1|Sec-Fetch-Site: none||", "", Passed(|it| it.head.starts_with("get /a "))),
        ("PURGE /a HTTP/1.1|Sec-Fetch-Site: none||", "", Passed(|it| it.head.starts_with("PURGE /a "))),
        ("TRACE /a HTTP/1.1|Sec-Fetch-Site: none||", "", Refused(405)),
        ("CONNECT a:1 HTTP/1.1||", "", Refused(421)),
        // The target.
        ("GET * HTTP/1.1||", "", Refused(400)),
        ("OPTIONS * HTTP/1.1||", "", Refused(400)),
        ("GET /a/../b HTTP/1.1||", "", Refused(400)),
        ("GET /a/%2e%2e/b HTTP/1.1||", "", Refused(400)),
        ("GET /a%2fb HTTP/1.1||", "", Refused(400)),
        ("GET /a%5Cb HTTP/1.1||", "", Refused(400)),
        ("GET /a\\b HTTP/1.1||", "", Refused(400)),
        ("GET /a%00 HTTP/1.1||", "", Refused(400)),
        ("GET /a%zz HTTP/1.1||", "", Refused(400)),
        ("GET /a?b=../%2f%00\\#x HTTP/1.1||", "", Passed(|it| !it.head.contains('#'))),
        ("GET /a%252fb HTTP/1.1||", "", Refused(400)),
        ("GET /a/%252e%252e/b HTTP/1.1||", "", Refused(400)),
        ("GET /a%25b HTTP/1.1||", "", Passed(|it| it.head.starts_with("GET /a%25b "))),
        ("GET /a?b=../%2f%00&c=%E4 HTTP/1.1||", "", Passed(|it| it.head.starts_with("GET /a?b=../%2f%00&c=%E4 "))),
        ("GET http://evil.example/a HTTP/1.1||", "", Refused(421)),
        ("GET /a HTTP/1.1|Host: evil.example||", "", Refused(400)),
        ("GET /auth/session HTTP/1.1|Host: evil.example||", "", Refused(400)),
        // Headers of the connection.
        ("GET /a HTTP/1.1|Connection: X-A, keep-alive|X-A: 1|X-B: 2||", "", Passed(|it| it.value("x-a").is_none() && it.value("x-b").is_some())),
        ("GET /a HTTP/1.1|Connection: close, Remote-User, Bulla-Token, X-Forwarded-For||", "",
            Passed(|it| it.values("remote-user") == ["1"] && it.values("x-forwarded-for") == ["127.0.0.1"])),
        ("POST /a HTTP/1.1|Connection: content-length, transfer-encoding, host|Content-Length: 3||", "abc", Passed(|it| has_body(it, "abc"))),
        ("GET /a HTTP/1.1|Keep-Alive: timeout=5|Proxy-Connection: keep-alive|Proxy-Authorization: x||", "",
            Passed(|it| !it.head.to_lowercase().contains("keep-alive") && it.value("proxy-authorization").is_none())),
        ("GET /a HTTP/1.1|Upgrade: h2c|Connection: upgrade, HTTP2-Settings|HTTP2-Settings: AAM||", "",
            Passed(|it| it.value("upgrade").is_none() && it.value("http2-settings").is_none())),
        ("GET /a HTTP/1.1|TE: trailers, deflate||", "", Passed(|it| it.value("te") == Some("trailers"))),
        ("GET /a HTTP/1.1|Range: bytes=1-2|If-None-Match: \"x\"||", "",
            Passed(|it| it.value("range") == Some("bytes=1-2") && it.value("if-none-match") == Some("\"x\""))),
        ("GET /a HTTP/1.1|X-Many: 1|X-Many: 2||", "", Passed(|it| it.values("x-many") == ["1", "2"])),
        ("GET /a HTTP/1.1|X-Bytes: \u{fc}||", "", Passed(|it| it.value("x-bytes") == Some("\u{fc}"))),
        ("HEAD /a HTTP/1.1||", "", Passed(|it| it.head.starts_with("HEAD /a HTTP/1.1"))),
        ("\r\nGET /a HTTP/1.1||", "", Passed(|it| it.head.starts_with("GET /a HTTP/1.1"))),
    ]
}

/// Adds `Host` and the cookies after the request line, and line ends.
fn written(head: &str, host: &str, cookies: &str) -> Vec<u8> {
    let (line, rest) = head.split_once('|').unwrap();
    let fetch = if head.contains("Sec-Fetch-Site") { "" } else { "Sec-Fetch-Site: same-origin\r\n" };
    let own = format!("Host: {host}\r\nCookie: {cookies}\r\n{fetch}");
    format!("{line}\r\n{own}{}", rest.replace('|', "\r\n")).into_bytes()
}

#[tokio::test]
async fn each_request_is_refused_or_passed_on_as_the_table_says() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    assert!(cases().len() >= 70);
    for (head, body, expected) in cases() {
        let count = app.received().len();
        let mut raw = Raw::connect(&server);
        raw.send(&written(head, &server.address(), &cookies));
        // A server that refuses a head may close the connection before the body arrives.
        let _ = raw.try_send(body.as_bytes());
        let answer = raw.read();
        let got = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        let new = app.received().split_off(count);
        match expected {
            Refused(status) => {
                assert_eq!(got, Some(status), "{head:?}: {answer}");
                assert!(new.is_empty(), "{head:?} reached the app: {new:?}");
            }
            Passed(check) => {
                assert_eq!(got, Some(200), "{head:?}: {answer}");
                assert_eq!(new.len(), 1, "{head:?}");
                assert!(check(&new[0]), "{head:?} arrived as {}{:?}", new[0].head, new[0].body);
            }
        }
    }
}

/// Whatever follows a request on the connection is no part of another caller's request.
#[tokio::test]
async fn no_bytes_after_a_request_reach_the_app_as_a_request_of_their_own() {
    let app = RecordingApp::start();
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        format!("POST /a HTTP/1.1|Content-Length: {}|Transfer-Encoding: chunked||", smuggled.len() + 5),
        "POST /a HTTP/1.1|Transfer-Encoding: chunked|Transfer-Encoding: identity||".to_owned(),
        format!("POST /a HTTP/1.1|Content-Length: 0|Content-Length: {}||", smuggled.len()),
        "GET /a HTTP/1.1|Upgrade: websocket|Connection: upgrade||".to_owned(),
        "POST /a HTTP/1.1|Transfer-Encoding: chunked||".to_owned(),
    ] {
        let mut raw = Raw::connect(&server);
        raw.send(&written(&head, &server.address(), &cookies));
        let _ = raw.try_send(format!("0\r\n\r\n{smuggled}").as_bytes());
        raw.read();
    }
    assert!(!app.received().iter().any(|request| request.head.contains("smuggled /smuggled")));
    assert!(
        !app.received().iter().any(|request| request.head.starts_with("GET /smuggled")),
        "{:?}",
        app.received()
    );
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let app = RecordingApp::answering(|request| {
        let path = request.head.split(' ').nth(1).unwrap().to_owned();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()).into_bytes()
    });
    let server = before(&app.url);
    let (_, cookies) = ada(&server).await;
    let request = |path: &str| written(&format!("GET {path} HTTP/1.1||"), &server.address(), &cookies);
    let mut raw = Raw::connect(&server);
    let mut all = Vec::new();
    for path in ["/1", "/2", "/auth/session", "/3"] {
        all.extend(request(path));
    }
    all.extend(written("GET /4 HTTP/1.1|Connection: close||", &server.address(), &cookies));
    raw.send(&all);
    let answers = raw.read_to_end();
    let order: Vec<usize> = ["\r\n\r\n/1", "\r\n\r\n/2", "\"id\":\"1\"", "\r\n\r\n/3", "\r\n\r\n/4"]
        .iter()
        .map(|part| answers.find(part).unwrap_or_else(|| panic!("{part} is missing: {answers}")))
        .collect();
    assert!(order.is_sorted(), "{answers}");
}

#[tokio::test]
async fn answers_of_an_app_are_passed_on_without_the_headers_of_its_connection() {
    let app = RecordingApp::answering(|request| {
        let path = request.head.split(' ').nth(1).unwrap();
        let answer = match path {
            "/chunks" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            }
            "/range" => {
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-3/9\r\nContent-Length: 3\r\n\r\nabc"
            }
            "/unmodified" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            "/empty" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/early" => {
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
            }
            "/old" => "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "/switch" => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: upgrade\r\n\r\n",
            "/broken" => "HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabc",
            "/noise" => "no http\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        };
        answer.as_bytes().to_vec()
    });
    let server = before(&app.url);
    let (browser, cookies) = ada(&server).await;
    for (path, status, body) in [
        ("/chunks", 200, "abc"),
        ("/range", 206, "abc"),
        ("/unmodified", 304, ""),
        ("/empty", 204, ""),
        ("/early", 200, "abc"),
        ("/old", 200, "abc"),
    ] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert!(!answer.headers().contains_key("x-hop"), "{path}");
        assert_eq!(answer.text().await.unwrap(), body, "{path}");
    }
    for path in ["/switch", "/broken", "/noise"] {
        assert_eq!(browser.get(path).await.status(), 502, "{path}");
    }
    let mut raw = Raw::connect(&server);
    raw.send(&written("HEAD /head HTTP/1.1|Connection: close||", &server.address(), &cookies));
    let answer = raw.read_to_end().to_lowercase();
    assert!(
        answer.starts_with("http/1.1 200")
            && answer.contains("content-length: 3\r\n")
            && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

/// A client that waits for `100 Continue` gets it after the app has asked for the body, and never if the app refuses first.
#[tokio::test]
async fn a_body_is_asked_for_when_the_app_asks_for_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = before(&format!("http://{}", listener.local_addr().unwrap()));
    let (_, cookies) = ada(&server).await;
    let head = "POST /a HTTP/1.1|Expect: 100-continue|Content-Length: 3||";
    for refuses in [false, true] {
        let mut raw = Raw::connect(&server);
        raw.send(&written(head, &server.address(), &cookies));
        let (mut app, _) = listener.accept().unwrap();
        use std::io::{Read as _, Write as _};
        let mut bytes = vec![0; 4096];
        let read = app.read(&mut bytes).unwrap();
        let arrived = String::from_utf8_lossy(&bytes[..read]).to_lowercase();
        assert!(arrived.contains("expect: 100-continue") && arrived.ends_with("\r\n\r\n"), "{arrived}");
        if refuses {
            app.write_all(
                b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            )
            .unwrap();
            let answer = raw.read();
            assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
            continue;
        }
        app.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        assert!(raw.read().starts_with("HTTP/1.1 100 Continue"));
        raw.send(b"abc");
        let read = app.read(&mut bytes).unwrap();
        assert_eq!(&bytes[..read], b"abc");
        app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        assert!(raw.read().starts_with("HTTP/1.1 200"));
    }
}
