//! The stream of a connection to the gateway. It hands bytes to hyper one request at a time, as [`super::intake`] does to
//! actix-http, so that each head is checked as it was sent, and it has the limits of time and memory.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::http::wire::memory_budget::MemoryBudget;

/// The bytes of a head that each connection can hold without taking from the budget that all connections share.
const FREE: usize = 16 << 10;

/// The most bytes of the next request that are read while a request is being answered.
const AHEAD: usize = 8 << 10;

/// The longest head. The two cookies take up to 8 KiB.
pub(super) const LONGEST_HEAD: usize = 48 << 10;

/// The time in which a request's head must arrive, from its first byte.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The time that a connection stays open without a request. It is longer than in common proxies (nginx: 60 s).
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Time without progress after which a client that does not read its answer is disconnected. A browser that plays a film reads
/// nothing for some seconds at a time.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// The part of a request that the next bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No byte of the next head has arrived.
    Idle,
    /// A part of the head has arrived.
    Head,
    /// The head is complete and handed over.
    HeadDone,
    /// So many bytes of the body are missing.
    Body(u64),
    /// A body in chunks, whose end only hyper knows. The connection is closed after the answer.
    Chunks,
    /// The request has arrived, and its answer is not yet sent.
    Answering,
    /// The connection was upgraded.
    Tunnel,
}

/// The body that a head announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// So many bytes; 0 for a request without a body.
    Length(u64),
    Chunks,
}

/// The state of a connection, which its stream and its requests share.
#[derive(Debug)]
pub(super) struct State {
    phase: Phase,
    /// Whether the answer was sent before the body had arrived.
    answered: bool,
    /// Whether the last head has more than one header that states the length of the body.
    ambiguous: bool,
    /// The time by which the connection is closed if its phase does not end.
    due: Instant,
    /// The bytes that were taken from the budget for the present head.
    taken: usize,
    held: usize,
    budget: Arc<MemoryBudget>,
    /// Wakes the task that reads, which waits for the end of a request without waiting for the socket.
    reader: Option<Waker>,
}

/// The handle of a connection's state.
#[derive(Clone, Debug)]
pub(super) struct Connection(Arc<Mutex<State>>);

impl Connection {
    fn new(budget: Arc<MemoryBudget>) -> Self {
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Idle,
            answered: false,
            ambiguous: false,
            due: Instant::now() + HEAD_TIME,
            taken: 0,
            held: 0,
            budget,
            reader: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request, whose head hyper has parsed. Returns whether the length of its body is ambiguous.
    pub(super) fn begin(&self, announced: Announced) -> bool {
        let mut state = self.state();
        state.give_back();
        state.phase = match announced {
            Announced::Length(0) => Phase::Answering,
            Announced::Length(length) => Phase::Body(length),
            Announced::Chunks => Phase::Chunks,
        };
        state.answered = false;
        std::mem::take(&mut state.ambiguous)
    }

    /// Ends a request: its answer is sent, or given up.
    pub(super) fn end(&self) {
        let mut state = self.state();
        match state.phase {
            Phase::Body(_) => state.answered = true,
            Phase::Tunnel | Phase::Chunks => {}
            _ => state.become_idle(),
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Passes all bytes on from now on.
    pub(super) fn open_tunnel(&self) {
        self.state().phase = Phase::Tunnel;
    }
}

impl State {
    fn become_idle(&mut self) {
        self.phase = Phase::Idle;
        self.due = Instant::now() + KEEP_ALIVE;
    }

    /// Counts bytes of a head. Returns `false` if the budget is used up or the head is too long.
    fn add(&mut self, bytes: usize) -> bool {
        self.held += bytes;
        let wanted = self.held.saturating_sub(FREE);
        if wanted > self.taken {
            if self.held > 2 * LONGEST_HEAD || !self.budget.take(wanted - self.taken) {
                return false;
            }
            self.taken = wanted;
        }
        true
    }

    fn give_back(&mut self) {
        self.budget.give_back(self.taken);
        (self.taken, self.held) = (0, 0);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Whether a head has more than one header that states the length of the body (RFC 9112, section 6.3): a proxy and an app could
/// take different ends of it.
fn is_ambiguous(head: &[u8]) -> bool {
    let states_length = |line: &[u8]| {
        let name = &line[..memchr::memchr(b':', line).unwrap_or(line.len())];
        let name = name.trim_ascii();
        name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
    };
    // Each line is looked at alone, so that a head of many lines without a colon costs no more than another one.
    let mut start = 0;
    let lines = memchr::memchr_iter(b'\n', head).chain([head.len()]);
    lines.filter(|end| states_length(&head[std::mem::replace(&mut start, end + 1)..*end])).count() > 1
}

/// The length of `bytes` up to the end of the head, an empty line, if the head ends in them. `before` are earlier bytes of the head.
fn end_of_head(before: &[u8], bytes: &[u8]) -> Option<usize> {
    let mut last: [u8; 3] = [0; 3];
    let tail = &before[before.len().saturating_sub(3)..];
    last[3 - tail.len()..].copy_from_slice(tail);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' && (last[2] == b'\n' || last[1] == b'\n' && last[2] == b'\r') {
            return Some(at + 1);
        }
        last = [last[1], last[2], *byte];
    }
    None
}

type Timer = Option<Pin<Box<Sleep>>>;

/// Whether the time is over. If it is not yet, the task is woken when it is.
fn has_expired(timer: &mut Timer, due: Instant, context: &mut Context<'_>) -> bool {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
    if timer.deadline() != due {
        timer.as_mut().reset(due);
    }
    timer.as_mut().poll(context).is_ready()
}

/// The stream of a connection.
pub(super) struct Gate<IO> {
    io: IO,
    connection: Connection,
    /// The bytes of the present head.
    head: Vec<u8>,
    /// Bytes that follow the present request.
    kept: Vec<u8>,
    read_timer: Timer,
    write_timer: Timer,
    /// The time by which the client must have read something of the answer.
    write_due: Option<Instant>,
}

impl<IO> Gate<IO> {
    pub(super) fn new(io: IO, budget: &Arc<MemoryBudget>) -> Self {
        let connection = Connection::new(Arc::clone(budget));
        let (head, kept) = (Vec::new(), Vec::new());
        Self { io, connection, head, kept, read_timer: None, write_timer: None, write_due: None }
    }

    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Decides how many of the new bytes in `buf`, which begin at `before`, are handed over, and keeps the others for later. Returns
    /// `false` if the connection must be closed.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        let connection = self.connection.clone();
        let mut state = connection.state();
        let bytes = &buf.filled()[before..];
        let now = match state.phase {
            Phase::Chunks | Phase::Tunnel => bytes.len(),
            Phase::Body(left) => {
                let now = usize::try_from(left).map_or(bytes.len(), |left| bytes.len().min(left));
                state.phase = match left - now as u64 {
                    0 => Phase::Answering,
                    left => Phase::Body(left),
                };
                if state.phase == Phase::Answering && state.answered {
                    state.become_idle();
                }
                now
            }
            Phase::Answering => 0,
            Phase::Idle | Phase::Head | Phase::HeadDone => {
                if state.phase != Phase::Head {
                    // After a complete head hyper reads on only if it was an empty line before a request.
                    self.head.clear();
                    state.phase = Phase::Head;
                    state.due = Instant::now() + HEAD_TIME;
                }
                let end = end_of_head(&self.head, bytes);
                let now = end.unwrap_or(bytes.len());
                if !state.add(now) {
                    return false;
                }
                self.head.extend_from_slice(&bytes[..now]);
                if end.is_some() {
                    state.phase = Phase::HeadDone;
                    state.ambiguous = is_ambiguous(&self.head);
                    self.head.clear();
                }
                now
            }
        };
        let later = bytes[now..].to_vec();
        self.kept.splice(..0, later);
        buf.set_filled(before + now);
        true
    }
}

impl<IO: AsyncRead + Unpin> Gate<IO> {
    /// Reads ahead while a request is being answered, to learn of the end of the connection. Returns whether it has ended.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.kept.len() < AHEAD {
            let mut bytes = [0; 1024];
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.io).poll_read(context, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => self.kept.extend_from_slice(buf.filled()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Gate<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (phase, due) = {
            let mut state = this.connection.state();
            if state.phase == Phase::Answering {
                state.reader = Some(context.waker().clone());
            }
            (state.phase, state.due)
        };
        if phase == Phase::Answering {
            return this.poll_end(context);
        }
        let before = buf.filled().len();
        if !this.kept.is_empty() {
            let kept = std::mem::take(&mut this.kept);
            let (now, later) = kept.split_at(kept.len().min(buf.remaining()));
            buf.put_slice(now);
            this.kept = later.to_vec();
        } else {
            match Pin::new(&mut this.io).poll_read(context, buf) {
                Poll::Pending => {
                    let waits_for_head = matches!(phase, Phase::Idle | Phase::Head | Phase::HeadDone);
                    let expired = waits_for_head && has_expired(&mut this.read_timer, due, context);
                    return if expired { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
        }
        if buf.filled().len() > before && !this.hand_over(buf, before) {
            buf.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO> Gate<IO> {
    /// Lets a write fail if the client has read nothing for [`WRITE_TIME`].
    fn fail_stalled_write<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_due = None;
            return written;
        }
        let due = *self.write_due.get_or_insert_with(|| Instant::now() + WRITE_TIME);
        match has_expired(&mut self.write_timer, due, context) {
            true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            false => Poll::Pending,
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Gate<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(context, bytes);
        this.fail_stalled_write(written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(context);
        this.fail_stalled_write(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(context, bytes);
        this.fail_stalled_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn gate() -> (tokio::io::DuplexStream, Gate<tokio::io::DuplexStream>, Connection) {
        let (client, server) = duplex(1 << 16);
        let gate = Gate::new(server, &Arc::new(MemoryBudget::new(1 << 20)));
        let connection = gate.connection();
        (client, gate, connection)
    }

    async fn read(gate: &mut Gate<tokio::io::DuplexStream>) -> String {
        let mut bytes = vec![0; 1 << 16];
        let read = gate.read(&mut bytes).await.unwrap();
        String::from_utf8(bytes[..read].to_vec()).unwrap()
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    #[tokio::test]
    async fn requests_are_handed_over_one_by_one() {
        let (mut client, mut gate, connection) = gate();
        client
            .write_all(format!("{GET}{GET}POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc{GET}").as_bytes())
            .await
            .unwrap();
        for _ in 0..2 {
            assert_eq!(read(&mut gate).await, GET);
            assert!(!connection.begin(Announced::Length(0)));
            connection.end();
        }
        assert!(read(&mut gate).await.starts_with("POST"));
        connection.begin(Announced::Length(3));
        assert_eq!(read(&mut gate).await, "abc");
        connection.end();
        assert_eq!(read(&mut gate).await, GET);
    }

    #[tokio::test]
    async fn a_body_that_arrives_after_its_answer_is_not_taken_for_a_request() {
        let (mut client, mut gate, connection) = gate();
        client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab").await.unwrap();
        read(&mut gate).await;
        connection.begin(Announced::Length(5));
        assert_eq!(read(&mut gate).await, "ab");
        connection.end();
        client
            .write_all(format!("\n\ncContent-Length: 1\r\nContent-Length: 2\r\n{GET}").as_bytes())
            .await
            .unwrap();
        assert_eq!(read(&mut gate).await, "\n\nc");
        assert!(read(&mut gate).await.ends_with(GET));
    }

    #[tokio::test]
    async fn the_end_of_the_connection_is_seen_while_a_request_is_answered() {
        let (client, mut gate, connection) = gate();
        let mut client = client;
        client.write_all(GET.as_bytes()).await.unwrap();
        read(&mut gate).await;
        connection.begin(Announced::Length(0));
        drop(client);
        assert_eq!(read(&mut gate).await, "");
    }

    #[tokio::test]
    async fn two_headers_that_state_the_length_are_ambiguous_wherever_the_head_is_cut() {
        let lengths =
            ["Content-Length: 1\r\nContent-Length: 1", "content-length: 1\r\nTransfer-Encoding : chunked"];
        for (headers, ambiguous) in
            lengths.map(|it| (it, true)).into_iter().chain([("Content-Length: 1\r\nX: 2", false)])
        {
            let head = format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n");
            for cut in [1, 20, 40, head.len() - 1] {
                let (mut client, mut gate, connection) = gate();
                client.write_all(&head.as_bytes()[..cut]).await.unwrap();
                let mut got = read(&mut gate).await;
                client.write_all(&head.as_bytes()[cut..]).await.unwrap();
                got += &read(&mut gate).await;
                assert_eq!(got, head);
                assert_eq!(connection.begin(Announced::Length(1)), ambiguous, "{head:?} {cut}");
            }
        }
    }

    #[test]
    fn a_head_ends_with_an_empty_line_wherever_it_is_cut() {
        for head in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n", "a\r\nb\n\r\n"] {
            let bytes = format!("{head}GET /next");
            for cut in 0..head.len() {
                let (before, after) = bytes.as_bytes().split_at(cut);
                assert_eq!(end_of_head(&[], before), None, "{head:?} {cut}");
                assert_eq!(end_of_head(before, after), Some(head.len() - cut), "{head:?} {cut}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_arrive_in_time_ends_the_connection() {
        let (mut client, mut gate, _) = gate();
        client.write_all(b"GET / HT").await.unwrap();
        assert_eq!(read(&mut gate).await, "GET / HT");
        let begun = Instant::now();
        assert_eq!(read(&mut gate).await, "");
        assert!(begun.elapsed() >= HEAD_TIME && begun.elapsed() < KEEP_ALIVE);
    }

    #[test]
    fn a_head_that_states_the_length_twice_is_ambiguous() {
        for (lines, ambiguous) in [
            ("Content-Length: 1\r\n", false),
            ("no colon\r\nContent-Length: 1\r\n", false),
            ("Content-Length: 1\r\nno colon\r\ncontent-length : 1\r\n", true),
            ("Transfer-Encoding: chunked\nno colon\nContent-Length: 1\n", true),
        ] {
            assert_eq!(
                is_ambiguous(format!("POST / HTTP/1.1\r\n{lines}\r\n").as_bytes()),
                ambiguous,
                "{lines}"
            );
        }
    }
}
