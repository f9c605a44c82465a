//! Converts answers, problems and cookies into the types of the crate `http`, version 1, and of axum.

use std::convert::Infallible;

use axum_core::{
    body::Body,
    response::{IntoResponse, IntoResponseParts, ResponseParts},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, SET_COOKIE},
};

use crate::{
    http::{
        SessionCookies,
        wire::{answer::Answer, cookies::SetCookies},
    },
    problem::Problem,
};

/// Converts an answer, for any body that can be made from text.
pub(crate) fn response<B: From<String>>(answer: Answer) -> Response<B> {
    let mut response = Response::new(B::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Adds the `Set-Cookie` lines. An answer with cookies also gets `Cache-Control: no-store`, whatever the handler has set.
pub(super) fn add_cookies(headers: &mut HeaderMap, cookies: &SetCookies) {
    for line in cookies.lines() {
        if let Ok(line) = HeaderValue::from_str(line) {
            headers.append(SET_COOKIE, line);
        }
    }
    if !cookies.is_empty() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Adds the cookies of a renewal, except those that the handler has set or cleared itself.
pub(crate) fn add_renewed(headers: &mut HeaderMap, cookies: SetCookies) {
    let cookies = cookies.besides(headers.get_all(SET_COOKIE).iter().map(HeaderValue::as_bytes));
    add_cookies(headers, &cookies);
}

impl IntoResponse for Problem {
    /// The problem document.
    fn into_response(self) -> Response<Body> {
        response(Answer::problem(&self))
    }
}

impl IntoResponseParts for SessionCookies {
    type Error = Infallible;

    /// Adds the cookies, and sets `Cache-Control: no-store`, so that no cache stores the answer.
    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        add_cookies(parts.headers_mut(), &self.0);
        Ok(parts)
    }
}

impl IntoResponse for SessionCookies {
    /// An answer with the cookies and without a body.
    fn into_response(self) -> Response<Body> {
        (self, ()).into_response()
    }
}
