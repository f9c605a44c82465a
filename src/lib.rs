//! Bulla: sessions without JWT.

pub mod clock;
pub mod ids;
pub mod keyring;
pub mod secret;
pub mod token;

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod identity;
#[cfg(feature = "server")]
pub mod oauth;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod store;
