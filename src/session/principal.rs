//! Who a request speaks for.

use crate::{clock::Timestamp, ids::Sid};

/// Who a request speaks for: what a valid access token says.
#[derive(Clone, Debug)]
pub struct Principal {}

impl Principal {
    /// `users.id` as text, or `client:<client id>`.
    pub fn id(&self) -> &str {
        todo!()
    }
    /// The session.
    pub fn sid(&self) -> Sid {
        todo!()
    }
    /// The roles when the token was sealed.
    pub fn roles(&self) -> Vec<String> {
        todo!()
    }
    /// Whether `role` is among them.
    pub fn has_role(&self, role: &str) -> bool {
        let _ = role;
        todo!()
    }
    /// The application's claims: the payload without `id`, `sid` and `roles`.
    pub fn claims(&self) -> serde_json::Map<String, serde_json::Value> {
        todo!()
    }
    /// When the token was sealed.
    pub fn issued_at(&self) -> Timestamp {
        todo!()
    }
}
