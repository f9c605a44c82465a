//! The routes: a handler per route, in one file per family, and the table of all routes in `table`.

mod account;
mod admin;
mod admin_lists;
mod administrator;
mod assets;
mod audit;
#[cfg(feature = "oauth")]
mod authorize;
pub(crate) mod body;
mod catch_panic;
#[cfg(feature = "oauth")]
mod clients;
mod cookie_check;
mod harden;
mod health;
#[cfg(feature = "openid")]
mod identities;
mod login;
#[cfg(feature = "oauth")]
mod oauth;
mod parameters;
#[cfg(feature = "openid")]
mod presented;
#[cfg(feature = "openid")]
mod provider;
#[cfg(feature = "openid")]
mod provider_failure;
mod renewal;
mod table;
mod verify;

pub(crate) use catch_panic::catch_panic;
pub(crate) use harden::adapt_errors;
#[cfg(feature = "openid")]
pub(crate) use provider::callback_url;
#[cfg(feature = "oauth")]
pub(crate) use table::oauth_routes;
pub(crate) use table::{admin_routes, get, health_routes, methods, metrics_routes, not_found, query};
