//! Who issues tokens to clients: the sessions, under the name the world has for this server.

use crate::session::Sessions;

/// What the OAuth routes stand on.
#[derive(Clone, Copy, Debug)]
pub struct Issuer<'a> {
    pub(super) sessions: &'a Sessions,
    /// `https://login.example.org`: from the settings, never from a request.
    pub(super) url: &'a str,
}

impl<'a> Issuer<'a> {
    /// Over the sessions of an installation.
    pub fn new(sessions: &'a Sessions, url: &'a str) -> Self {
        Self { sessions, url }
    }
}
