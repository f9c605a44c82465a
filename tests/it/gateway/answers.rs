//! Answers of an app that are malformed, endless or too many: the client gets 502 or sees that the answer is incomplete, and no answer
//! reaches another request.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::Method;

use super::{ada, before, configured};
use crate::support::{
    app::RecordingApp,
    server::{Browser, eventually},
    system::resident,
};

/// An app that answers the request for `/good` with `good`, and every other one with the bytes of the case whose number is its path.
/// It closes each connection after its answer.
fn closing_app(cases: &[String]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cases = cases.to_vec();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 8192];
            let read = connection.read(&mut bytes).unwrap_or_default();
            let head = String::from_utf8_lossy(&bytes[..read]);
            let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
            let good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
            let answer = path.parse::<usize>().map_or(good, |at| cases[at].as_str());
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    url
}

async fn is_good(browser: &Browser) -> bool {
    let answer = browser.get("/good").await;
    answer.status() == 200 && answer.text().await.unwrap() == "good"
}

#[tokio::test]
async fn a_malformed_head_of_an_answer_is_502() {
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    let mut cases: Vec<String> = [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "\0\0\0\0",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ]
    .map(str::to_owned)
    .into();
    for headers in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3, 3",
        "Content-Length: -3",
        "Content-Length: +3",
        "Content-Length: 99999999999999999999",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Content-Length : 3",
        "X: a\r\n b",
        "X: a\rb",
        "X: a\0b",
        "X Y: a",
        ": a",
    ] {
        cases.push(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{chunks}"));
    }
    cases.push(format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
    cases.push(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: a\r\n".repeat(10_000)));
    cases.push(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(1 << 20)));
    let server = before(&closing_app(&cases));
    let (browser, _) = ada(&server).await;
    for (at, case) in cases.iter().enumerate() {
        let answer = browser.get(&format!("/{at}")).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 502, "{case:.200?}: {text:?}");
        assert!(is_good(&browser).await, "after {case:.200?}");
    }
}

#[tokio::test]
async fn a_body_that_is_malformed_or_too_short_does_not_look_complete() {
    let mut cases = vec!["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_owned()];
    for body in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcXX0\r\n\r\n",
        "3\r\nabc\r\n",
        "3\r\nabc\r\n0\r\n",
        "3\r\nab",
        "\r\n",
    ] {
        cases.push(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    }
    let endless = "a".repeat(1 << 20);
    for body in [format!("3;{endless}\r\nabc\r\n0\r\n\r\n"), format!("3\r\nabc\r\n0\r\nX: {endless}\r\n\r\n")]
    {
        cases.push(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    }
    let server = before(&closing_app(&cases));
    let (browser, cookies) = ada(&server).await;
    for (at, case) in cases.iter().enumerate() {
        let request = browser.client.get(format!("{}/{at}", server.origin)).header("cookie", &cookies);
        if let Ok(answer) = request.send().await {
            let status = answer.status();
            assert!(
                status == 502 || status == 200 && answer.bytes().await.is_err(),
                "{case:.200?}: {status}"
            );
        }
        assert!(is_good(&browser).await, "after {case:.200?}");
    }
}

#[tokio::test]
async fn bytes_after_an_answer_are_not_the_answer_to_another_request() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
    let app = RecordingApp::answering(move |request| {
        let answer = match request.head.split(' ').nth(1).unwrap() {
            "/none" => "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n",
            "/same" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
            "/chunks" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
        };
        format!("{answer}{evil}").into_bytes()
    });
    let server = before(&app.url);
    let (browser, _) = ada(&server).await;
    for at in 0..30 {
        for (method, path) in [
            (Method::GET, "/good"),
            (Method::HEAD, "/good"),
            (Method::GET, "/none"),
            (Method::GET, "/same"),
            (Method::GET, "/chunks"),
        ] {
            let answer = browser.send(browser.request(method.clone(), path)).await;
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            let expected = match (&method, path) {
                (&Method::HEAD, _) => (200, ""),
                (_, "/none") => (204, ""),
                (_, "/same") => (304, ""),
                _ => (200, "good"),
            };
            assert_eq!((status, text.as_str()), expected, "round {at}: {method} {path}");
        }
    }
}

/// An app that sends `beginning` and then `piece` again and again. Returns its address, and the number of bytes that were taken.
fn endless_app(beginning: &'static str, piece: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let send = move |mut connection: TcpStream| {
        let _ = connection.read(&mut [0; 8192]);
        let pieces = piece.repeat(65_536 / piece.len());
        let mut sent = connection.write_all(beginning.as_bytes());
        while sent.is_ok() {
            sent = connection.write_all(pieces.as_bytes());
            count.fetch_add(pieces.len(), Ordering::Relaxed);
        }
        count.store(usize::MAX, Ordering::Relaxed);
    };
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(send));
    (url, taken)
}

#[tokio::test]
async fn an_endless_head_is_given_up_with_flat_memory() {
    for (beginning, piece, status) in [
        ("HTTP/1.1 200 OK\r\n", "X-A: aaaaaaaaaaaaaaaaaaaaaaaa\r\n", 502),
        ("HTTP/1.1 200 OK\r\nX: ", "aaaaaaaa", 502),
        ("HTTP/1.1 200 ", "aaaaaaaa", 502),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n", 504),
    ] {
        let (url, taken) = endless_app(beginning, piece);
        let server = configured(&format!("[[upstream]]\nurl = '{url}'\nanswer_timeout = '2s'\n"));
        let (browser, _) = ada(&server).await;
        let before = resident(server.pid());
        let answer = browser.post("/a", serde_json::json!({})).await;
        assert_eq!(answer.status(), status, "{beginning:?} {piece:?}");
        let growth = resident(server.pid()).saturating_sub(before);
        assert!(growth < 8 << 10, "{growth} KiB of growth: {beginning:?} {piece:?}");
        eventually("the connection is closed", async || taken.load(Ordering::Relaxed) == usize::MAX).await;
    }
}
