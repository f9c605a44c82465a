//! The server: listeners, TLS, time limits and shutdown.

pub(crate) mod certificate;
mod drain;
mod listen;

pub use certificate::tls;
pub use drain::drain;
pub use listen::{Serve, serve};
