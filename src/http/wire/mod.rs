//! The parts of HTTP messages: the view of a request and the answer, cookies, the `Authorization` header, the client's address, the
//! public site, forged requests, protective headers, and the memory that incomplete requests hold.
//! These files do not use a web framework.

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod cookies;
pub(crate) mod credentials;
pub(crate) mod forgery;
pub(crate) mod memory_budget;
pub(crate) mod protection;
pub(crate) mod request;
pub(crate) mod request_log;
pub(crate) mod site;
