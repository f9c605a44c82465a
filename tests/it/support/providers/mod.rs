//! Simulated OpenID Connect providers: their keys, their servers, and a person who signs in there.

pub mod internet;
pub mod provider;
pub mod signer;
