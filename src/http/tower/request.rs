//! The view of a request of the crate `http`, version 1.

use std::{net::IpAddr, sync::Once};

use http::{HeaderName, HeaderValue, request::Parts};

use crate::http::wire::request::{Header, Request, Sealed, header_names};

/// The address of the connection's peer, as an extension of the request. The program that serves the connections inserts it before
/// the request reaches the guard; with axum it comes from `ConnectInfo`. If the peer is a proxy that
/// [`Site::trust`](crate::Site::trust) names, Bulla takes the client's address from the proxy's header.
///
/// Without it, failed logins are counted by account only, and sessions have no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

impl Sealed for Parts {}

impl Request for Parts {
    fn method(&self) -> &str {
        self.method.as_str()
    }

    fn path(&self) -> &str {
        self.uri.path()
    }

    fn target(&self) -> Option<&str> {
        self.uri.path_and_query().map(|target| target.as_str())
    }

    fn authority(&self) -> Option<&str> {
        self.uri.authority().map(|authority| authority.as_str())
    }

    fn values(&self, header: Header) -> impl Iterator<Item = &[u8]> {
        self.headers.get_all(name(header)).into_iter().map(HeaderValue::as_bytes)
    }

    fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(HeaderName::as_str)
    }

    fn peer(&self) -> Option<IpAddr> {
        let peer = self.extensions.get::<PeerAddress>();
        if peer.is_none() {
            warn_once();
        }
        peer.map(|PeerAddress(peer)| *peer)
    }
}

fn warn_once() {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        tracing::warn!(
            "a request has no extension PeerAddress: the addresses of clients are unknown, and failed logins are counted by \
             account only; insert it before the guard, with axum from ConnectInfo. Logged once"
        );
    });
}

header_names!(http::header);
