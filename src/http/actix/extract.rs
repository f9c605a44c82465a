//! The extractors for handlers behind the guard.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload};

use crate::{
    http::Problem,
    session::{Machine, Principal},
};

impl FromRequest for Principal {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    /// The person whom the guard has recognised. Fails if the route is not behind a guard. Behind [`Guard::optional`], take an
    /// `Option<Principal>`.
    ///
    /// [`Guard::optional`]: crate::http::Guard::optional
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(Problem::unauthorized))
    }
}

impl FromRequest for Machine {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    /// The machine that the guard has admitted. Fails if a person sent the request or if the route is not behind such a guard.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(Problem::unauthorized))
    }
}
