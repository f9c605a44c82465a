//! The bodies that the gateway passes on, piece by piece and without buffering: a request's body to the app, and an answer's body to
//! the client, which ends with the session of its caller.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};

use super::head::clean_trailers;

/// How long an answer may take before the gateway watches the session of its caller. A revocation ends a stream within a second, so
/// most answers need no watch.
const UNWATCHED: Duration = Duration::from_millis(200);

/// How long a body waits for the app's `100 Continue` (RFC 9110, section 10.1.1: a client should not wait indefinitely).
const CONTINUE: Duration = Duration::from_secs(1);

/// Why a body is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The session of the caller has ended.
    SessionEnded,
    /// No byte arrived for the idle timeout.
    Idle,
    /// The other side broke off.
    Broken,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SessionEnded => "the session has ended",
            Self::Idle => "no byte arrived in time",
            Self::Broken => "the connection broke off",
        })
    }
}

impl std::error::Error for Cut {}

/// The time of the last progress of a request's body. The app need not answer before the body has arrived.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    /// Milliseconds since `began`.
    last: AtomicU64,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), last: AtomicU64::new(0) })
    }

    fn note(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// The body of a request to an app.
pub(crate) struct RequestBody {
    /// `None`: the request has no body.
    body: Option<Incoming>,
    progress: Arc<Progress>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Completes when the app has sent `100 Continue`, or the time to wait for it is over.
    permission: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl RequestBody {
    pub(crate) fn none(progress: &Arc<Progress>) -> Self {
        Self {
            body: None,
            progress: Arc::clone(progress),
            idle: Duration::ZERO,
            timer: None,
            permission: None,
        }
    }

    /// The body of a client. With `permission` its first byte is read after the app has asked for it.
    pub(crate) fn of_client(
        body: Incoming,
        progress: &Arc<Progress>,
        idle: Duration,
        permission: Option<watch::Receiver<bool>>,
    ) -> Self {
        let permission = permission.map(|mut given| -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
            Box::pin(async move {
                let asked = async {
                    // The app has answered without the body if the sender is dropped.
                    if given.wait_for(|given| *given).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                // After this time the body is sent even so.
                let _ = tokio::time::timeout(CONTINUE, asked).await;
            })
        });
        Self { body: Some(body), progress: Arc::clone(progress), idle, timer: None, permission }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if let Some(permission) = &mut this.permission {
            ready!(permission.as_mut().poll(context));
            this.permission = None;
        }
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(frame) => {
                this.progress.note();
                this.timer = None;
                Poll::Ready(frame.map(|frame| {
                    let mut frame = frame.map_err(|_| Cut::Broken)?;
                    if let Some(trailers) = frame.trailers_mut() {
                        clean_trailers(trailers);
                    }
                    Ok(frame)
                }))
            }
            Poll::Pending => {
                let due = Instant::now() + this.idle;
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
                ready!(timer.as_mut().poll(context));
                Poll::Ready(Some(Err(Cut::Idle)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Completes when the session of a caller ends.
pub(crate) type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of an app's answer. It fails when the session of its caller ends, so that the client learns that it is incomplete.
pub(crate) struct AnswerBody {
    body: Incoming,
    idle: Duration,
    began: Instant,
    /// Since when the gateway waits for the app's next byte. `None`: the client has not yet taken the last one.
    waits_since: Option<Instant>,
    /// Makes the future that completes with the session; `None` if no session ends this answer.
    watch: Option<Box<dyn FnOnce() -> Ended>>,
    ended: Option<Ended>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Called if the session cuts the body off.
    on_cut: Option<Box<dyn FnOnce()>>,
}

impl AnswerBody {
    pub(crate) fn new(body: Incoming, idle: Duration) -> Self {
        let now = Instant::now();
        Self {
            body,
            idle,
            began: now,
            waits_since: None,
            watch: None,
            ended: None,
            timer: None,
            on_cut: None,
        }
    }

    /// Cuts the body off when the future of `watch` completes, and calls `on_cut` then.
    pub(crate) fn until(
        self,
        watch: impl FnOnce() -> Ended + 'static,
        on_cut: impl FnOnce() + 'static,
    ) -> Self {
        Self { watch: Some(Box::new(watch)), on_cut: Some(Box::new(on_cut)), ..self }
    }

    /// Whether the session has ended. Begins to watch it after [`UNWATCHED`].
    fn has_ended(&mut self, context: &mut Context<'_>) -> bool {
        if self.began.elapsed() >= UNWATCHED
            && let Some(watch) = self.watch.take()
        {
            self.ended = Some(watch());
        }
        self.ended.as_mut().is_some_and(|ended| ended.as_mut().poll(context).is_ready())
    }

    fn cut(&mut self) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(on_cut) = self.on_cut.take() {
            on_cut();
        }
        Poll::Ready(Some(Err(Cut::SessionEnded)))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if this.has_ended(context) {
            return this.cut();
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.waits_since = None;
            return Poll::Ready(frame.map(|frame| {
                let mut frame = frame.map_err(|_| Cut::Broken)?;
                if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                }
                Ok(frame)
            }));
        }
        let waits_since = *this.waits_since.get_or_insert_with(Instant::now);
        loop {
            let due = match this.watch {
                Some(_) => this.began + UNWATCHED,
                None => waits_since + this.idle,
            };
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            ready!(timer.as_mut().poll(context));
            // The timer may have been set for an earlier time than the present deadline.
            if due > Instant::now() {
                timer.as_mut().reset(due);
            } else if this.watch.is_none() {
                return Poll::Ready(Some(Err(Cut::Idle)));
            } else if this.has_ended(context) {
                return this.cut();
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
