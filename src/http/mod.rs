//! HTTP: the server, and the middleware for other actix-web apps.
//!
//! [`Bulla`] is the handle: [`Bulla::builder`] starts an installation, and [`Bulla::routes`] are its routes under `/auth`.
//! [`Bulla::guard`] is the middleware that authenticates requests to an app's own routes; handlers there take a
//! [`Principal`](crate::session::Principal). [`serve`] runs the whole server.
//!
//! `wire` reads and writes the parts of HTTP messages, `pages` renders HTML, and `guard` authenticates requests: these know no web
//! framework. `actix` adapts them to actix-web, `routes` has the handlers by family and the table of all routes, and `server`
//! listens.

pub(crate) mod actix;
mod bulla;
mod guard;
mod pages;
mod routes;
#[cfg(feature = "cli")]
mod server;
mod sign_in;
mod wire;

pub use crate::{installation::StartError, problem::Problem};
pub use actix::{Guard, Guarded};
pub use bulla::{Builder, Bulla};
#[cfg(feature = "openid")]
pub(crate) use routes::callback_url;
#[cfg(feature = "cli")]
pub(crate) use server::certificate;
#[cfg(feature = "cli")]
pub use server::{Serve, drain, serve, tls};
pub use sign_in::{SessionCookies, SignedIn};
pub use wire::{address::ForwardedHeader, credentials::ForeignScheme, site::Site};
