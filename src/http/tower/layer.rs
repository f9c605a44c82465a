//! The guard as a layer of tower.

use std::{
    future::{Future, ready},
    mem,
    pin::Pin,
    task::{Context, Poll, ready as wait},
};

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, header, request::Parts};
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{add_renewed, response};
use crate::{
    http::guard::{
        Guard,
        admits::{Admission, Decision},
    },
    session::Denied,
};

impl<S> Layer<S> for Guard {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardService { inner, guard: self.clone() }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone, Debug)]
pub struct GuardService<S> {
    inner: S,
    guard: Guard,
}

impl<S, A, B> Service<Request<A>> for GuardService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    A: Send + 'static,
    B: From<String> + Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let Guard { bulla, admits } = &self.guard;
        let varies = admits.is_optional();
        let (mut parts, body) = request.into_parts();
        // If the token is valid, no boxed future is needed.
        match admits.decide(&bulla.0, &parts) {
            Decision::Machine(machine) => {
                parts.extensions.insert(machine);
                GuardFuture::passed(self.inner.call(Request::from_parts(parts, body)), varies)
            }
            Decision::Person(principal) => {
                parts.extensions.insert(principal);
                GuardFuture::passed(self.inner.call(Request::from_parts(parts, body)), varies)
            }
            Decision::Refused(problem) => {
                let refused = response(bulla.0.refuse(&parts, &problem));
                GuardFuture::authenticating(ready(Ok(refused)))
            }
            Decision::Undecided(tried) => {
                // Only the service that was polled may be called. Its clone takes its place and must be polled first.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                GuardFuture::authenticating(authenticate_request(
                    self.guard.clone(),
                    ready,
                    parts,
                    body,
                    tried,
                ))
            }
        }
    }
}

async fn authenticate_request<S, A, B>(
    Guard { bulla, admits }: Guard,
    mut service: S,
    mut parts: Parts,
    body: A,
    tried: Option<Denied>,
) -> Result<Response<B>, S::Error>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: From<String>,
{
    let Admission { decision, cookies } = admits.authenticate_request(&bulla.0, &parts, tried).await;
    let mut answer = match decision {
        Ok(principal) => {
            if let Some(principal) = principal {
                parts.extensions.insert(principal);
            }
            let mut answer = service.call(Request::from_parts(parts, body)).await?;
            if admits.is_optional() {
                vary(&mut answer);
            }
            answer
        }
        Err(problem) => response(bulla.0.refuse(&parts, &problem)),
    };
    add_renewed(answer.headers_mut(), cookies);
    Ok(answer)
}

/// Tells caches that the answer depends on the cookies of the request.
fn vary<B>(answer: &mut Response<B>) {
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("cookie"));
}

pin_project_lite::pin_project! {
    /// The future of a [`GuardService`]'s answer.
    #[allow(missing_debug_implementations, reason = "the inner future need not have one")]
    pub struct GuardFuture<F, B, E> {
        #[pin]
        state: State<F, B, E>,
    }
}

pin_project_lite::pin_project! {
    #[project = Projection]
    enum State<F, B, E> {
        Passed { #[pin] future: F, varies: bool },
        Authenticating { future: BoxFuture<'static, Result<Response<B>, E>> },
    }
}

impl<F, B, E> GuardFuture<F, B, E> {
    fn passed(future: F, varies: bool) -> Self {
        Self { state: State::Passed { future, varies } }
    }

    fn authenticating(future: impl Future<Output = Result<Response<B>, E>> + Send + 'static) -> Self {
        Self { state: State::Authenticating { future: Box::pin(future) } }
    }
}

impl<F, B, E> Future for GuardFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projection::Passed { future, varies } => {
                let mut answer = wait!(future.poll(context));
                if let (true, Ok(answer)) = (*varies, &mut answer) {
                    vary(answer);
                }
                Poll::Ready(answer)
            }
            Projection::Authenticating { future } => future.as_mut().poll(context),
        }
    }
}
