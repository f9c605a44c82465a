//! The stream of a connection to an app.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// A connection to an app.
///
/// An app that refuses an upload (413) answers and closes the connection, so that the next write fails. hyper would then give up
/// without reading the answer. So after a failed write this stream discards what is written, until everything is read.
pub(crate) struct AppStream {
    stream: Box<dyn Duplex>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A write has failed; there can be bytes to read.
    Discarding,
    /// A write has failed, and everything is read.
    Ended,
}

trait Duplex: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Duplex for T {}

impl AppStream {
    pub(super) fn new(stream: impl Read + Write + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), state: State::Open }
    }

    /// Writes by `write`, or discards `bytes` bytes.
    fn write(
        &mut self,
        bytes: usize,
        write: impl FnOnce(Pin<&mut dyn Duplex>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match self.state {
            State::Ended => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            State::Discarding => Poll::Ready(Ok(bytes)),
            State::Open => match ready!(write(Pin::new(&mut *self.stream))) {
                Err(error) if is_closed(&error) => {
                    self.state = State::Discarding;
                    Poll::Ready(Ok(bytes))
                }
                written => Poll::Ready(written),
            },
        }
    }
}

/// Whether a write failed because the other side has closed the connection.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

impl Connection for AppStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for AppStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.state == State::Open {
            return Pin::new(&mut *self.stream).poll_read(context, buf);
        }
        let mut bytes = [0; 1024];
        let size = bytes.len().min(buf.remaining());
        let mut own = ReadBuf::new(&mut bytes[..size]);
        let read = ready!(Pin::new(&mut *self.stream).poll_read(context, own.unfilled()));
        if read.is_err() || own.filled().is_empty() {
            self.state = State::Ended;
        }
        buf.put_slice(own.filled());
        Poll::Ready(read)
    }
}

impl Write for AppStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(bytes.len(), |stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Open => Pin::new(&mut *self.stream).poll_flush(context),
            State::Discarding | State::Ended => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bytes.iter().map(|slice| slice.len()).sum();
        self.write(length, |stream| stream.poll_write_vectored(context, bytes))
    }
}
