//! Converts answers, problems and cookies into the types of actix-web.

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

use crate::{
    http::{
        SessionCookies,
        wire::{answer::Answer, cookies::SetCookies, protection::Protection},
    },
    problem::Problem,
};

impl From<Answer> for HttpResponse {
    fn from(answer: Answer) -> Self {
        let mut response = Self::build(status(answer.status));
        for header in answer.headers {
            response.insert_header(header);
        }
        response.body(answer.body)
    }
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl Problem {
    /// The status and the headers of the problem, for a body that the caller supplies.
    pub(crate) fn head(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status_code());
        for header in self.headers() {
            response.insert_header(header);
        }
        response
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        status(self.status())
    }

    fn error_response(&self) -> HttpResponse {
        Answer::problem(self).into()
    }
}

impl SessionCookies {
    /// Adds the cookies to an answer, and sets `Cache-Control: no-store`, so that no cache stores it, whatever the handler has set.
    #[must_use]
    pub fn on(self, mut answer: HttpResponse) -> HttpResponse {
        add_cookies(answer.headers_mut(), &self.0);
        answer
    }
}

/// Adds the `Set-Cookie` lines. An answer with cookies also gets `Cache-Control: no-store`, whatever the handler has set.
pub(crate) fn add_cookies(headers: &mut HeaderMap, cookies: &SetCookies) {
    for line in cookies.lines() {
        if let Ok(line) = HeaderValue::from_str(line) {
            headers.append(header::SET_COOKIE, line);
        }
    }
    if !cookies.is_empty() {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Adds the cookies of a renewal, except those that the handler has set or cleared itself.
pub(super) fn add_renewed(headers: &mut HeaderMap, cookies: SetCookies) {
    let cookies = cookies.besides(headers.get_all(header::SET_COOKIE).map(HeaderValue::as_bytes));
    add_cookies(headers, &cookies);
}

/// Sets the protective headers.
pub(crate) fn protect(protection: &Protection, headers: &mut HeaderMap) {
    let is_page =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    for (name, value) in protection.headers(is_page) {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
