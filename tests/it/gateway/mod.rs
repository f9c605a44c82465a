//! Tests of apps behind Bulla: by its gateway (`bulla serve --upstream`), and by forward-auth of other proxies.

mod access;
mod answers;
mod browser;
mod connections;
mod forward_auth;
mod framing;
mod identity;
mod programs;
mod samples;
mod streams;
mod upstreams;
mod verify;

use crate::support::server::{Browser, Server};

/// A running server with one app for people who have logged in.
fn before(url: &str) -> Server {
    Server::started(&[("BULLA_UPSTREAM", url)])
}

/// A running server with the `[[upstream]]` tables in `tables`.
fn configured(tables: &str) -> Server {
    let mut server = Server::new(&[]);
    server.write_secret("bulla.toml", tables);
    server.start();
    server
}

/// A person who has logged in, with their cookies.
async fn ada(server: &Server) -> (Browser, String) {
    let browser = server.ada().await;
    let cookies = browser.jar.header();
    (browser, cookies)
}
