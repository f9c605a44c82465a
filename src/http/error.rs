//! The answers to failed requests: problem documents (RFC 9457) with a stable `code`. They never contain the cause.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};

use super::again::NotAgain;
use crate::session::Denied;

/// A failed request. `Display` and the body contain the code, and the body also a sentence for the caller. They never contain a
/// cause, a token or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    cross_site: bool,
    place: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after: None,
            allow: None,
            cross_site: false,
            place: None,
        }
    }

    /// 400: the request is wrong; `detail` says how.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }
    /// 400: the `Authorization` header is malformed or ambiguous.
    pub fn bad_authorization() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_authorization", "The Authorization header is malformed.")
    }
    /// 401: the caller is not recognised. All reasons have this same answer.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Please log in.")
    }
    /// 401: another site caused the request, and only the refresh token could authenticate it. A program gets the same answer as
    /// from [`unauthorized`](Self::unauthorized). A browser that navigates gets a page that sends the request again.
    pub(super) fn cross_site() -> Self {
        Self { cross_site: true, ..Self::unauthorized() }
    }
    /// 401: name or password is wrong. The answer does not say which.
    pub fn wrong_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "wrong_credentials", "Name or password is wrong.")
    }
    /// 403: the present password, which the change requires, is wrong.
    pub fn wrong_password() -> Self {
        Self::new(StatusCode::FORBIDDEN, "wrong_password", "The present password is wrong.")
    }
    /// 403: the request does not come from a page of this server.
    pub fn foreign_origin() -> Self {
        Self::new(StatusCode::FORBIDDEN, "foreign_origin", "This request did not come from our own pages.")
    }
    /// 403: a token of an app or a machine that is not admitted here, whatever its user may do.
    pub fn program_not_admitted() -> Self {
        let detail = "This token was granted to an app or a machine. Its scope does not admit it here.";
        Self::new(StatusCode::FORBIDDEN, "program_not_admitted", detail)
    }
    /// 403: the caller is recognised but not allowed to do this.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "You may not do this.")
    }
    /// 403: an access token alone is not enough; the request must present the session.
    pub fn session_required() -> Self {
        let detail = "This needs the session itself: its refresh cookie, without an Authorization header. An access \
                      token alone is not enough. If you see this on a page, please sign in again.";
        Self::new(StatusCode::FORBIDDEN, "session_required", detail)
    }
    /// 403: the last login is too long ago to change a login method.
    pub fn reauth_required() -> Self {
        let detail = "Your last login is too long ago to change how you sign in. Please sign in again, or send your \
                      present password with the request.";
        Self::new(StatusCode::FORBIDDEN, "reauth_required", detail)
    }
    /// 403: the login at a provider does not prove the person's identity again.
    pub(super) fn not_again(why: NotAgain) -> Self {
        let detail = match why {
            NotAgain::SomebodyElse => {
                "You signed in there as somebody else than here. Please sign in as the same user."
            }
            NotAgain::NotRecent => {
                "The provider does not say that you have just signed in there. Please sign in with your password, or \
                 by way of another provider."
            }
        };
        Self::new(StatusCode::FORBIDDEN, "reauth_required", detail)
    }
    /// Whether a new login solves the problem.
    pub(super) fn asks_for_a_login(&self) -> bool {
        matches!(self.code, "session_required" | "reauth_required")
    }
    /// 403: the identity is proven, but no user has it.
    pub fn no_account() -> Self {
        let detail = "Nobody here has this identity. Sign in another way and link it, or ask for an account.";
        Self::new(StatusCode::FORBIDDEN, "no_account", detail)
    }
    /// 404.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
    }
    /// 404: `client_id` names no registered app.
    pub fn unknown_client() -> Self {
        let detail = "The client_id of this request names no app that is registered here. Check it where the app is set up.";
        Self::new(StatusCode::NOT_FOUND, "unknown_client", detail)
    }
    /// 404: the session does not exist or belongs to another user.
    pub fn no_such_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "That device is no longer signed in.")
    }
    /// 405 with `Allow`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("Allowed here: {allow}.");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail) }
    }
    /// 408: the body took too long.
    pub fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "The body took too long to arrive.")
    }
    /// 409: `detail` names the conflict.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }
    /// 413.
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large.")
    }
    /// 415: the answer names the media types that are accepted.
    pub fn unsupported_media_type() -> Self {
        let detail = "Send application/json or application/x-www-form-urlencoded.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }
    /// 421: the request is for another host. `expected` is the origin of this server.
    pub fn misdirected(expected: &str) -> Self {
        let detail = format!("This host is not served here. The address of this server is {expected}");
        let place = Some(expected.to_owned());
        Self { place, ..Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail) }
    }
    /// 422: `detail` says what must change in the input.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", detail)
    }
    /// 429 with `Retry-After`: there were too many failures before this request.
    pub fn throttled(retry_after: Duration) -> Self {
        let detail = "Too many failed attempts. Please wait a moment.";
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "throttled", detail)
        }
    }
    /// 429: the queue of logins is full.
    pub fn busy() -> Self {
        let detail = "Too many logins at once. Please try again in a moment.";
        Self {
            retry_after: Some(Duration::from_secs(2)),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail)
        }
    }
    /// 431.
    pub fn headers_too_large() -> Self {
        let detail = "The headers are too large.";
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail)
    }
    /// 500.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something failed.")
    }
    /// 503 with `Retry-After`: a provider is unavailable; other login methods still work.
    pub fn provider_away() -> Self {
        let detail = "The provider can't be asked at the moment. Please try again, or sign in another way.";
        Self {
            retry_after: Some(Duration::from_secs(10)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "provider_away", detail)
        }
    }
    /// 503 with `Retry-After`: the answer is unknown at present.
    pub fn unavailable() -> Self {
        let detail = "This can't be answered at the moment. Please try again.";
        Self {
            retry_after: Some(Duration::from_secs(2)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        }
    }

    /// Whether this problem was made by [`cross_site`](Self::cross_site).
    pub(super) fn is_cross_site(&self) -> bool {
        self.cross_site
    }

    /// An address of this server to open instead.
    pub(super) fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The time to wait before the next try.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence for the caller.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The status and the headers of the problem, for a body that the caller supplies.
    pub(super) fn head(&self) -> actix_web::HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status);
        if let Some(wait) = self.retry_after {
            // Rounded up to whole seconds, because an earlier try would be refused again.
            response.insert_header((header::RETRY_AFTER, wait.as_millis().div_ceil(1000).to_string()));
        }
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        if self.code == "program_not_admitted" {
            // Required by RFC 6750, section 3.1.
            response.insert_header((header::WWW_AUTHENTICATE, r#"Bearer error="insufficient_scope""#));
        }
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        self.head().content_type("application/problem+json").body(body.to_string())
    }
}

impl From<Denied> for Problem {
    /// An invalid token gives 401. If validity is unknown, the answer is 503.
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Token(_) | Denied::Session | Denied::Reuse => Self::unauthorized(),
            Denied::CannotTell(error) => error.into(),
            Denied::Seal(error) => {
                tracing::error!(%error, "a token could not be sealed");
                Self::unavailable()
            }
        }
    }
}

impl From<crate::store::StoreError> for Problem {
    fn from(error: crate::store::StoreError) -> Self {
        use crate::store::StoreError;
        match error {
            StoreError::Conflict(what) => Self::conflict(what),
            StoreError::LastAdmin | StoreError::LastWayIn => Self::conflict(error.to_string()),
            StoreError::Moved => {
                Self::conflict("This has changed in the meantime, and nothing was written. Please try again.")
            }
            StoreError::Ended => Self::unauthorized(),
            StoreError::Unavailable(_) | StoreError::Broken | StoreError::Schema(_) => {
                tracing::warn!(%error, "the store can't tell");
                Self::unavailable()
            }
        }
    }
}
