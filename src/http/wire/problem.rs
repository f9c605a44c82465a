//! Turns a [`Problem`] into an answer of actix-web.

use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError, http::StatusCode};

use crate::problem::Problem;

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
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.head().content_type("application/problem+json").body(self.document())
    }
}
