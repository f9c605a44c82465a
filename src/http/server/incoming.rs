//! Incoming requests: a body must arrive in time, and the memory that a request holds of its connection is released when the
//! request is answered.

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
    http::{ConnectionType, header},
    web::Bytes,
};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::intake::{Body, Intake};

/// The time in which a body must arrive. The head of a request has the same limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that is being served. Holds the unread rest of its body, and ends the request in the intake of its connection.
pub(crate) struct Incoming {
    _rest: Option<Rest>,
    served: Option<Served>,
}

/// The unread rest of a body.
#[derive(Clone)]
struct Rest(Rc<RefCell<Payload>>);

/// Tells the intake of the connection, on drop, that the request has ended.
struct Served {
    intake: Rc<Intake>,
    body: Body,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.intake.end();
    }
}

/// Begins a request. Reading its body fails if the body has not arrived within [`PATIENCE`]. The returned value is kept until the
/// answer is sent ([`answered`]).
pub(crate) fn begin(request: &mut ServiceRequest) -> Incoming {
    use actix_web::HttpMessage as _;
    let body = request.take_payload();
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let left = match (&body, length) {
        (Payload::None, _) => Body::Left(0),
        (_, Some(length)) if !request.headers().contains_key(header::TRANSFER_ENCODING) => Body::Left(length),
        _ => Body::Unknown,
    };
    let served = request.conn_data::<Rc<Intake>>().map(|intake| {
        intake.begin(left);
        Served { intake: Rc::clone(intake), body: left }
    });
    if matches!(body, Payload::None) {
        return Incoming { _rest: None, served };
    }
    let rest = Rest(Rc::new(RefCell::new(body)));
    let end = Instant::now() + PATIENCE;
    let chunks = stream::unfold(rest.clone(), move |rest| async move {
        let next = poll_fn(|context| rest.0.borrow_mut().poll_next_unpin(context));
        let chunk = timeout_at(end, next).await;
        Some((chunk.unwrap_or_else(|_| Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))))?, rest))
    });
    request.set_payload(Payload::Stream { payload: Box::pin(chunks) });
    Incoming { _rest: Some(rest), served }
}

/// An answer that holds the unread rest of the request's body until it is sent. If the body were dropped, the server would read and
/// discard the rest for as long as it arrives, and a body in chunks can be endless. If it is held, only its connection is lost.
///
/// If the length of the body is unknown, the connection is closed after the answer.
pub(crate) fn answered<B: MessageBody>(
    mut response: ServiceResponse<B>,
    incoming: Incoming,
) -> ServiceResponse<Holding<B>> {
    if incoming.served.as_ref().is_some_and(|served| served.body == Body::Unknown) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    response.map_body(|_, body| Holding { body, _incoming: incoming })
}

pin_project_lite::pin_project! {
    /// The body of an answer, together with the request that is being served.
    pub(crate) struct Holding<B> {
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
