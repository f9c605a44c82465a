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
mod pulse;
mod served_certificate;

pub use drain::drain;
pub use listen::{Serve, serve};
pub use pulse::Pulse;
pub use served_certificate::ServedCertificate;
