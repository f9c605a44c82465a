//! The integration tests, one binary: one file per subject.

// Whatever goes wrong in a test, or in what tests share, is to end it.
#![allow(clippy::unwrap_used, clippy::panic)]
// A test's module is seen by this binary alone.
#![allow(unreachable_pub)]

mod arrows;
mod cluster;
mod foreign;
mod ground;
mod keys;
mod model;
mod postgres;
mod ring;
mod session;
mod store;
mod town;

mod cli;
mod code;
mod http;
mod oauth;
mod openapi;
mod process;
mod readme;
mod server;
mod steps;
