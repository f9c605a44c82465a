//! Tests keys and tokens: the keys directory, the token format, other implementations of it, and the structure of the source.

mod arrows;
mod client_packages;
mod openers;
mod ring;
mod token;
mod vectors;
