//! A proxy between a program and its database that simulates network faults.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::installation::millis;

/// The states of a [`Proxy`]. `OPEN`: it passes everything on.
pub const OPEN: u8 = 0;
/// It drops everything, and the connections stay open.
pub const SILENT: u8 = 1;
/// It passes requests on and drops the answers.
pub const MUTE: u8 = 2;
/// It closes connections and refuses new ones.
pub const CUT: u8 = 3;

/// A proxy that simulates network faults.
pub struct Proxy {
    pub url: String,
    state: Arc<AtomicU8>,
}

impl Proxy {
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (scheme, rest) = url.split_once("://").unwrap();
        let (user, rest) = rest.split_once('@').unwrap();
        let (server, name) = rest.split_once('/').unwrap();
        let (state, server) = (Arc::new(AtomicU8::new(OPEN)), server.to_owned());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.load(Ordering::SeqCst) == CUT {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, Arc::clone(&shared), &[SILENT]));
                tokio::spawn(pass(from_server, to_client, Arc::clone(&shared), &[SILENT, MUTE]));
            }
        });
        Self { url: format!("{scheme}://{user}@127.0.0.1:{port}/{name}"), state }
    }

    pub fn be(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    state: Arc<AtomicU8>,
    swallows: &'static [u8],
) {
    let mut bytes = vec![0; 16_384];
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read,
            () = tokio::time::sleep(millis(5)) => match state.load(Ordering::SeqCst) {
                CUT => return,
                _ => continue,
            },
        };
        let Ok(read @ 1..) = read else { return };
        // A connection that has lost bytes cannot be used any more, so it stays silent until it is cut.
        if swallows.contains(&state.load(Ordering::SeqCst)) {
            while state.load(Ordering::SeqCst) != CUT {
                tokio::time::sleep(millis(20)).await;
            }
            return;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
