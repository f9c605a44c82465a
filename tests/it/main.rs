//! The integration tests, one binary: one file per subject.

mod arrows;
mod model;
mod ring;
