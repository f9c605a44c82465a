//! Upgraded connections (WebSocket): bytes pass both ways until one side closes or the session of the caller ends.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::Ended;

/// The bytes that are read at once. They are on the stack, so a connection without traffic has no buffer.
const PIECE: usize = 8 << 10;

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
    let (mut client, mut app) = (TokioIo::new(client), TokioIo::new(app));
    let copying = copy(&mut client, &mut app);
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

/// Copies both ways until both sides have ended. The end of one side is passed on to the other one.
async fn copy<A, B>(one: &mut A, other: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Direction::default(), Direction::default());
    poll_fn(|context| {
        let there = there.poll_copy(one, other, context)?;
        let back = back.poll_copy(other, one, context)?;
        if there.is_ready() && back.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One direction of a tunnel.
#[derive(Debug, Default)]
struct Direction {
    /// Bytes that the receiver has not yet taken.
    left: Vec<u8>,
    /// The number of bytes of `left` that the receiver has taken.
    taken: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The sender has ended, and the receiver does not know it yet.
    Ending,
    Ended,
}

impl Direction {
    /// Copies as much as possible. Ready when the end of the sender has been passed on.
    fn poll_copy<R, W>(&mut self, from: &mut R, to: &mut W, context: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut is_flushed = true;
        while self.phase == Phase::Open {
            is_flushed &= self.left.is_empty();
            ready!(self.poll_write_left(to, context))?;
            let mut piece = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut *from).poll_read(context, &mut piece)? {
                Poll::Ready(()) if piece.filled().is_empty() => self.phase = Phase::Ending,
                Poll::Ready(()) => {
                    is_flushed = false;
                    self.write(piece.filled(), to, context)?;
                }
                Poll::Pending => {
                    if !is_flushed {
                        ready!(Pin::new(&mut *to).poll_flush(context))?;
                    }
                    return Poll::Pending;
                }
            }
        }
        if self.phase == Phase::Ending {
            ready!(self.poll_write_left(to, context))?;
            ready!(Pin::new(&mut *to).poll_shutdown(context))?;
            self.phase = Phase::Ended;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what the receiver takes at once, and keeps the rest.
    fn write<W>(&mut self, bytes: &[u8], to: &mut W, context: &mut Context<'_>) -> io::Result<()>
    where
        W: AsyncWrite + Unpin,
    {
        let taken = match Pin::new(to).poll_write(context, bytes)? {
            Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(taken) => taken,
            Poll::Pending => 0,
        };
        self.left = bytes[taken..].to_vec();
        Ok(())
    }

    /// Writes the bytes that were kept, and frees their memory.
    fn poll_write_left<W>(&mut self, to: &mut W, context: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while self.taken < self.left.len() {
            let taken = ready!(Pin::new(&mut *to).poll_write(context, &self.left[self.taken..]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.taken += taken;
        }
        (self.left, self.taken) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_through_narrow_connections_and_each_end_is_passed_on() {
        let ((client, mut one), (mut other, app)) = (duplex(7), duplex(1000));
        let copying = tokio::spawn(async move { copy(&mut one, &mut other).await });
        let sent = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect::<Vec<_>>();
        let ((mut from_client, mut to_client), (mut from_app, mut to_app)) =
            (tokio::io::split(client), tokio::io::split(app));
        let (up, down) = (sent.clone(), sent[..50_000].to_vec());
        let sends = async {
            to_client.write_all(&up).await.unwrap();
            to_client.shutdown().await.unwrap();
        };
        let answers = async {
            to_app.write_all(&down).await.unwrap();
            // The client has ended, and the app still sends.
            let mut arrived = Vec::new();
            from_app.read_to_end(&mut arrived).await.unwrap();
            to_app.write_all(b"the end").await.unwrap();
            to_app.shutdown().await.unwrap();
            arrived
        };
        let reads = async {
            let mut arrived = Vec::new();
            from_client.read_to_end(&mut arrived).await.unwrap();
            arrived
        };
        let ((), at_app, at_client) = tokio::join!(sends, answers, reads);
        assert!(at_app == sent && at_client == [&sent[..50_000], b"the end"].concat());
        copying.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_breaks_off_ends_the_tunnel() {
        let ((client, mut one), (mut other, mut app)) = (duplex(10), duplex(10));
        let copying = tokio::spawn(async move { copy(&mut one, &mut other).await });
        drop(client);
        app.write_all(b"more than fits into the connection").await.unwrap_err();
        assert!(copying.await.unwrap().is_err());
    }
}
