//! HTTP: the server, and the guard for other programs on actix-web, tower and axum.
//!
//! [`Bulla`] is the handle: [`Bulla::builder`] starts an installation, and [`Bulla::routes`] are its routes under `/auth`.
//! [`Bulla::guard`] is the middleware that authenticates requests to an app's own routes; handlers there take a
//! [`Principal`](crate::session::Principal). [`serve`] runs the whole server.
//!
//! `wire` reads and writes the parts of HTTP messages, `pages` renders HTML, and `guard` authenticates requests: these do not use a
//! web framework. `actix` adapts them to actix-web and `tower` to tower and axum, `routes` has the handlers by family and the table
//! of all routes, `gateway` passes requests on to apps, and `server` listens.

#[cfg(feature = "actix")]
pub(crate) mod actix;
mod bulla;
#[cfg(feature = "cli")]
mod gateway;
#[cfg_attr(not(feature = "actix"), allow(dead_code, reason = "only the routes use the rest"))]
mod guard;
#[cfg_attr(not(feature = "actix"), allow(dead_code, reason = "only the routes use the rest"))]
pub mod pages;
#[cfg(feature = "actix")]
mod routes;
#[cfg(feature = "cli")]
mod server;
mod sign_in;
#[cfg(feature = "tower")]
pub mod tower;
pub(crate) mod wire;

pub use crate::{installation::StartError, problem::Problem};
#[cfg(feature = "actix")]
pub use actix::Guarded;
pub use bulla::{Builder, Bulla};
#[cfg(feature = "cli")]
pub use gateway::{UPSTREAM_FIELDS, UpstreamSettings};
pub use guard::Guard;
#[cfg(feature = "cli")]
pub(crate) use pages::PREFIX;
#[cfg(all(feature = "actix", feature = "openid"))]
pub(crate) use routes::callback_url;
#[cfg(feature = "cli")]
pub(crate) use server::certificate;
#[cfg(feature = "cli")]
pub use server::{Pulse, Serve, ServedCertificate, drain, serve};
pub use sign_in::{SessionCookies, SignedIn};
pub use wire::{
    address::ForwardedHeader,
    credentials::ForeignScheme,
    request::Request,
    site::{HostRule, Site},
};
