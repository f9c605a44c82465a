//! The OAuth issuer: the sessions, and the public URL of this server.

use crate::session::Sessions;

/// The issuer of tokens to clients. All OAuth routes use it.
#[derive(Clone, Copy, Debug)]
pub struct Issuer<'a> {
    pub(super) sessions: &'a Sessions,
    /// The issuer URL, such as `https://login.example.org`. It comes from the settings, never from a request.
    pub(super) url: &'a str,
}

impl<'a> Issuer<'a> {
    /// Makes the issuer of an installation.
    pub fn new(sessions: &'a Sessions, url: &'a str) -> Self {
        Self { sessions, url }
    }
}
