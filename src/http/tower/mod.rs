//! The adapter for tower and axum: [`Guard`](crate::Guard) as a layer, extractors for the caller, and the conversions of requests
//! and answers.
//!
//! The layer makes the same decisions as the guard for actix-web. Handlers take a [`Principal`](crate::Principal), an
//! `Option<Principal>` or a [`Machine`](crate::Machine). [`Problem`](crate::Problem) and
//! [`SessionCookies`](crate::SessionCookies) can be part of a handler's answer.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use axum::{Router, extract::{ConnectInfo, Request}, middleware::map_request, routing::get};
//! use bulla::{Bulla, Principal, tower::PeerAddress};
//!
//! async fn hello(who: Principal) -> String {
//!     format!("Hello {}\n", who.id())
//! }
//!
//! /// Tells Bulla the address of the peer. Serve the app by `into_make_service_with_connect_info::<SocketAddr>()`.
//! async fn peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
//!     request.extensions_mut().insert(PeerAddress(peer.ip()));
//!     request
//! }
//!
//! fn app(bulla: &Bulla) -> Router {
//!     Router::new().route("/hello", get(hello)).layer(bulla.guard()).layer(map_request(peer))
//! }
//! ```

mod answer;
mod extract;
mod layer;
mod request;

#[cfg(feature = "cli")]
pub(crate) use answer::{add_renewed, response};
pub use layer::{GuardFuture, GuardService};
pub use request::PeerAddress;
