//! Tests the rules of sessions (docs/design/sessions.md): refresh, end and revocation.

mod refresh_model;
mod revocation;
mod sessions;
