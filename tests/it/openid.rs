//! OpenID Connect: providers as they are documented, stood in for by servers of the tests, and one that is real.
//!
//! The server under test runs as a process, with the presets' own addresses: a proxy leads `https://accounts.google.com` and
//! the like to the stand-ins, whose certificate it is told to trust.

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
