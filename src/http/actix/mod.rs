//! The adapter for actix-web: the guard as middleware, extractors for the caller, and the conversions of requests and answers.

mod answer;
mod extract;
pub(crate) mod guard;
mod request;

pub(crate) use answer::{add_cookies, protect};
pub use guard::Guarded;
