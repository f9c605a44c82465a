//! OAuth 2: tokens for programs (RFC 6749), exchange for tokens with other audiences (RFC 8693), revocation (RFC 7009) and
//! introspection (RFC 7662). This module uses the protocol's error codes, but no HTTP status codes.

mod assertion;
mod authorize;
mod client;
mod exchange;
mod form;
mod introspect;
mod issuer;
mod metadata;
mod redirect;
mod refusal;
pub mod registration;
mod revoke;
mod target;
mod token;

pub use authorize::{AppRedirect, Authorization, AuthorizationError, CODE_MAX_AGE};
pub use client::{Client, Credentials};
pub use form::Form;
pub use issuer::Issuer;
pub use metadata::metadata;
pub use refusal::Refusal;
pub use token::Granted;
