//! Limits the memory that incomplete requests hold: bytes that a client has sent and that no answered request has used up.
//!
//! actix-http buffers up to 128 KiB of a request's head and 32 KiB of its body per connection, and has no setting for it.
//! [`Metered`] is the stream under a connection. It counts the bytes that the connection holds. The first [`FREE`] bytes of each
//! connection are free; the bytes above them are taken from a [`Budget`] that all connections share. When the budget is used up, a
//! connection that needs more reads an end of file and is closed.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// The bytes that each connection can hold without taking from the budget. A request with both cookies has 1 to 3 KiB.
const FREE: usize = 16 << 10;

/// The most bytes that a connection takes from the budget. When its buffers are full, actix-http stops reading or discards the
/// bytes.
const MOST: usize = (128 + 32 + 8) << 10;

/// The time in which a request's head must arrive, from its first byte. (actix-http measures it for the first request only.)
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The bytes that all connections together can hold in addition to their free bytes.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
    refused: AtomicU64,
    /// The time when the log last reported that the budget is used up.
    logged: Mutex<Option<Instant>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::BYTES)
    }
}

impl Budget {
    /// The size of a server's budget, in bytes.
    const BYTES: usize = 32 << 20;

    fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes), refused: AtomicU64::new(0), logged: Mutex::new(None) }
    }

    /// The number of connections that were closed because the budget was used up.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.log();
        }
        taken.is_ok()
    }

    /// Logs, at most once a minute, that connections are closed.
    fn log(&self) {
        let Ok(mut logged) = self.logged.try_lock() else { return };
        if logged.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)) {
            *logged = Some(Instant::now());
            let refused = self.refused();
            tracing::warn!(
                refused,
                "incomplete requests hold all {} MiB that they may hold; connections that send more of one are closed",
                Self::BYTES >> 20
            );
        }
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The bytes that one connection holds.
#[derive(Debug)]
pub(super) struct Intake {
    budget: Arc<Budget>,
    /// The bytes that were read and not yet used up by an answered request.
    held: Cell<usize>,
    /// The bytes that were taken from the budget.
    taken: Cell<usize>,
    serving: Cell<bool>,
    /// The time by which the arriving head must be complete.
    due: Cell<Option<Instant>>,
    /// Wakes the task that reads. After its request is answered, the task waits for nothing else.
    reader: RefCell<Option<Waker>>,
}

impl Intake {
    fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            held: Cell::new(0),
            taken: Cell::new(0),
            serving: Cell::new(false),
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
        if !self.serving.get() && self.due.get().is_none() {
            self.due.set(Some(Instant::now() + HEAD_TIME));
        }
        true
    }

    /// Notes that a head is complete and its request is being served.
    pub(super) fn begin(&self) {
        self.serving.set(true);
        self.due.set(None);
    }

    /// Whether the connection holds more than its free bytes, not counting a request of `bytes`.
    pub(super) fn exceeds_after(&self, bytes: usize) -> bool {
        self.held.get().saturating_sub(bytes) > FREE
    }

    /// Ends a request of `bytes`. Other bytes that the connection holds belong to the next request, whose head has begun to arrive.
    pub(super) fn end(&self, bytes: usize) {
        let held = self.held.get().saturating_sub(bytes);
        let (wanted, taken) = (held.saturating_sub(FREE).min(MOST), self.taken.get());
        self.budget.give_back(taken.saturating_sub(wanted));
        self.taken.set(taken.min(wanted));
        self.held.set(held);
        self.serving.set(false);
        if held > 0 {
            self.due.set(Some(Instant::now() + HEAD_TIME));
            if let Some(reader) = self.reader.borrow_mut().take() {
                reader.wake();
            }
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.budget.give_back(self.taken.get());
    }
}

/// The stream of a connection. Counts the bytes that are read from it.
pub(super) struct Metered<IO> {
    io: IO,
    /// `None` for HTTP/2, which limits its streams by its own windows.
    intake: Option<Rc<Intake>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<IO> Metered<IO> {
    pub(super) fn new(io: IO, budget: &Arc<Budget>) -> Self {
        Self { io, intake: Some(Rc::new(Intake::new(Arc::clone(budget)))), timer: None }
    }

    pub(super) fn unmetered(io: IO) -> Self {
        Self { io, intake: None, timer: None }
    }

    pub(super) fn intake(&self) -> Option<&Rc<Intake>> {
        self.intake.as_ref()
    }
}

/// Whether the arriving head is overdue. If it is not yet, the task is woken at that time.
fn overdue(timer: &mut Option<Pin<Box<Sleep>>>, due: Option<Instant>, context: &mut Context<'_>) -> bool {
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
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(context, buf);
        let Some(intake) = &this.intake else { return read };
        match read {
            Poll::Pending => {
                if overdue(&mut this.timer, intake.due.get(), context) {
                    return Poll::Ready(Ok(()));
                }
                let mut reader = intake.reader.borrow_mut();
                if !reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                    *reader = Some(context.waker().clone());
                }
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                let bytes = buf.filled().len() - before;
                if bytes > 0 && !intake.add(bytes) {
                    buf.set_filled(before);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Metered<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn intake(bytes: usize) -> (Arc<Budget>, Intake) {
        let budget = Arc::new(Budget::new(bytes));
        (Arc::clone(&budget), Intake::new(budget))
    }

    fn left(budget: &Budget) -> usize {
        budget.left.load(Ordering::Relaxed)
    }

    #[test]
    fn a_connection_takes_what_exceeds_its_free_bytes_and_gives_it_back() {
        let (budget, intake) = intake(10_000);
        assert!(intake.add(FREE));
        assert_eq!(left(&budget), 10_000);
        assert!(intake.add(3000));
        assert_eq!(left(&budget), 7000);
        intake.begin();
        intake.end(FREE + 3000);
        assert_eq!(left(&budget), 10_000);
        assert_eq!(intake.due.get(), None);
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
    fn bytes_of_the_next_head_stay_counted_and_must_be_complete_in_time() {
        let (budget, intake) = intake(1 << 20);
        assert!(intake.add(FREE + 5000));
        assert!(intake.due.get().is_some());
        intake.begin();
        assert!(intake.due.get().is_none());
        assert!(!intake.exceeds_after(5000));
        assert!(intake.exceeds_after(4999));
        intake.end(100);
        assert_eq!(left(&budget), (1 << 20) - 4900);
        assert!(intake.due.get().is_some());
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
                    intake.begin();
                    intake.end(bytes);
                }
                prop_assert_eq!(left(&budget) + intake.taken.get(), 1 << 20);
                prop_assert!(intake.taken.get() <= MOST);
            }
            drop(intake);
            prop_assert_eq!(left(&budget), 1 << 20);
        }
    }
}
