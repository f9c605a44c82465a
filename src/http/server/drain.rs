//! Before a shutdown, waits until the connections that were already made are accepted.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// The longest time to wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns when a worker has accepted the connections that were made before the call.
///
/// A server that stops drops the connections that still wait to be accepted, although their requests are already sent. Connections
/// are accepted in the order in which they were made and distributed to the workers in turn. So this function makes connections of
/// its own: when they are answered, all earlier connections have been accepted.
pub async fn drain(listens: SocketAddr, workers: usize) {
    let own = (0..2 * workers).map(|_| timeout(PATIENCE, send_probe(listens)));
    join_all(own).await;
}

/// Makes one connection. If the listener expects TLS, the request is invalid, but it is still answered.
async fn send_probe(listens: SocketAddr) -> io::Result<()> {
    let mut connection = TcpStream::connect(listens).await?;
    connection.write_all(b"GET /health/live HTTP/1.0\r\n\r\n").await?;
    connection.read(&mut [0]).await.map(drop)
}
