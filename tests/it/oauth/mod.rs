//! Tests OAuth: clients, tokens of machines, and apps that sign users in.

pub mod authorization_code;
pub mod clients;
pub mod other_clients;
mod rfc6749_figure;
mod scopes_and_audiences;
