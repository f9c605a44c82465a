//! Tests OpenID Connect with stand-ins for the providers and with one real provider.
//!
//! The stand-ins are servers of the tests that behave as the providers document. The server under test runs as a process and uses
//! the addresses of the presets. A proxy leads requests for `https://accounts.google.com` and the other providers to the stand-ins,
//! and the server is configured to trust their certificate.

mod again;
mod attacks;
mod cases;
mod cognito;
mod doctor;
mod facebook;
mod flood;
mod google;
mod jumpcloud;
mod oddities;
mod oidc;
mod okta;
mod outage;
mod people;
mod presented;
mod real;
pub mod signer;
mod tabs;
mod vendor;
mod world;
