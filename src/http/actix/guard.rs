//! The guard as middleware of actix-web.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready as wait},
};

use actix_web::{
    Error, HttpMessage as _, HttpResponse,
    body::EitherBody,
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::header::{self, HeaderValue},
};
use futures_util::future::LocalBoxFuture;

use crate::{
    http::{
        Bulla, Problem,
        actix::answer::add_renewed,
        guard::{
            Guard,
            admits::{Admission, Decision},
        },
        wire::cookies::SetCookies,
    },
    session::Denied,
};

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
        ready(Ok(Guarded { service: Rc::new(service), guard: self.on_this_thread() }))
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
        let Guard { bulla, admits } = &self.guard;
        // If the token is valid, no boxed future is needed.
        match admits.decide(&bulla.0, request.request()) {
            Decision::Machine(machine) => {
                request.extensions_mut().insert(machine);
                Answer::Passed { future: self.service.call(request), varies: admits.is_optional() }
            }
            Decision::Person(principal) => {
                request.extensions_mut().insert(principal);
                Answer::Passed { future: self.service.call(request), varies: admits.is_optional() }
            }
            Decision::Refused(problem) => {
                Answer::Authenticating { future: Box::pin(ready(Ok(refuse(bulla, request, &problem)))) }
            }
            Decision::Undecided(tried) => {
                let (service, guard) = (Rc::clone(&self.service), self.guard.clone());
                Answer::Authenticating {
                    future: Box::pin(authenticate_request(guard, service, request, tried)),
                }
            }
        }
    }
}

async fn authenticate_request<S, B>(
    Guard { bulla, admits }: Guard,
    service: Rc<S>,
    request: ServiceRequest,
    tried: Option<Denied>,
) -> Result<ServiceResponse<EitherBody<B>>, Error>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    let Admission { decision, cookies } =
        admits.authenticate_request(&bulla.0, request.request(), tried).await;
    let principal = match decision {
        Ok(principal) => principal,
        Err(problem) => {
            let mut refused = refuse(&bulla, request, &problem);
            add_renewed(refused.headers_mut(), cookies);
            return Ok(refused);
        }
    };
    if let Some(principal) = principal {
        request.extensions_mut().insert(principal);
    }
    let mut response = match service.call(request).await {
        Ok(response) => response.map_into_left_body(),
        // If a handler fails after a rotation, the browser must still get the new cookies.
        Err(error) if cookies.is_empty() => return Err(error),
        Err(error) => return Err(WithCookies { error, cookies }.into()),
    };
    add_renewed(response.headers_mut(), cookies);
    if admits.is_optional() {
        vary(&mut response);
    }
    Ok(response)
}

/// Tells caches that the answer depends on the cookies of the request.
fn vary<B>(response: &mut ServiceResponse<B>) {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("cookie"));
}

fn refuse<B>(bulla: &Bulla, request: ServiceRequest, problem: &Problem) -> ServiceResponse<EitherBody<B>> {
    let answer = bulla.0.refuse(request.request(), problem);
    request.into_response(HttpResponse::from(answer)).map_into_right_body()
}

/// The error of a handler, with the cookies that must be sent anyway.
pub(crate) struct WithCookies {
    pub(crate) error: Error,
    cookies: SetCookies,
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
        add_renewed(response.headers_mut(), self.cookies.clone());
        response
    }
}

pin_project_lite::pin_project! {
    /// The future of the answer.
    #[project = AnswerProjection]
    #[allow(missing_docs, missing_debug_implementations, reason = "the macro generates a projection of the enum")]
    pub enum Answer<F, B> {
        Passed { #[pin] future: F, varies: bool },
        Authenticating { future: LocalBoxFuture<'static, Result<ServiceResponse<EitherBody<B>>, Error>> },
    }
}

impl<F, B> Future for Answer<F, B>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = Result<ServiceResponse<EitherBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerProjection::Passed { future, varies } => {
                let mut answer = wait!(future.poll(context));
                if let (true, Ok(response)) = (*varies, &mut answer) {
                    vary(response);
                }
                Poll::Ready(answer.map(ServiceResponse::map_into_left_body))
            }
            AnswerProjection::Authenticating { future } => future.as_mut().poll(context),
        }
    }
}
