//! The guard: middleware that passes only authenticated requests on, and extractors for the caller.
//!
//! `ladder` tries the steps of authentication, `session_proof` checks the proofs that a change requires in addition to an access
//! token, `administrator` recognises administrators, and `refusal` gives a refusal the form for its client.

pub(crate) mod administrator;
pub(crate) mod ladder;
pub(crate) mod login_cookies;
pub(crate) mod refusal;
pub(crate) mod session_proof;

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready as wait},
};

use actix_web::{
    Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse,
    body::EitherBody,
    dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::header::{self, HeaderMap, HeaderValue},
};
use futures_util::future::LocalBoxFuture;

use crate::{
    http::{Bulla, Problem, guard::refusal::Asker, wire::request_log},
    session::{Denied, Machine, Principal},
    store::patiently,
};

/// Middleware made by [`Bulla::guard`].
#[derive(Clone, Debug)]
pub struct Guard {
    bulla: Bulla,
    admits: Admits,
}

/// The programs that a guard admits besides people: those with one of these scopes.
#[derive(Clone, Debug, Default)]
struct Admits {
    apps: Apps,
    machines: Arc<[String]>,
}

#[derive(Clone, Debug)]
enum Apps {
    With(Arc<[String]>),
    Every,
}

impl Default for Apps {
    fn default() -> Self {
        Self::With(Arc::default())
    }
}

impl Bulla {
    /// Makes middleware that authenticates every request by the steps of docs/design/sessions.md, and answers 401 (403, 503, …)
    /// itself if no step succeeds.
    ///
    /// It admits people. A token that was granted to an OAuth client is refused with 403, whatever its user may do, unless
    /// [`Guard::and_apps`] admits its scope. A service token belongs to a machine and is refused unless [`Guard::and_machines`]
    /// admits it. Handlers behind the guard take a [`Principal`]. A valid access token needs no I/O. The cookies of a renewal are
    /// added to the answer.
    pub fn guard(&self) -> Guard {
        Guard { bulla: self.clone(), admits: Admits::default() }
    }
}

impl Guard {
    /// Also admits tokens that were granted to an OAuth client with this scope. After several calls, any of the scopes is enough.
    /// The [`Principal`] of such a token has a [`grant`](Principal::grant) and no roles.
    #[must_use]
    pub fn and_apps(mut self, scope: &str) -> Self {
        if let Apps::With(scopes) = &mut self.admits.apps {
            add(scopes, scope);
        }
        self
    }

    /// Also admits service tokens with this scope (`Authorization: Bearer`). After several calls, any of the scopes is enough.
    /// Handlers then take a [`Machine`] if there is no [`Principal`].
    #[must_use]
    pub fn and_machines(mut self, scope: &str) -> Self {
        add(&mut self.admits.machines, scope);
        self
    }

    /// Admits every app, for a route that describes an app's own token.
    pub(crate) fn and_every_app(mut self) -> Self {
        self.admits.apps = Apps::Every;
        self
    }
}

fn add(scopes: &mut Arc<[String]>, scope: &str) {
    *scopes = scopes.iter().cloned().chain([scope.to_owned()]).collect();
}

impl Admits {
    /// Refuses the token of an app that is not admitted.
    fn check(&self, principal: &Principal) -> Result<(), Problem> {
        let Some(grant) = principal.grant() else { return Ok(()) };
        let admitted = match &self.apps {
            Apps::Every => true,
            Apps::With(scopes) => scopes.iter().any(|scope| grant.scope.contains(scope)),
        };
        if admitted { Ok(()) } else { Err(Problem::program_not_admitted()) }
    }

    /// The machine that sent the request, if a machine did. Refused if it has none of the scopes.
    fn machine(&self, bulla: &Bulla, request: &HttpRequest) -> Result<Option<Machine>, Problem> {
        if self.machines.is_empty() {
            return Ok(None);
        }
        match bulla.0.machine(request) {
            Some(machine) if self.machines.iter().any(|scope| machine.scope().contains(scope)) => {
                Ok(Some(machine))
            }
            Some(_) => Err(Problem::program_not_admitted()),
            None => Ok(None),
        }
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
        let shared = &self.guard.bulla.0;
        match self.guard.admits.machine(&self.guard.bulla, request.request()) {
            Ok(Some(machine)) => {
                request_log::speaks_for(|| machine.id());
                request.extensions_mut().insert(machine);
                return Answer::Passed { future: self.service.call(request) };
            }
            Ok(None) => {}
            Err(problem) => return Answer::refused(&self.guard.bulla, request, &problem),
        }
        // If the access token is valid, no boxed future is needed.
        match shared.first_step(request.request()) {
            Ok(principal) => match self.guard.admits.check(&principal) {
                Ok(()) => {
                    request_log::speaks_for(|| principal.id().to_string());
                    request.extensions_mut().insert(principal);
                    Answer::Passed { future: self.service.call(request) }
                }
                Err(problem) => Answer::refused(&self.guard.bulla, request, &problem),
            },
            Err(tried) => {
                let (service, guard) = (Rc::clone(&self.service), self.guard.clone());
                Answer::Climbing { future: Box::pin(climb(guard, service, request, tried)) }
            }
        }
    }
}

async fn climb<S, B>(
    Guard { bulla, admits }: Guard,
    service: Rc<S>,
    request: ServiceRequest,
    tried: Option<Denied>,
) -> Result<ServiceResponse<EitherBody<B>>, Error>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    let climbed = patiently(bulla.0.climb(request.request(), tried)).await;
    let climbed = climbed.and_then(|climbed| admits.check(&climbed.principal).map(|()| climbed));
    match climbed {
        Ok(climbed) => {
            request_log::speaks_for(|| climbed.principal.id().to_string());
            request.extensions_mut().insert(climbed.principal);
            let mut response = match service.call(request).await {
                Ok(response) => response.map_into_left_body(),
                // If a handler fails after a rotation, the browser must still get the new cookies.
                Err(error) if climbed.cookies.is_empty() => return Err(error),
                Err(error) => return Err(WithCookies { error, cookies: climbed.cookies }.into()),
            };
            add_cookies(response.headers_mut(), climbed.cookies);
            Ok(response)
        }
        Err(problem) => Ok(refuse(&bulla, request, &problem)),
    }
}

fn refuse<B>(bulla: &Bulla, request: ServiceRequest, problem: &Problem) -> ServiceResponse<EitherBody<B>> {
    let mut answer = Asker::of(request.request(), &bulla.0.site).refuse(problem, &bulla.0.ways);
    bulla.0.harden(answer.headers_mut());
    request.into_response(answer).map_into_right_body()
}

/// The error of a handler, with the cookies that must be sent anyway.
pub(crate) struct WithCookies {
    pub(crate) error: Error,
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

/// Adds the `Set-Cookie` lines. An answer with cookies is never stored, whatever the handler has set.
pub(crate) fn add_cookies(headers: &mut HeaderMap, cookies: HeaderMap) {
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
    /// The future of the answer.
    #[project = AnswerProjection]
    #[allow(missing_docs, missing_debug_implementations, reason = "the macro generates a projection of the enum")]
    pub enum Answer<F, B> {
        Passed { #[pin] future: F },
        Climbing { future: LocalBoxFuture<'static, Result<ServiceResponse<EitherBody<B>>, Error>> },
    }
}

impl<F, B: 'static> Answer<F, B> {
    fn refused(bulla: &Bulla, request: ServiceRequest, problem: &Problem) -> Self {
        Self::Climbing { future: Box::pin(ready(Ok(refuse(bulla, request, problem)))) }
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

    /// The person whom the guard has recognised. Fails if the route is not behind a guard.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(Problem::unauthorized))
    }
}

impl FromRequest for Machine {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    /// The machine that the guard has admitted. Fails if a person sent the request or if the route is not behind such a guard.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(Problem::unauthorized))
    }
}
