//! Tests the rules of sessions (docs/design/sessions.md): begin, refresh, end and revocation, with real tokens and a real database.

mod begin;
mod end;
mod key_changes;
mod outages;
mod random_lives;
mod refresh;
mod refresh_model;
mod revocation;

use bulla::internals::{session::Renewed, store::User};

use crate::support::installation::{Installation, Node};

/// An installation with one node and one user.
async fn one_node_and_user() -> (Installation, Node, User) {
    let installation = Installation::new();
    let node = installation.node().await;
    let user = node.user("ada").await;
    (installation, node, user)
}

fn generation(node: &Node, renewed: &Renewed) -> Option<u64> {
    renewed.refresh.as_ref().map(|token| node.opened(token)["gen"].as_u64().unwrap())
}
