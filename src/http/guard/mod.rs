//! The guard: passes only authenticated requests on. It knows no web framework; `http::actix` and `http::tower` are its adapters.
//!
//! `admits` holds the options of a guard and decides about a request. `ladder` tries the steps of authentication, `session_proof`
//! checks the proofs that a change requires in addition to an access token, `log_out` ends the session that a request presents,
//! and `refusal` gives a refusal the form for its client.

pub(crate) mod admits;
#[cfg(feature = "openid")]
pub(crate) mod id_token;
pub(crate) mod ladder;
pub(crate) mod log_out;
#[cfg(feature = "openid")]
pub(crate) mod login_cookies;
pub(crate) mod refusal;
pub(crate) mod session_proof;
