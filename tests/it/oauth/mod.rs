//! Tests OAuth: clients, tokens of machines, and apps that sign users in.

mod app_tokens;
mod authorization_code;
mod client_administration;
mod client_authentication;
mod client_credentials;
mod introspection_and_revocation;
mod metadata;
pub mod other_clients;
mod rfc6749_figure;
mod scopes_and_audiences;
mod token_exchange;
