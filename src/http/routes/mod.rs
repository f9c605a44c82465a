//! The routes: a handler per route, in one file per family, and the table of all routes in `table`.

mod account;
mod admin;
mod administrator;
mod assets;
mod authorize;
mod body;
mod catch_panic;
mod clients;
mod cookie_check;
mod harden;
mod health;
mod identities;
mod login;
mod misdirected;
mod oauth;
mod openapi;
mod presented;
mod provider;
mod provider_failure;
mod renewal;
mod table;

pub(crate) use provider::callback_url;
pub(crate) use table::{Listener, app};
