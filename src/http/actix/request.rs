//! The view of a request of actix-web.

use std::net::IpAddr;

use actix_web::{
    HttpRequest,
    http::header::{HeaderName, HeaderValue},
};

use crate::http::wire::request::{Header, Request, Sealed, header_names};

impl Sealed for HttpRequest {}

impl Request for HttpRequest {
    fn method(&self) -> &str {
        Self::method(self).as_str()
    }

    fn path(&self) -> &str {
        Self::path(self)
    }

    fn target(&self) -> Option<&str> {
        self.uri().path_and_query().map(|target| target.as_str())
    }

    fn authority(&self) -> Option<&str> {
        self.uri().authority().map(|authority| authority.as_str())
    }

    fn values(&self, header: Header) -> impl Iterator<Item = &[u8]> {
        self.headers().get_all(name(header)).map(HeaderValue::as_bytes)
    }

    fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers().keys().map(HeaderName::as_str)
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer_addr().map(|peer| peer.ip())
    }
}

header_names!(actix_web::http::header);
