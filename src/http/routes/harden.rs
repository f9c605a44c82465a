//! Middleware for all routes of a login: sets protective headers, and gives errors the form that suits the client.

use actix_web::{
    Error, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::{JsonPayloadError, PayloadError},
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    middleware::Next,
};

use crate::{
    http::{
        Bulla, Problem,
        actix::{guard::WithCookies, protect},
        guard::refusal::ClientKind,
        pages::PageSet,
        routes::catch_panic::catch_panic,
    },
    store::with_time_budget,
};

/// Middleware around the routes of a login.
pub(crate) async fn secure(
    bulla: Bulla,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let client_kind = ClientKind::of(request.request(), &bulla.0.site);
    let mut response =
        adapt_errors(&bulla, client_kind, with_time_budget(catch_panic(next.call(request))).await)?;
    protect(&bulla.0.protection, response.headers_mut());
    Ok(response)
}

/// Gives an error the form that suits the client, unless an inner middleware has already done so.
pub(crate) fn adapt_errors<B: MessageBody + 'static>(
    bulla: &Bulla,
    client_kind: ClientKind,
    answer: Result<ServiceResponse<B>, Error>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let response = match answer {
        Ok(response) => response,
        Err(error) if error.as_error::<ErrorForClient>().is_some() => return Err(error),
        Err(error) => return Err(ErrorForClient { error, client_kind, bulla: bulla.clone() }.into()),
    };
    let error = response.response().error();
    let adapted =
        error.and_then(|error| adapt_error(error, &client_kind, response.headers(), &bulla.0.pages));
    let Some(mut adapted) = adapted else { return Ok(response.map_into_left_body()) };
    protect(&bulla.0.protection, adapted.headers_mut());
    Ok(response.into_response(adapted).map_into_right_body())
}

/// The answer to an error in the form for its client. Keeps the cookies and the header `Access-Control-Allow-Origin` of the
/// original answer `said`. `None` if the original answer is suitable.
fn adapt_error(
    error: &Error,
    client_kind: &ClientKind,
    said: &HeaderMap,
    pages: &PageSet,
) -> Option<HttpResponse> {
    let mut adapted = HttpResponse::from(client_kind.refuse(&as_problem(error)?, pages));
    for name in [header::SET_COOKIE, header::ACCESS_CONTROL_ALLOW_ORIGIN] {
        for value in said.get_all(&name) {
            adapted.headers_mut().append(name.clone(), value.clone());
        }
    }
    Some(adapted)
}

/// An error that is being returned, with the data for its answer.
#[derive(Debug)]
struct ErrorForClient {
    error: Error,
    client_kind: ClientKind,
    bulla: Bulla,
}

impl std::fmt::Display for ErrorForClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl actix_web::ResponseError for ErrorForClient {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let said = self.error.error_response();
        let mut response =
            adapt_error(&self.error, &self.client_kind, said.headers(), &self.bulla.0.pages).unwrap_or(said);
        protect(&self.bulla.0.protection, response.headers_mut());
        response
    }
}

/// Whether reading a body failed because it arrived too late.
fn is_late(error: &PayloadError) -> bool {
    matches!(error, PayloadError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
}

/// The problem for an error. An error of the framework itself (a body that is too large or incomplete, an extractor's error) also
/// becomes a problem, without its cause.
fn as_problem(error: &Error) -> Option<Problem> {
    if let Some(problem) = error.as_error::<Problem>() {
        return Some(problem.clone());
    }
    if let Some(shared) = error.as_error::<WithCookies>() {
        return as_problem(&shared.error);
    }
    let body = match error.as_error::<JsonPayloadError>() {
        Some(JsonPayloadError::ContentType) => return Some(Problem::unsupported_media_type()),
        Some(JsonPayloadError::Payload(body)) => Some(body),
        _ => error.as_error::<PayloadError>(),
    };
    match error.as_response_error().status_code() {
        _ if body.is_some_and(is_late) => Some(Problem::too_slow()),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Problem::too_large()),
        StatusCode::NOT_FOUND => Some(Problem::not_found()),
        status if status.is_client_error() => Some(Problem::bad_request("The request is malformed.")),
        _ => Some(Problem::internal()),
    }
}
