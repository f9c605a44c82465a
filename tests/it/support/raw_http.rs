//! Sends HTTP as raw bytes, for requests that no client would send.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use super::server::Server;

/// A connection.
pub struct Raw {
    stream: TcpStream,
    host: String,
}

impl Raw {
    pub fn connect(server: &Server) -> Self {
        Self::connect_to(&server.address())
    }

    pub fn connect_to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream, host: address.to_owned() }
    }

    /// Sends the head of a request; each line of `headers` ends with a line break.
    pub fn head(&mut self, line: &str, headers: &str) {
        let head = format!("{line} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.host);
        self.send(head.as_bytes());
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// The same, but returns an error if the other side has closed the connection.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads what has arrived, which is usually one head.
    pub fn read(&mut self) -> String {
        let mut bytes = [0; 4096];
        let length = self.stream.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// Reads until the other side closes the connection; a reset counts as closed.
    pub fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "not closed: {error}");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
