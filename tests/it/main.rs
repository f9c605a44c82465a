//! The integration tests, one binary: one file per subject.

// Whatever goes wrong in a test, or in what tests share, is to end it.
#![allow(clippy::unwrap_used, clippy::panic)]
// A test's module is seen by this binary alone.
#![allow(unreachable_pub)]

mod arrows;
mod cluster;
mod ground;
mod keys;
mod migrate;
mod model;
mod postgres;
mod ring;
mod session;
mod store;
mod town;

mod cli;
mod fleet;
mod http;
mod process;
mod readme;
mod server;
