//! Requests on their way in: a body must arrive in time, and what a request holds of its connection is given back when it is
//! answered.

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

/// How long a body may take to arrive: as long as the head of its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request while it is being served: what is left of its body, and its bytes on the connection.
pub(super) struct Incoming {
    _rest: Option<Rest>,
    bytes: Option<HeldBytes>,
}

/// What is left of a body.
#[derive(Clone)]
struct Rest(Rc<RefCell<Payload>>);

/// The bytes of one request, which its connection gives back when this is dropped.
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

/// Begins a request: its body fails if it has not arrived within [`PATIENCE`]. The result goes along with the answer
/// ([`answered`]).
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

/// The bytes of a request's head as HTTP/1.1 clients write it: one space after a colon, none before and after a value.
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

/// Whether a body was not there in time.
pub(super) fn is_late(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// An answer that holds what is left of the request's body until it is sent. A body that has been dropped is read on and
/// thrown away, for as long as it comes, and with chunks that may be for ever; one that is held costs its connection.
///
/// A connection that keeps more than it has free beside this request is closed after the answer.
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
    /// The body of an answer.
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
