//! The identities of persons at OpenID providers.

use crate::clock::Timestamp;

/// A person's identity at an OpenID provider. Never an email address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The issuer of the provider.
    pub issuer: String,
    /// The provider's id for the person (`sub`). The provider never gives it to another person.
    pub subject: String,
}

/// An identity with the data in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// The identity at the provider.
    pub identity: Identity,
    /// The time at which the identity was linked, `None` if unknown.
    pub linked_at: Option<Timestamp>,
}

impl LinkedIdentity {
    /// The JSON form for the audit and for programs.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "issuer": self.identity.issuer, "subject": self.identity.subject, "linked_at": self.linked_at,
        })
    }
}
