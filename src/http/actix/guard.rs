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
        guard::admits::{Admission, Admits, Decision},
        wire::cookies::SetCookies,
    },
    session::Denied,
};

/// Middleware made by [`Bulla::guard`].
#[derive(Clone, Debug)]
pub struct Guard {
    bulla: Bulla,
    admits: Admits,
}

impl Bulla {
    /// Makes middleware that authenticates every request by the steps of docs/design/sessions.md, and answers 401 (403, 503, …)
    /// itself if no step succeeds.
    ///
    /// It admits people. A token that was granted to an OAuth client is refused with 403, whatever its user may do, unless
    /// [`Guard::and_apps`] admits its scope. A service token belongs to a machine and is refused unless [`Guard::and_machines`]
    /// admits it. Handlers behind the guard take a [`Principal`]. A valid access token needs no I/O. The cookies of a renewal are
    /// added to the answer.
    ///
    /// [`Principal`]: crate::session::Principal
    pub fn guard(&self) -> Guard {
        Guard { bulla: self.clone(), admits: Admits::people(&self.0) }
    }
}

impl Guard {
    /// Also admits tokens that were granted to an OAuth client with this scope. After several calls, any of the scopes is enough.
    /// The [`Principal`] of such a token has a [`grant`] and no roles.
    ///
    /// [`Principal`]: crate::session::Principal
    /// [`grant`]: crate::session::Principal::grant
    #[must_use]
    pub fn and_apps(mut self, scope: &str) -> Self {
        self.admits.add_apps(scope);
        self
    }

    /// Also admits service tokens with this scope (`Authorization: Bearer`). After several calls, any of the scopes is enough.
    /// Handlers then take a [`Machine`] if there is no [`Principal`].
    ///
    /// [`Machine`]: crate::session::Machine
    /// [`Principal`]: crate::session::Principal
    #[must_use]
    pub fn and_machines(mut self, scope: &str) -> Self {
        self.admits.add_machines(scope);
        self
    }

    /// Admits only people with this role; others get 403 `forbidden`. After several calls, any of the roles is enough.
    ///
    /// The roles are those in the access token, so the check needs no I/O. A role that was taken away is effective at the next
    /// renewal: after `access_max_age` (default 2 minutes) at the latest. To take it away at once, end the user's sessions
    /// ([`Bulla::end_sessions_of`]).
    ///
    /// A token of an OAuth client has no roles and is refused with 403, even if [`and_apps`](Self::and_apps) admits its scope. A
    /// machine that [`and_machines`](Self::and_machines) admits needs no role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.admits.add_role(role);
        self
    }

    /// For pages that anybody may see: passes a request on if its caller is not recognised. Handlers take an
    /// `Option<`[`Principal`]`>`. A session whose access token has expired is renewed as usual. The answer gets `Vary: Cookie`.
    ///
    /// `None` means that the request has no cookies, or cookies that belong to no live session. These requests are answered by the
    /// guard all the same:
    ///
    /// - 503 if it can't tell whether the cookies are valid, because the store does not answer. A handler must not mistake a known
    ///   person for a stranger. Visitors without cookies and people with a valid access token are not affected;
    /// - 401, 403 or 400 if the credentials in an `Authorization` header are refused. They are an explicit claim, and a program must
    ///   learn that it failed;
    /// - 403 `foreign_origin` if another site caused an unsafe request (docs/design/http.md);
    /// - a page that loads again by itself, if the person comes from a link on another site and the session must be renewed.
    ///
    /// With [`role`](Self::role), the guard requires a person, in whichever order the two are called.
    ///
    /// [`Principal`]: crate::session::Principal
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.admits.make_optional();
        self
    }

    /// Admits every app, for a route that describes an app's own token.
    pub(crate) fn and_every_app(mut self) -> Self {
        self.admits.add_every_app();
        self
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
        let guard = Self { bulla: self.bulla.clone(), admits: self.admits.on_this_thread(&self.bulla.0) };
        ready(Ok(Guarded { service: Rc::new(service), guard }))
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
                Answer::Climbing { future: Box::pin(ready(Ok(refuse(bulla, request, &problem)))) }
            }
            Decision::Undecided(tried) => {
                let (service, guard) = (Rc::clone(&self.service), self.guard.clone());
                Answer::Climbing { future: Box::pin(authenticate_request(guard, service, request, tried)) }
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
            AnswerProjection::Passed { future, varies } => {
                let mut answer = wait!(future.poll(context));
                if let (true, Ok(response)) = (*varies, &mut answer) {
                    vary(response);
                }
                Poll::Ready(answer.map(ServiceResponse::map_into_left_body))
            }
            AnswerProjection::Climbing { future } => future.as_mut().poll(context),
        }
    }
}
