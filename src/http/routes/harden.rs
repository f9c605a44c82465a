//! Middleware for all routes of a login: sets protective headers, and gives errors the form that suits the client.

use actix_web::{
    Error, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::{JsonPayloadError, PayloadError},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
};

use crate::{
    http::{
        Bulla, Problem, Site,
        bulla::Shared,
        guard::{self, refusal::Asker},
        pages::Way,
        routes::catch_panic::survive,
        wire::incoming,
    },
    store::patiently,
};

/// Allows only styles, pictures and forms of this server: no scripts, no framing.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
                   form-action 'self'";

/// The content security policy of the pages. Browsers apply `form-action` also to the redirect after a form. So the policy contains
/// the origins to which a login may return. (IPv6 addresses are not possible, CSP 3 section 2.3.1.)
pub(crate) fn content_policy(site: &Site) -> HeaderValue {
    let fits = |origin: &&str| origin.bytes().all(|b| b.is_ascii_graphic() && !b";,[".contains(&b));
    let policy = site.allowed().filter(fits).fold(String::from(CSP), |policy, origin| policy + " " + origin);
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(CSP))
}

impl Shared {
    /// Sets the protective headers.
    pub(crate) fn harden(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_SECURITY_POLICY, self.content_policy.clone());
        // With `no-referrer`, the forms of a page would send `Origin: null`.
        let is_page =
            headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, if is_page { "same-origin" } else { "no-referrer" }),
            (header::CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.site.is_tls() {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
    }
}

/// Middleware around the routes of a login.
pub(crate) async fn secure(
    bulla: Bulla,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let asker = Asker::of(request.request(), &bulla.0.site);
    let mut response = told(&bulla, asker, patiently(survive(next.call(request))).await)?;
    bulla.0.harden(response.headers_mut());
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
    bulla.0.harden(told.headers_mut());
    Ok(response.into_response(told).map_into_right_body())
}

/// The answer to an error in the form for its client. Keeps the cookies and the CORS header of the original answer `said`. `None`
/// if the original answer is suitable.
fn tell(error: &Error, asker: &Asker, said: &HeaderMap, ways: &[Way]) -> Option<HttpResponse> {
    let mut told = asker.refuse(&in_our_words(error)?, ways);
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
        self.bulla.0.harden(response.headers_mut());
        response
    }
}

/// The problem for an error. An error of the framework itself (a body that is too large or incomplete, an extractor's error) also
/// becomes a problem, without its cause.
fn in_our_words(error: &Error) -> Option<Problem> {
    if let Some(problem) = error.as_error::<Problem>() {
        return Some(problem.clone());
    }
    if let Some(shared) = error.as_error::<guard::WithCookies>() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_may_lead_to_the_origins_that_a_login_returns_to() {
        let policy = |allowed: &[&str]| {
            let site = Site::public("https://app.example").allow(allowed.iter().map(|o| (*o).into()));
            content_policy(&site).to_str().unwrap().to_owned()
        };
        assert_eq!(policy(&[]), CSP);
        assert_eq!(
            policy(&["https://a.example", "https://b.example:8443/"]),
            format!("{CSP} https://a.example https://b.example:8443")
        );
        assert_eq!(policy(&["http://[::1]:1", "https://a; script-src *", "https://ä.example"]), CSP);
    }
}
