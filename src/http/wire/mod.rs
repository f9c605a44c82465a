//! The parts of HTTP messages: the view of a request and the answer, cookies, the `Authorization` header, the client's address, the
//! public site, forged requests, identity headers, the request that a proxy asks about, protective headers, and the memory that
//! incomplete requests hold.
//! These files do not use a web framework.

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod cookies;
pub(crate) mod credentials;
pub(crate) mod forgery;
#[cfg(feature = "actix")]
pub(crate) mod identity;
#[cfg(feature = "actix")]
pub(crate) mod lines;
pub(crate) mod memory_budget;
#[cfg(feature = "actix")]
pub(crate) mod original;
#[cfg(feature = "actix")]
pub(crate) mod path;
pub(crate) mod protection;
pub(crate) mod request;
pub(crate) mod request_log;
pub(crate) mod site;
