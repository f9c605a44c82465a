//! Tests OpenID Connect with stand-ins for the providers and with one real provider.
//!
//! The stand-ins are servers of the tests that behave as the providers document. The server under test runs as a process and uses
//! the addresses of the presets. A proxy leads requests for `https://accounts.google.com` and the other providers to the stand-ins,
//! and the server is configured to trust their certificate.

mod cognito;
mod doctor;
mod facebook;
mod forged_tokens;
mod generic_provider;
mod google;
mod jumpcloud;
mod okta;
mod outage;
mod parallel_logins;
mod presented_tokens;
mod real_provider;
mod reauthentication;
mod token_cases;
mod unknown_keys;
mod unusual_answers;
mod users;
