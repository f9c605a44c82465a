//! Before the end: whoever came in time is let in.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long this may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns when the connections that were made before are in the hands of a worker.
///
/// A server that stops drops those that still wait to be accepted, though their requests are sent. They are accepted in
/// the order they came and dealt out in turn: when some of our own have been answered, all before them are in.
pub async fn drain(listens: SocketAddr, workers: usize) {
    let own = (0..2 * workers).map(|_| timeout(PATIENCE, knock(listens)));
    join_all(own).await;
}

/// One of our own; where TLS is spoken this is nonsense, and answered as such.
async fn knock(listens: SocketAddr) -> io::Result<()> {
    let mut connection = TcpStream::connect(listens).await?;
    connection.write_all(b"GET /health/live HTTP/1.0\r\n\r\n").await?;
    connection.read(&mut [0]).await.map(drop)
}
