//! Upgraded connections (WebSocket): bytes pass both ways until one side closes or the session of the caller ends.

use std::io;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use super::body::Ended;

/// The bytes that are under way in each direction.
const BUFFER: usize = 4 << 10;

/// The way in which a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelEnd {
    /// One side closed it, or its connection broke off.
    Closed,
    /// The session of the caller has ended.
    SessionEnded,
}

/// Joins the connection of a client with that of the app, after the app has answered 101.
pub(crate) async fn join(
    client: OnUpgrade,
    app: OnUpgrade,
    opened: impl FnOnce(),
    ended: Option<Ended>,
) -> TunnelEnd {
    let (Ok(client), Ok(app)) = futures_util::future::join(client, app).await else {
        return TunnelEnd::Closed;
    };
    opened();
    let copying = copy(client, app);
    match ended {
        None => {
            // An error ends the tunnel as a close does: both connections are dropped.
            let _ = copying.await;
            TunnelEnd::Closed
        }
        Some(ended) => tokio::select! {
            _ = copying => TunnelEnd::Closed,
            () = ended => TunnelEnd::SessionEnded,
        },
    }
}

async fn copy(client: Upgraded, app: Upgraded) -> io::Result<(u64, u64)> {
    copy_bidirectional_with_sizes(&mut TokioIo::new(client), &mut TokioIo::new(app), BUFFER, BUFFER).await
}
