//! The answers to failed requests: problem documents (RFC 9457) with a stable `code`. They never contain the cause.

use std::{fmt, time::Duration};

use crate::session::Denied;

/// The answer to a failed request: a status, a stable code, and a sentence for the caller (RFC 9457). `Display` has the code only.
/// No part contains a cause, a token or a key. Bulla's routes and guards answer with it; with the features `actix` and `tower` a
/// handler can return it as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: u16,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    cross_site: bool,
    place: Option<String>,
}

impl Problem {
    fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
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
        Self::new(400, "bad_request", detail)
    }
    /// 400: the `Authorization` header is malformed or ambiguous.
    pub fn bad_authorization() -> Self {
        Self::new(400, "bad_authorization", "The Authorization header is malformed.")
    }
    /// 401: the caller is not authenticated. All reasons give the same answer.
    pub fn unauthorized() -> Self {
        Self::new(401, "unauthorized", "Please sign in.")
    }
    /// 401: another site caused the request, and only the refresh token could authenticate it. A program gets the same answer as
    /// from [`unauthorized`](Self::unauthorized). A browser that navigates gets a page that sends the request again.
    pub(crate) fn cross_site() -> Self {
        Self { cross_site: true, ..Self::unauthorized() }
    }
    /// 401: name or password is wrong. The answer does not say which.
    pub fn wrong_credentials() -> Self {
        Self::new(401, "wrong_credentials", "Name or password is wrong.")
    }
    /// 403: the current password, which the change requires, is wrong.
    pub fn wrong_password() -> Self {
        Self::new(403, "wrong_password", "The current password is wrong.")
    }
    /// 403: another site caused the request; it does not come from a page of this server.
    pub fn foreign_origin() -> Self {
        Self::new(403, "foreign_origin", "This request did not come from a page of this server.")
    }
    /// 403: the token belongs to an app or a machine that is not admitted here, whatever its user may do.
    pub fn program_not_admitted() -> Self {
        let detail = "This token was issued to an OAuth client. Its scope does not permit this request.";
        Self::new(403, "program_not_admitted", detail)
    }
    /// 403: the caller is authenticated but not allowed to do this.
    pub fn forbidden() -> Self {
        Self::new(403, "forbidden", "You are not allowed to do this.")
    }
    /// 403: an access token alone is not enough; the request must present the session.
    pub fn session_required() -> Self {
        let detail = "This request must present the session: its refresh cookie, without an Authorization header. An \
            access token alone is not enough. If you see this on a page, please sign in again.";
        Self::new(403, "session_required", detail)
    }
    /// 403: the last login is too long ago to change a login method.
    pub fn reauth_required() -> Self {
        let detail = "Your last sign-in is too long ago to change how you sign in. Please sign in again, or send \
            your current password with the request.";
        Self::new(403, "reauth_required", detail)
    }
    /// 403: the login at a provider does not prove the person's identity again; `detail` says why.
    pub(crate) fn reauth_failed(detail: &str) -> Self {
        Self::new(403, "reauth_required", detail)
    }
    /// Whether a new login solves the problem.
    pub(crate) fn asks_for_a_login(&self) -> bool {
        matches!(self.code, "session_required" | "reauth_required")
    }
    /// 403: the identity is proven, but no user has it.
    pub fn no_account() -> Self {
        let detail = "No user of this server has this identity. Sign in another way and link it, or ask the \
            administrator for an account.";
        Self::new(403, "no_account", detail)
    }
    /// 404: there is nothing at this address.
    pub fn not_found() -> Self {
        Self::new(404, "not_found", "There is nothing at this address.")
    }
    /// 404: `client_id` names no registered app.
    pub fn unknown_client() -> Self {
        let detail =
            "The client_id of this request is not the id of a registered app. Check the settings of the app.";
        Self::new(404, "unknown_client", detail)
    }
    /// 404: the session does not exist or belongs to another user.
    pub fn no_such_session() -> Self {
        Self::new(404, "not_found", "This device is not signed in any more.")
    }
    /// 405: the method is not allowed. The header `Allow` has the value `allow`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("Methods allowed at this address: {allow}.");
        Self { allow: Some(allow), ..Self::new(405, "method_not_allowed", detail) }
    }
    /// 408: the body did not arrive in time.
    pub fn too_slow() -> Self {
        Self::new(408, "too_slow", "The body took too long to arrive.")
    }
    /// 409: `detail` names the conflict.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(409, "conflict", detail)
    }
    /// 413: the body is too large.
    pub fn too_large() -> Self {
        Self::new(413, "too_large", "The body is too large.")
    }
    /// 415: the media type of the body is not supported. The answer names the media types that are accepted.
    pub fn unsupported_media_type() -> Self {
        let detail = "The media type of the body is not supported. Send application/json or application/x-www-form-urlencoded.";
        Self::new(415, "unsupported_media_type", detail)
    }
    /// 421: the request is for another host. `expected` is the origin of this server.
    pub fn misdirected(expected: &str) -> Self {
        let detail = format!(
            "This server does not serve the requested host. The address of this server is {expected}"
        );
        let place = Some(expected.to_owned());
        Self { place, ..Self::new(421, "misdirected", detail) }
    }
    /// 422: `detail` says what must change in the input.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(422, "unprocessable", detail)
    }
    /// 429 with `Retry-After`, rounded up to whole seconds: there were too many failed attempts before this request.
    pub fn throttled(retry_after: Duration) -> Self {
        let detail = "Too many failed attempts. Please wait a moment.";
        Self { retry_after: Some(retry_after), ..Self::new(429, "throttled", detail) }
    }
    /// 429 with `Retry-After`: the queue of logins is full.
    pub fn busy() -> Self {
        let detail = "Too many sign-ins at the same time. Please try again in a moment.";
        Self { retry_after: Some(Duration::from_secs(2)), ..Self::new(429, "busy", detail) }
    }
    /// 431: the headers are too large.
    pub fn headers_too_large() -> Self {
        let detail = "The headers are too large.";
        Self::new(431, "headers_too_large", detail)
    }
    /// 500: an internal error.
    pub fn internal() -> Self {
        Self::new(500, "internal", "An internal error occurred.")
    }
    /// 502: the app behind the gateway can't be reached, or closed the connection before its answer.
    pub(crate) fn bad_gateway() -> Self {
        let detail = "The app behind this server is not available at the moment. Please try again.";
        Self::new(502, "upstream_unavailable", detail)
    }
    /// 504: the app behind the gateway did not answer in time.
    pub(crate) fn gateway_timeout() -> Self {
        let detail = "The app behind this server did not answer in time. Please try again.";
        Self::new(504, "upstream_timeout", detail)
    }
    /// 503 with `Retry-After`: a provider is unavailable; other login methods still work.
    pub fn provider_away() -> Self {
        let detail = "The provider is not available at the moment. Please try again, or sign in another way.";
        Self { retry_after: Some(Duration::from_secs(10)), ..Self::new(503, "provider_away", detail) }
    }
    /// 503 with `Retry-After`: the server can't tell the answer at present, for example because the database is unavailable.
    pub fn unavailable() -> Self {
        let detail = "The server can't answer this request at the moment. Please try again.";
        Self { retry_after: Some(Duration::from_secs(2)), ..Self::new(503, "unavailable", detail) }
    }

    /// Whether this problem was made by [`cross_site`](Self::cross_site).
    pub(crate) fn is_cross_site(&self) -> bool {
        self.cross_site
    }

    /// The address of this server that a browser opens instead of showing the problem.
    pub(crate) fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The time to wait before the next try.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The stable code, such as `wrong_credentials`. Programs compare it.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence for the caller.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers of the answer, besides those of its body.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        // Rounded up to whole seconds, because a retry before the end of the wait would be refused again.
        let retry_after = self.retry_after.map(|wait| wait.as_millis().div_ceil(1000).to_string());
        // Required by RFC 6750, section 3.1.
        let scope =
            (self.code == "program_not_admitted").then(|| r#"Bearer error="insufficient_scope""#.into());
        [
            ("retry-after", retry_after),
            ("allow", self.allow.map(str::to_owned)),
            ("www-authenticate", scope),
            ("cache-control", Some("no-store".into())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// The problem document (RFC 9457), of the media type `application/problem+json`.
    pub(crate) fn document(&self) -> String {
        serde_json::json!({
            "type": "about:blank",
            "title": reason_phrase(self.status),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        })
        .to_string()
    }
}

/// The reason phrase of a status that a problem has (RFC 9110, section 15; RFC 6585).
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Payload Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
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

/// `Some` for a valid token, `None` for an invalid one, and an error if the validity is unknown.
pub(crate) fn known<T>(asked: Result<T, Denied>) -> Result<Option<T>, Problem> {
    match asked {
        Ok(known) => Ok(Some(known)),
        Err(Denied::Token(_) | Denied::Session | Denied::Reuse) => Ok(None),
        Err(cannot_tell) => Err(cannot_tell.into()),
    }
}

impl From<crate::store::StoreError> for Problem {
    fn from(error: crate::store::StoreError) -> Self {
        use crate::store::StoreError;
        match error {
            StoreError::Conflict(what) => Self::conflict(what),
            StoreError::LastAdmin | StoreError::LastWayIn => Self::conflict(error.to_string()),
            StoreError::Stale => {
                Self::conflict("This has changed in the meantime, and nothing was written. Please try again.")
            }
            StoreError::CallerEnded => Self::unauthorized(),
            StoreError::Unavailable(_) | StoreError::Broken | StoreError::Schema(_) => {
                tracing::warn!(%error, "the store could not answer");
                Self::unavailable()
            }
        }
    }
}
