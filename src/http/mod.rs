//! HTTP: the server, and the middleware for other actix-web apps.
//!
//! [`Bulla`] is the handle: [`Bulla::builder`] starts an installation, and [`Bulla::routes`] are its routes under `/auth`.
//! [`Bulla::guard`] is the middleware that authenticates requests to an app's own routes; handlers there take a
//! [`Principal`](crate::session::Principal). [`serve`] runs the whole server.

mod account;
mod address;
mod admin;
mod administrator;
mod again;
mod app;
mod attempts;
mod authorize;
mod body;
mod bulla;
pub(crate) mod certificate;
mod clients;
mod cookies;
mod credentials;
mod drain;
mod error;
mod forgery;
mod guard;
mod health;
mod identities;
mod incoming;
mod intake;
mod ladder;
mod listen;
mod login;
mod login_cookies;
mod misdirected;
mod oauth;
mod openapi;
mod origin;
mod pages;
mod presented;
mod proof;
mod provider;
mod refusal;
mod regret;
mod renewal;
mod request_log;
mod secure;
mod signed_in;
mod survive;
mod turns;
mod under_way;

pub use bulla::{Builder, Bulla, StartError};
pub use certificate::tls;
pub use drain::drain;
pub use error::Problem;
pub use guard::{Guard, Guarded};
pub use listen::{Serve, serve};
pub use origin::Site;
pub(crate) use provider::way_back;
