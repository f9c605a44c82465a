//! Limits the memory that incomplete requests hold: bytes that a client has sent and that no answered request has used up.
//!
//! actix-http buffers up to 128 KiB of a request's head and 32 KiB of its body per connection, and has no setting for it.
//! [`Metered`] is the stream under a connection. It counts the bytes that the connection holds. The first [`FREE`] bytes of each
//! connection are free; the bytes above them are taken from a [`MemoryBudget`] that all connections share. When the budget is used up, a
//! connection that needs more reads an end of file and is closed.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::http::wire::memory_budget::MemoryBudget;

/// The bytes that each connection can hold without taking from the budget. A request with both cookies has 1 to 3 KiB.
const FREE: usize = 16 << 10;

/// The most bytes that a connection takes from the budget. When its buffers are full, actix-http stops reading or discards the
/// bytes.
const MOST: usize = (128 + 32 + 8) << 10;

/// The time in which a request's head must arrive, from its first byte. (actix-http measures it for the first request only.)
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Time without progress after which a client that does not read its answer is disconnected.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// Bytes that actix-http allocates for each head that it has parsed and not yet served.
const PARSED_HEAD: usize = 7 << 10;

/// The bytes that one connection holds.
#[derive(Debug)]
pub(crate) struct Intake {
    budget: Arc<MemoryBudget>,
    /// The bytes that were read and not yet used up by an answered request.
    held: Cell<usize>,
    /// The bytes that were taken from the budget.
    taken: Cell<usize>,
    /// The bytes that were taken from the budget for heads that actix-http may have parsed behind a body in chunks.
    parsed: Cell<usize>,
    /// The bytes that were read and are kept from actix-http until the present request is answered.
    kept: Cell<usize>,
    /// The bytes after the present head that actix-http has: its body, or the begin of the next head.
    ahead: Cell<usize>,
    /// The body of the request that is being served; `None` if no request is.
    serving: Cell<Option<Body>>,
    /// The time by which the arriving head must be complete.
    due: Cell<Option<Instant>>,
    /// Wakes the task that reads, which waits for the end of a request without waiting for the socket.
    reader: RefCell<Option<Waker>>,
}

/// What is left of a request's body on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes; 0 for a request without a body.
    Left(u64),
    /// Unknown: chunks, or an upgraded connection. The connection is closed after the answer.
    Unknown,
}

impl Intake {
    fn new(budget: Arc<MemoryBudget>) -> Self {
        Self {
            budget,
            held: Cell::new(0),
            taken: Cell::new(0),
            parsed: Cell::new(0),
            kept: Cell::new(0),
            ahead: Cell::new(0),
            serving: Cell::new(None),
            due: Cell::new(None),
            reader: RefCell::new(None),
        }
    }

    /// Counts bytes that were read. Returns `false` if the budget is used up.
    fn add(&self, bytes: usize) -> bool {
        let held = self.held.get() + bytes;
        let (wanted, taken) = (held.saturating_sub(FREE).min(MOST), self.taken.get());
        if wanted > taken {
            if !self.budget.take(wanted - taken) {
                return false;
            }
            self.taken.set(wanted);
        }
        self.held.set(held);
        true
    }

    /// Takes the memory of heads that actix-http may parse from the budget, all of it. Returns `false` if the budget is used up.
    fn add_parsed(&self, heads: usize) -> bool {
        let bytes = heads * PARSED_HEAD;
        let taken = self.budget.take(bytes);
        if taken {
            self.parsed.set(self.parsed.get() + bytes);
        }
        taken
    }

    /// Notes that bytes of a head are handed to actix-http.
    fn arrives(&self) {
        if self.serving.get().is_none() && self.due.get().is_none() {
            self.due.set(Some(Instant::now() + HEAD_TIME));
        }
    }

    /// Notes that a head is complete and its request is being served.
    pub(crate) fn begin(&self, body: Body) {
        let ahead = self.ahead.take();
        self.serving.set(Some(match body {
            Body::Left(length) => {
                let read = usize::try_from(length).map_or(ahead, |length| length.min(ahead));
                self.ahead.set(ahead - read);
                Body::Left(length - read as u64)
            }
            Body::Unknown => Body::Unknown,
        }));
        self.due.set(None);
    }

    /// Ends the request. What the connection still holds are bytes of the next one.
    pub(crate) fn end(&self) {
        let held = self.kept.get() + self.ahead.get();
        let (wanted, taken) = (held.saturating_sub(FREE).min(MOST), self.taken.get());
        self.budget.give_back(taken.saturating_sub(wanted));
        self.taken.set(taken.min(wanted));
        self.held.set(held);
        self.serving.set(None);
        if self.ahead.get() > 0 {
            self.due.set(Some(Instant::now() + HEAD_TIME));
        }
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // Parsed heads are freed with the connection, which is closed after a body in chunks.
        self.budget.give_back(self.taken.get() + self.parsed.get());
    }
}

/// The stream of a connection. Counts the bytes that are read from it, and hands them to actix-http one request at a time: the next
/// head when the present request is answered. actix-http would parse all heads in its buffer at once, and each parsed head takes
/// [`PARSED_HEAD`] bytes of memory for the 20 bytes that a short one has.
pub(crate) struct Metered<IO> {
    io: IO,
    /// `None` for HTTP/2, which limits its streams by its own windows.
    intake: Option<Rc<Intake>>,
    /// Bytes that follow the present request.
    kept: Vec<u8>,
    /// How far the end of a head has been found.
    line_end: LineEnd,
    /// A complete head was handed over; actix-http parses it when this stream has nothing more to read.
    parses: bool,
    read_timer: Timer,
    write_timer: Timer,
    /// The time by which the client must have read something of the answer.
    write_due: Option<Instant>,
}

type Timer = Option<Pin<Box<Sleep>>>;

/// The last bytes of the head so far. A head ends with an empty line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    No,
    /// A line has ended.
    Lf,
    /// A carriage return follows the end of a line.
    LfCr,
}

impl LineEnd {
    /// Returns the length of `bytes` up to the end of the head, if the head ends in them.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            *self = match (*self, byte) {
                (Self::Lf | Self::LfCr, b'\n') => {
                    *self = Self::No;
                    return Some(at + 1);
                }
                (Self::Lf, b'\r') => Self::LfCr,
                (_, b'\n') => Self::Lf,
                _ => Self::No,
            };
        }
        None
    }

    /// The number of empty lines in `bytes`.
    fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut found = 0;
        while let Some(end) = self.find(bytes) {
            bytes = &bytes[end..];
            found += 1;
        }
        found
    }
}

impl<IO> Metered<IO> {
    pub(crate) fn new(io: IO, budget: &Arc<MemoryBudget>) -> Self {
        let intake = Some(Rc::new(Intake::new(Arc::clone(budget))));
        Self { intake, ..Self::unmetered(io) }
    }

    pub(crate) fn unmetered(io: IO) -> Self {
        Self {
            io,
            intake: None,
            kept: Vec::new(),
            line_end: LineEnd::No,
            parses: false,
            read_timer: None,
            write_timer: None,
            write_due: None,
        }
    }

    pub(crate) fn intake(&self) -> Option<&Rc<Intake>> {
        self.intake.as_ref()
    }

    /// Decides how many of the new bytes in `buf`, which begin at `before`, are handed over, and keeps the others. Returns `false` if
    /// the budget is used up.
    fn hand_over(&mut self, intake: &Intake, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        let bytes = &buf.filled()[before..];
        let now = match intake.serving.get() {
            None => {
                intake.arrives();
                let end = self.line_end.find(bytes);
                self.parses = end.is_some();
                match end.map(|end| (end, &bytes[end..])) {
                    None => bytes.len(),
                    // More than one head may be here, or a body with an empty line.
                    Some((end, after)) if LineEnd::No.find(after).is_some() => {
                        intake.ahead.set(0);
                        end
                    }
                    Some((_, after)) => {
                        self.line_end.find(after);
                        intake.ahead.set(after.len());
                        bytes.len()
                    }
                }
            }
            Some(Body::Left(left)) => {
                let now = usize::try_from(left).map_or(bytes.len(), |left| bytes.len().min(left));
                intake.serving.set(Some(Body::Left(left - now as u64)));
                now
            }
            Some(Body::Unknown) => {
                // What follows the body can't be told from it, so each empty line may be the end of a head.
                let heads = self.line_end.count(bytes);
                if !intake.add_parsed(heads) {
                    return false;
                }
                bytes.len()
            }
        };
        self.kept.extend_from_slice(&bytes[now..]);
        intake.kept.set(self.kept.len());
        buf.set_filled(before + now);
        true
    }

    /// Hands over bytes that were kept. They are counted already.
    fn take_kept(&mut self, intake: &Intake, buf: &mut ReadBuf<'_>) -> bool {
        let before = buf.filled().len();
        let kept = std::mem::take(&mut self.kept);
        let (now, later) = kept.split_at(kept.len().min(buf.remaining()));
        buf.put_slice(now);
        let handed_over = self.hand_over(intake, buf, before);
        self.kept.extend_from_slice(later);
        intake.kept.set(self.kept.len());
        handed_over
    }
}

/// Whether the time is over. If it is not yet, the task is woken when it is.
fn has_expired(timer: &mut Timer, due: Option<Instant>, context: &mut Context<'_>) -> bool {
    let Some(due) = due else { return false };
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
    if timer.deadline() != due {
        timer.as_mut().reset(due);
    }
    timer.as_mut().poll(context).is_ready()
}

impl<IO: AsyncRead + Unpin> AsyncRead for Metered<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(intake) = this.intake.clone() else { return Pin::new(&mut this.io).poll_read(context, buf) };
        let wait = |context: &Context<'_>| {
            let mut reader = intake.reader.borrow_mut();
            if !reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                *reader = Some(context.waker().clone());
            }
            Poll::Pending
        };
        if intake.serving.get() == Some(Body::Left(0)) {
            this.parses = false;
            return wait(context);
        }
        if std::mem::take(&mut this.parses) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if !this.kept.is_empty() {
            if !this.take_kept(&intake, buf) {
                buf.set_filled(before);
            }
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.io).poll_read(context, buf) {
            Poll::Pending if has_expired(&mut this.read_timer, intake.due.get(), context) => {
                Poll::Ready(Ok(()))
            }
            Poll::Pending => wait(context),
            Poll::Ready(Ok(())) => {
                let bytes = buf.filled().len() - before;
                if bytes > 0 && !(intake.add(bytes) && this.hand_over(&intake, buf, before)) {
                    buf.set_filled(before);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl<IO> Metered<IO> {
    /// Lets a write fail if the client has read nothing of the answer for [`WRITE_TIME`].
    fn fail_stalled_write<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() || self.intake.is_none() {
            self.write_due = None;
            return written;
        }
        let due = *self.write_due.get_or_insert_with(|| Instant::now() + WRITE_TIME);
        match has_expired(&mut self.write_timer, Some(due), context) {
            true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            false => Poll::Pending,
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Metered<IO> {
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
    use proptest::prelude::*;

    use super::*;

    fn intake(bytes: usize) -> (Arc<MemoryBudget>, Intake) {
        let budget = Arc::new(MemoryBudget::new(bytes));
        (Arc::clone(&budget), Intake::new(budget))
    }

    fn left(budget: &MemoryBudget) -> usize {
        budget.left.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[test]
    fn a_connection_takes_what_exceeds_its_free_bytes_and_gives_it_back() {
        let (budget, intake) = intake(10_000);
        assert!(intake.add(FREE));
        assert_eq!(left(&budget), 10_000);
        assert!(intake.add(3000));
        assert_eq!(left(&budget), 7000);
        intake.begin(Body::Left(0));
        intake.end();
        assert_eq!(left(&budget), 10_000);
    }

    #[test]
    fn a_connection_that_needs_more_than_is_left_is_refused_and_counted() {
        let (budget, first) = intake(10_000);
        let second = Intake::new(Arc::clone(&budget));
        assert!(first.add(FREE + 9000));
        assert!(!second.add(FREE + 1001));
        assert_eq!((budget.refused(), left(&budget)), (1, 1000));
        drop(first);
        assert_eq!(left(&budget), 10_000);
        assert!(second.add(FREE + 1001));
    }

    #[test]
    fn heads_behind_a_body_in_chunks_are_charged_with_the_memory_that_they_take_parsed() {
        let (budget, intake) = intake(10 * PARSED_HEAD);
        let mut stream = Metered { intake: Some(Rc::new(intake)), ..Metered::unmetered(()) };
        let intake = Rc::clone(stream.intake().unwrap());
        intake.begin(Body::Unknown);
        let mut bytes = "0\r\n\r\n".to_owned() + &"GET / HTTP/1.1\r\n\r\n".repeat(8);
        let mut hand_over = |bytes: &mut String| {
            let mut bytes = std::mem::take(bytes).into_bytes();
            let length = bytes.len();
            let mut buf = ReadBuf::new(&mut bytes);
            buf.set_filled(length);
            stream.hand_over(&intake, &mut buf, 0)
        };
        assert!(hand_over(&mut bytes));
        assert_eq!(left(&budget), PARSED_HEAD);
        assert!(!hand_over(&mut "GET / HTTP/1.1\r\n\r\n".repeat(2)));
        drop((stream, intake));
        assert_eq!(left(&budget), 10 * PARSED_HEAD);
    }

    #[test]
    fn a_head_ends_with_an_empty_line_wherever_it_is_cut() {
        for head in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n", "a\r\nb\n\r\n"] {
            let bytes = format!("{head}GET /next");
            for cut in 0..head.len() {
                let mut line_end = LineEnd::No;
                assert_eq!(line_end.find(&bytes.as_bytes()[..cut]), None, "{head:?} {cut}");
                assert_eq!(line_end.find(&bytes.as_bytes()[cut..]), Some(head.len() - cut), "{head:?} {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_order_of_reads_and_answers_loses_bytes_of_the_budget(
            steps in prop::collection::vec((0_usize..200_000, any::<bool>()), 0..50)
        ) {
            let (budget, intake) = intake(1 << 20);
            for (bytes, read) in steps {
                if read {
                    intake.add(bytes);
                } else {
                    intake.begin(Body::Left(0));
                    intake.kept.set(bytes.min(intake.held.get()));
                    intake.end();
                }
                prop_assert_eq!(left(&budget) + intake.taken.get(), 1 << 20);
                prop_assert!(intake.taken.get() <= MOST);
            }
            drop(intake);
            prop_assert_eq!(left(&budget), 1 << 20);
        }
    }
}
