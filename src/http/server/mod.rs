//! The server: listeners, TLS, time limits and shutdown.

mod app;
pub(crate) mod certificate;
mod drain;
mod front;
mod gate;
mod incoming;
mod intake;
mod listen;
mod misdirected;
mod openapi;

pub use certificate::tls;
pub use drain::drain;
pub use listen::{Serve, serve};
