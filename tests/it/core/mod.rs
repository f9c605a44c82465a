//! Tests keys and tokens: the keys directory, the token format, other implementations of it, and the structure of the source.

mod arrows;
mod circles;
mod client_packages;
mod openers;
mod public_api;
mod ring;
pub mod source;
mod token;
mod vectors;
