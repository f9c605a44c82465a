//! The guard: middleware that lets a request through when the ladder holds, and an extractor for who it speaks for.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready as wait},
};

use actix_web::{
    Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse,
    body::EitherBody,
    dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::header::{self, HeaderMap, HeaderValue},
};
use futures_util::future::LocalBoxFuture;

use super::{Bulla, refusal::Asker};
use crate::{
    http::Problem,
    session::{Denied, Machine, Principal},
    store::patiently,
};

/// Middleware made by [`Bulla::guard`].
#[derive(Clone, Debug)]
pub struct Guard {
    bulla: Bulla,
    admits: Admits,
}

/// Who gets past a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admits {
    People,
    MachinesToo,
}

impl Bulla {
    /// Middleware that climbs the ladder for every request and answers 401 (403, 503, …) itself where nothing holds.
    /// Handlers behind it take a [`Principal`]. An access token costs no I/O; cookies of a renewal go out with the answer.
    pub fn guard(&self) -> Guard {
        Guard { bulla: self.clone(), admits: Admits::People }
    }
}

impl Guard {
    /// Lets service tokens pass as well (`Authorization: Bearer`): handlers then take a [`Machine`] where there is no
    /// [`Principal`], and look at its scope.
    #[must_use]
    pub fn and_machines(self) -> Self {
        Self { admits: Admits::MachinesToo, ..self }
    }
}

impl<S, B> Transform<S, ServiceRequest> for Guard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = Guarded<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Guarded { service: Rc::new(service), guard: self.clone() }))
    }
}

/// A service behind the guard.
#[derive(Debug)]
pub struct Guarded<S> {
    service: Rc<S>,
    guard: Guard,
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Answer<S::Future, B>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let inner = &self.guard.bulla.0;
        if self.guard.admits == Admits::MachinesToo
            && let Some(machine) = inner.machine(request.request())
        {
            request.extensions_mut().insert(machine);
            return Answer::Passed { future: self.service.call(request) };
        }
        // An access token that holds needs no future of its own.
        match inner.first_step(request.request()) {
            Ok(principal) => {
                request.extensions_mut().insert(principal);
                Answer::Passed { future: self.service.call(request) }
            }
            Err(tried) => {
                let (service, bulla) = (Rc::clone(&self.service), self.guard.bulla.clone());
                Answer::Climbing { future: Box::pin(climb(bulla, service, request, tried)) }
            }
        }
    }
}

async fn climb<S, B>(
    bulla: Bulla,
    service: Rc<S>,
    request: ServiceRequest,
    tried: Option<Denied>,
) -> Result<ServiceResponse<EitherBody<B>>, Error>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    match patiently(bulla.0.climb(request.request(), tried)).await {
        Ok(climbed) => {
            request.extensions_mut().insert(climbed.principal);
            let mut response = match service.call(request).await {
                Ok(response) => response.map_into_left_body(),
                // A handler's error must not cost the browser the cookies of a rotation that has happened.
                Err(error) if climbed.cookies.is_empty() => return Err(error),
                Err(error) => return Err(WithCookies { error, cookies: climbed.cookies }.into()),
            };
            add_cookies(response.headers_mut(), climbed.cookies);
            Ok(response)
        }
        Err(problem) => {
            let mut answer = Asker::of(request.request(), &bulla.0.site).refuse(&problem, &bulla.0.ways);
            bulla.0.harden(answer.headers_mut());
            Ok(request.into_response(answer).map_into_right_body())
        }
    }
}

/// An error of a handler, with the cookies that must go out all the same.
pub(super) struct WithCookies {
    pub(super) error: Error,
    cookies: HeaderMap,
}

impl std::fmt::Debug for WithCookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::fmt::Display for WithCookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl actix_web::ResponseError for WithCookies {
    fn status_code(&self) -> actix_web::http::StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.error_response();
        add_cookies(response.headers_mut(), self.cookies.clone());
        response
    }
}

/// Adds the `Set-Cookie` lines; such an answer is never stored, whatever a handler said.
pub(super) fn add_cookies(headers: &mut HeaderMap, cookies: HeaderMap) {
    if cookies.is_empty() {
        return;
    }
    for (name, value) in cookies {
        if name == header::SET_COOKIE {
            headers.append(name, value);
        }
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

pin_project_lite::pin_project! {
    /// The answer under way.
    #[project = AnswerProjection]
    #[allow(missing_docs, missing_debug_implementations)]
    pub enum Answer<F, B> {
        Passed { #[pin] future: F },
        Climbing { future: LocalBoxFuture<'static, Result<ServiceResponse<EitherBody<B>>, Error>> },
    }
}

impl<F, B> Future for Answer<F, B>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = Result<ServiceResponse<EitherBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerProjection::Passed { future } => {
                Poll::Ready(wait!(future.poll(context)).map(ServiceResponse::map_into_left_body))
            }
            AnswerProjection::Climbing { future } => future.as_mut().poll(context),
        }
    }
}

impl FromRequest for Principal {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    /// Who the guard has recognised; behind no guard, nobody.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(Problem::unauthorized))
    }
}

impl FromRequest for Machine {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    /// Which machine the guard has let pass; none where a person asks, or behind no such guard.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(Problem::unauthorized))
    }
}
