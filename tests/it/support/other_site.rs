//! Serves pages of another site for tests, at another port or host.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

/// Serves `body` as HTML to every request until the tests end; returns the port on 127.0.0.1. `http://127.0.0.1:PORT` is another
/// site than `http://localhost`; `http://localhost:PORT` is the same site but another origin.
pub fn serves(body: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let body = body.clone();
            // A separate thread for each connection, because a browser opens connections that it may never use.
            std::thread::spawn(move || {
                let mut stream = stream;
                if !matches!(stream.read(&mut [0; 8192]), Ok(1..)) {
                    return;
                }
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length:";
                let _ = write!(stream, "{head} {}\r\n\r\n{body}", body.len());
            });
        }
    });
    port
}

/// Serves a page with a link `go` to `url`; returns the port.
pub fn links_to(url: &str) -> u16 {
    serves(format!("<!doctype html><title>elsewhere</title><a href=\"{url}\">go</a>"))
}
