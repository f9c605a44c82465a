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
        guard::refusal::Asker,
        pages::Way,
        routes::catch_panic::survive,
        wire::incoming,
    },
    store::patiently,
};

/// Middleware around the routes of a login.
pub(crate) async fn secure(
    bulla: Bulla,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let asker = Asker::of(request.request(), &bulla.0.site);
    let mut response = told(&bulla, asker, patiently(survive(next.call(request))).await)?;
    protect(&bulla.0.protection, response.headers_mut());
    Ok(response)
}

/// Gives an error the form that suits the client, unless an inner middleware has already done so.
pub(crate) fn told<B: MessageBody + 'static>(
    bulla: &Bulla,
    asker: Asker,
    answer: Result<ServiceResponse<B>, Error>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let response = match answer {
        Ok(response) => response,
        Err(error) if error.as_error::<Told>().is_some() => return Err(error),
        Err(error) => return Err(Told { error, asker, bulla: bulla.clone() }.into()),
    };
    let error = response.response().error();
    let told = error.and_then(|error| tell(error, &asker, response.headers(), &bulla.0.ways));
    let Some(mut told) = told else { return Ok(response.map_into_left_body()) };
    protect(&bulla.0.protection, told.headers_mut());
    Ok(response.into_response(told).map_into_right_body())
}

/// The answer to an error in the form for its client. Keeps the cookies and the CORS header of the original answer `said`. `None`
/// if the original answer is suitable.
fn tell(error: &Error, asker: &Asker, said: &HeaderMap, ways: &[Way]) -> Option<HttpResponse> {
    let mut told = HttpResponse::from(asker.refuse(&in_our_words(error)?, ways));
    for name in [header::SET_COOKIE, header::ACCESS_CONTROL_ALLOW_ORIGIN] {
        for value in said.get_all(&name) {
            told.headers_mut().append(name.clone(), value.clone());
        }
    }
    Some(told)
}

/// An error that is being returned, with the data for its answer.
#[derive(Debug)]
struct Told {
    error: Error,
    asker: Asker,
    bulla: Bulla,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl actix_web::ResponseError for Told {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let said = self.error.error_response();
        let mut response = tell(&self.error, &self.asker, said.headers(), &self.bulla.0.ways).unwrap_or(said);
        protect(&self.bulla.0.protection, response.headers_mut());
        response
    }
}

/// The problem for an error. An error of the framework itself (a body that is too large or incomplete, an extractor's error) also
/// becomes a problem, without its cause.
fn in_our_words(error: &Error) -> Option<Problem> {
    if let Some(problem) = error.as_error::<Problem>() {
        return Some(problem.clone());
    }
    if let Some(shared) = error.as_error::<WithCookies>() {
        return in_our_words(&shared.error);
    }
    let body = match error.as_error::<JsonPayloadError>() {
        Some(JsonPayloadError::ContentType) => return Some(Problem::unsupported_media_type()),
        Some(JsonPayloadError::Payload(body)) => Some(body),
        _ => error.as_error::<PayloadError>(),
    };
    match error.as_response_error().status_code() {
        _ if body.is_some_and(incoming::is_late) => Some(Problem::too_slow()),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Problem::too_large()),
        StatusCode::NOT_FOUND => Some(Problem::not_found()),
        status if status.is_client_error() => Some(Problem::bad_request("The request is malformed.")),
        _ => Some(Problem::internal()),
    }
}
