//! Serves connections with hyper: Bulla's own routes go to the app of actix-web in the same thread, and all other requests to the
//! gateway.

use std::{
    cell::RefCell,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use actix_http::{Payload, Request as ActixRequest};
use actix_service::Service;
use actix_web::{
    Error,
    body::{BodySize, MessageBody},
    dev::ServiceResponse,
    error::PayloadError,
};
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
    server::conn::http1,
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::gate::{Announced, Connection, Gate, LONGEST_HEAD};
use crate::http::{
    Bulla, Problem,
    gateway::{Arrived, Content, Gateway, Outcome, Tunnel},
    guard::refusal::ClientKind,
    server::misdirected,
    tower::{PeerAddress, response},
    wire::request_log::{self, Line},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What one thread needs to serve connections: `own` answers Bulla's own routes.
pub(super) struct Front<S> {
    pub(super) bulla: Bulla,
    pub(super) own: S,
    pub(super) gateway: Gateway,
}

/// Whether a path belongs to one of Bulla's own routes.
fn is_own(path: &str, prefix: &str) -> bool {
    path == "/.well-known/oauth-authorization-server"
        || [prefix, "/oauth"]
            .iter()
            .any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Whether a request asks about another one. Only a proxy may ask that about requests to its own apps; at the gateway a client would
/// ask through it.
fn is_question(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("/verify"))
}

impl<S, B> Front<S>
where
    S: Service<ActixRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    /// Serves one connection until it is closed, or until `stop` completes and its requests are answered.
    pub(super) async fn serve<IO>(
        self: Rc<Self>,
        io: IO,
        peer: Option<SocketAddr>,
        stop: impl Future<Output = ()>,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let gate = Gate::new(io, &self.bulla.0.intake);
        let connection = gate.connection();
        let tunnels: Rc<RefCell<Vec<Tunnel>>> = Rc::default();
        let service = service_fn({
            let tunnels = Rc::clone(&tunnels);
            move |request| Rc::clone(&self).call(request, peer, connection.clone(), Rc::clone(&tunnels))
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // The gate has the limits of time: it knows whether a head has begun.
            .header_read_timeout(None)
            // hyper admits 100 headers. Another limit would cost an allocation for each request.
            .max_buf_size(LONGEST_HEAD);
        let mut served =
            std::pin::pin!(builder.serve_connection(TokioIo::new(gate), service).with_upgrades());
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = stop => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended with an error");
        }
        // A tunnel belongs to its connection: the server waits for both when it stops.
        let opened = tunnels.take();
        futures_util::future::join_all(opened).await;
    }

    /// Answers one request. The part before the first `await` runs before hyper reads on.
    fn call(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
        connection: Connection,
        tunnels: Rc<RefCell<Vec<Tunnel>>>,
    ) -> impl Future<Output = Result<Response<Held>, Infallible>> {
        let (mut parts, body) = request.into_parts();
        let announced = announced(&parts.headers);
        let hosts = parts.headers.get_all(header::HOST).iter().count();
        let ambiguous = connection.begin(announced) || hosts > 1 || has_other_coding(&parts.headers);
        let answering = Answering(connection.clone());
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        if let Some(peer) = peer {
            parts.extensions.insert(PeerAddress(peer.ip()));
        }
        async move {
            let opened = {
                let connection = connection.clone();
                Box::new(move || connection.open_tunnel())
            };
            let (path, prefix) = (parts.uri.path(), self.bulla.0.pages.prefix());
            let mut answer = if is_own(path, prefix) && !ambiguous && !is_question(path, prefix) {
                self.own(parts, body, peer).await
            } else {
                let kind = ClientKind::of(&parts, &self.bulla.0.site);
                let arrived = Arrived { parts, kind, body, upgrade, opened };
                let Outcome { answer, tunnel } = self.observe(arrived, ambiguous).await;
                tunnels.borrow_mut().extend(tunnel);
                answer.map(|content| match content {
                    Content::Text(text) => boxed(text),
                    Content::App(body) => boxed(body),
                })
            };
            if ambiguous || announced == Announced::Chunks {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer.map(|body| Held { body, _answering: answering }))
        }
    }

    /// Passes a request to the gateway if it is for a host of this server, counts the answer and logs a line.
    async fn observe(&self, arrived: Arrived, ambiguous: bool) -> Outcome {
        let shared = &*self.bulla.0;
        let line = Line::of(&arrived.parts, &shared.site);
        let refused = if is_question(arrived.parts.uri.path(), shared.pages.prefix()) {
            Some(Problem::not_found())
        } else if ambiguous {
            Some(Problem::bad_request("The host or the length of the body is not stated in one way."))
        } else if !shared.site.serves(&arrived.parts) {
            misdirected::log_once(&arrived.parts, &shared.site);
            Some(Problem::misdirected(shared.site.origin()))
        } else {
            None
        };
        let (outcome, who) = request_log::follow(line.as_ref(), async {
            match refused {
                None => Box::pin(self.gateway.answer(arrived)).await,
                Some(problem) => {
                    let answer = response::<String>(shared.refuse_kind(&arrived.kind, &problem));
                    Outcome { answer: answer.map(|text| Content::Text(text.into())), tunnel: None }
                }
            }
        })
        .await;
        let status = outcome.answer.status().as_u16();
        if let Some(count) = shared.answers.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(line) = line {
            line.write(status, who.as_deref());
        }
        outcome
    }

    /// Lets the app of actix-web answer a request.
    async fn own(&self, parts: Parts, body: Incoming, peer: Option<SocketAddr>) -> Response<LocalBody> {
        let answer = match actix_request(&parts, body, peer) {
            Some(request) => self.own.call(request).await,
            None => return failed(StatusCode::BAD_REQUEST),
        };
        let (_, answer) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(error) => {
                tracing::error!(%error, "an own route failed");
                return failed(StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        let mut converted = Response::new(());
        *converted.status_mut() =
            StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in answer.headers() {
            let name = HeaderName::from_bytes(name.as_str().as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
                converted.headers_mut().append(name, value);
            }
        }
        converted.map(|()| boxed(ActixBody(Box::pin(answer.into_body()))))
    }
}

fn failed(status: StatusCode) -> Response<LocalBody> {
    let mut answer = Response::new(boxed(http_body_util::Empty::new()));
    *answer.status_mut() = status;
    answer
}

/// Whether the body has another transfer coding than `chunked`, which the gateway would have to undo.
fn has_other_coding(headers: &HeaderMap) -> bool {
    let coding = headers.get(header::TRANSFER_ENCODING);
    coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// The body that the headers announce. hyper has refused values that are no numbers.
fn announced(headers: &HeaderMap) -> Announced {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Announced::Chunks;
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    Announced::Length(length.unwrap_or(0))
}

/// The request in the types of actix-web, which uses another version of the crate `http`.
fn actix_request(parts: &Parts, body: Incoming, peer: Option<SocketAddr>) -> Option<ActixRequest> {
    use actix_web::http::{
        Method as ActixMethod, Version,
        header::{HeaderName as ActixName, HeaderValue as ActixValue},
    };
    let payload: Payload = if body.is_end_stream() {
        Payload::None
    } else {
        let chunks = stream::unfold(body, |mut body| async {
            loop {
                let frame = body.frame().await?;
                match frame.map(Frame::into_data) {
                    Ok(Ok(chunk)) => return Some((Ok(chunk), body)),
                    // Trailers are of no use to these routes.
                    Ok(Err(_)) => {}
                    Err(error) => {
                        let error = std::io::Error::other(error);
                        return Some((Err(PayloadError::Io(error)), body));
                    }
                }
            }
        });
        Payload::Stream { payload: Box::pin(chunks) }
    };
    let mut request = ActixRequest::with_payload(payload);
    let head = request.head_mut();
    head.method = ActixMethod::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.uri = parts.uri.to_string().parse().ok()?;
    head.version = if parts.version == hyper::Version::HTTP_10 { Version::HTTP_10 } else { Version::HTTP_11 };
    head.peer_addr = peer;
    for (name, value) in &parts.headers {
        let name = ActixName::from_bytes(name.as_str().as_bytes()).ok()?;
        head.headers.append(name, ActixValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(request)
}

/// A body that stays in its thread.
type LocalBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>;

fn boxed<B>(body: B) -> LocalBody
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    Box::pin(body.map_err(Into::into))
}

/// The body of an answer of actix-web.
struct ActixBody<B>(Pin<Box<B>>);

impl<B: MessageBody> Body for ActixBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = std::task::ready!(self.0.as_mut().poll_next(context));
        Poll::Ready(next.map(|chunk| {
            chunk.map(Frame::data).map_err(|error| {
                let error: Box<dyn std::error::Error> = error.into();
                error.to_string().into()
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0.size(), BodySize::None | BodySize::Sized(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.size() {
            BodySize::None => SizeHint::with_exact(0),
            BodySize::Sized(bytes) => SizeHint::with_exact(bytes),
            BodySize::Stream => SizeHint::default(),
        }
    }
}

/// Ends the request of a connection on drop.
struct Answering(Connection);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The body of an answer, together with the request that is being answered.
pub(super) struct Held {
    body: LocalBody,
    _answering: Answering,
}

impl Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
