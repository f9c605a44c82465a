//! The parts of HTTP messages: cookies, the `Authorization` header, bodies, the client's address, the public site, forged requests,
//! and the memory that incomplete requests hold.

pub(crate) mod address;
pub(crate) mod body;
pub(crate) mod cookies;
pub(crate) mod credentials;
pub(crate) mod forgery;
pub(crate) mod incoming;
pub(crate) mod intake;
mod problem;
pub(crate) mod request_log;
pub(crate) mod site;
