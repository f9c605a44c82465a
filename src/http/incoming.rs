//! Bodies on their way in: nobody holds a connection by sending one slowly, or never to its end.

use std::{
    cell::RefCell,
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
    web::Bytes,
};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

/// How long a body may take to arrive: as long as the head of its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is left of a body.
#[derive(Clone)]
pub(super) struct Rest(Rc<RefCell<Payload>>);

/// Lets a request's body fail if it isn't there in time. What is left of it goes along with the answer ([`answered`]).
pub(super) fn hurry(request: &mut ServiceRequest) -> Option<Rest> {
    use actix_web::HttpMessage as _;
    let body = request.take_payload();
    if matches!(body, Payload::None) {
        return None;
    }
    let rest = Rest(Rc::new(RefCell::new(body)));
    let end = Instant::now() + PATIENCE;
    let chunks = stream::unfold(rest.clone(), move |rest| async move {
        let next = poll_fn(|context| rest.0.borrow_mut().poll_next_unpin(context));
        let chunk = timeout_at(end, next).await;
        Some((chunk.unwrap_or_else(|_| Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))))?, rest))
    });
    request.set_payload(Payload::Stream { payload: Box::pin(chunks) });
    Some(rest)
}

/// Whether a body was not there in time.
pub(super) fn is_late(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// An answer that holds what is left of the request's body until it is sent. A body that has been dropped is read on and
/// thrown away, for as long as it comes, and with chunks that may be for ever; one that is held costs its connection.
pub(super) fn answered<B: MessageBody>(
    response: ServiceResponse<B>,
    rest: Option<Rest>,
) -> ServiceResponse<Holding<B>> {
    response.map_body(|_, body| Holding { body, _rest: rest })
}

pin_project_lite::pin_project! {
    /// The body of an answer.
    pub(super) struct Holding<B> {
        #[pin]
        body: B,
        _rest: Option<Rest>,
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
