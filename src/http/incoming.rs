//! Incoming requests: a body must arrive in time, and the memory that a request holds of its connection is released when the
//! request is answered.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    body::{BodySize, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::{
        ConnectionType,
        header::{HeaderName, HeaderValue},
    },
    web::Bytes,
};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::intake::Intake;

/// The time in which a body must arrive. The head of a request has the same limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that is being served: the unread rest of its body, and its bytes on the connection.
pub(super) struct Incoming {
    _rest: Option<Rest>,
    bytes: Option<HeldBytes>,
}

/// The unread rest of a body.
#[derive(Clone)]
struct Rest(Rc<RefCell<Payload>>);

/// The bytes of one request. They are returned to its connection on drop.
struct HeldBytes {
    intake: Rc<Intake>,
    head: usize,
    body: Rc<Cell<usize>>,
}

impl HeldBytes {
    fn sum(&self) -> usize {
        self.head + self.body.get()
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.intake.end(self.sum());
    }
}

/// Begins a request. Reading its body fails if the body has not arrived within [`PATIENCE`]. The returned value is kept until the
/// answer is sent ([`answered`]).
pub(super) fn begin(request: &mut ServiceRequest) -> Incoming {
    use actix_web::HttpMessage as _;
    let read = Rc::new(Cell::new(0));
    let bytes = request.conn_data::<Rc<Intake>>().map(|intake| {
        intake.begin();
        HeldBytes { intake: Rc::clone(intake), head: head_bytes(request), body: Rc::clone(&read) }
    });
    let body = request.take_payload();
    if matches!(body, Payload::None) {
        return Incoming { _rest: None, bytes };
    }
    let rest = Rest(Rc::new(RefCell::new(body)));
    let end = Instant::now() + PATIENCE;
    let chunks = stream::unfold((rest.clone(), read), move |(rest, read)| async move {
        let next = poll_fn(|context| rest.0.borrow_mut().poll_next_unpin(context));
        let chunk = timeout_at(end, next).await;
        let chunk = chunk.unwrap_or_else(|_| Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))))?;
        if let Ok(chunk) = &chunk {
            read.set(read.get() + chunk.len());
        }
        Some((chunk, (rest, read)))
    });
    request.set_payload(Payload::Stream { payload: Box::pin(chunks) });
    Incoming { _rest: Some(rest), bytes }
}

/// The bytes of a request's head in the usual form of HTTP/1.1 clients: one space after each colon, no other spaces around a value.
fn head_bytes(request: &ServiceRequest) -> usize {
    let uri = request.uri();
    let origin = uri.authority().map_or(0, |authority| {
        uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len()) + authority.as_str().len()
    });
    let target = origin + uri.path_and_query().map_or(0, |target| target.as_str().len());
    let line = request.method().as_str().len() + " ".len() + target + " HTTP/1.1\r\n".len();
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + ": ".len() + value.len() + "\r\n".len()
    };
    line + request.headers().iter().map(header).sum::<usize>() + "\r\n".len()
}

/// Whether reading a body failed because it arrived too late.
pub(super) fn is_late(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// An answer that keeps the unread rest of the request's body until it is sent. If a body is dropped, the server reads and discards
/// the rest for as long as it arrives; a body in chunks can be endless. If it is kept, only its connection is lost.
///
/// If the connection holds more than its free bytes in addition to this request, it is closed after the answer.
pub(super) fn answered<B: MessageBody>(
    mut response: ServiceResponse<B>,
    incoming: Incoming,
) -> ServiceResponse<Holding<B>> {
    if incoming.bytes.as_ref().is_some_and(|bytes| bytes.intake.exceeds_after(bytes.sum())) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    response.map_body(|_, body| Holding { body, _incoming: incoming })
}

pin_project_lite::pin_project! {
    /// The body of an answer, together with the request that is being served.
    pub(super) struct Holding<B> {
        #[pin]
        body: B,
        _incoming: Incoming,
    }
}

impl<B: MessageBody> MessageBody for Holding<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.project().body.poll_next(context)
    }
}
