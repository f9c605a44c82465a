//! The integration tests, one binary: one file per subject.

// Whatever goes wrong in a test, or in what tests share, is to end it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod arrows;
mod keys;
mod model;
mod ring;
mod session;
mod town;
