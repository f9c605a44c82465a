//! Limits the effect of a panic in a handler to its own request.

use std::panic::AssertUnwindSafe;

use actix_web::Error;
use futures_util::FutureExt as _;

use crate::http::Problem;

/// The answer, or a 500 if its handler panicked.
pub(crate) async fn catch_panic<R>(answer: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
    // The data of the request is dropped with it, and code that uses shared locks ignores poisoning.
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(answer) => answer,
        Err(_) => Err(Problem::internal().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_panic_in_a_handler_is_a_500_that_tells_nothing() {
        let panicking = async { if true { panic!("hunter2") } else { Ok(()) } };
        let error = catch_panic(panicking).await.unwrap_err();
        let answer = error.error_response();
        assert_eq!(answer.status(), 500);
        let body = actix_web::body::to_bytes(answer.into_body()).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("\"code\"") && !body.contains("hunter2"), "{body}");
    }

    #[actix_web::test]
    async fn what_does_not_panic_is_passed_on() {
        assert_eq!(catch_panic(async { Ok(7) }).await.unwrap(), 7);
        let refused = catch_panic::<()>(async { Err(Problem::not_found().into()) }).await.unwrap_err();
        assert_eq!(refused.error_response().status(), 404);
    }
}
