//! Identities at OpenID providers: the rows of `identities`, the interface that reads and writes them, and their rules.

use std::time::Duration;

use async_trait::async_trait;

use super::{AuditEvent, StoreClock, StoreError};
use crate::{clock::Timestamp, ids::UserId};

/// Reads and writes the rows of `identities`.
#[async_trait]
pub trait IdentityRows: StoreClock {
    /// Returns the user to whom an identity is linked.
    async fn identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError>;

    /// Returns the identities of a user, in order.
    async fn identities(&self, user: &UserId) -> Result<Vec<Identity>, StoreError> {
        Ok(self.linked_identities(user).await?.into_iter().map(|linked| linked.identity).collect())
    }

    /// Returns the identities of a user with the times at which they were linked.
    async fn linked_identities(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError>;

    /// Returns the identities of a user that were linked in the last 30 days or at an unknown time.
    async fn newly_linked(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        Ok(newly_linked(self.linked_identities(user).await?, self.now().await?))
    }

    /// Links an identity to a user. Writes `event` if it was not linked before.
    ///
    /// # Errors
    ///
    /// `Conflict` if the identity is linked to another user.
    async fn link(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<(), StoreError>;

    /// Unlinks an identity from a user. Returns false if the identity is not linked to this user.
    ///
    /// # Errors
    ///
    /// `LastWayIn` if the user has no password and no other identity.
    async fn unlink(&self, user: &UserId, identity: Identity, event: AuditEvent) -> Result<bool, StoreError>;
}

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

/// Whether an identity is to be linked to `user`: true if it is free, false if it is linked to `user` already. An identity of
/// another user is a conflict.
pub(super) fn may_link(owner: Option<&UserId>, user: &UserId) -> Result<bool, StoreError> {
    match owner {
        None => Ok(true),
        Some(owner) if owner == user => Ok(false),
        Some(_) => Err(StoreError::Conflict("this identity is linked to another user".into())),
    }
}

/// Whether an identity is to be unlinked: false if it is not among the user's identities. Refuses to remove the last way to log
/// in.
pub(super) fn may_unlink(
    identity: &Identity,
    all: &[LinkedIdentity],
    has_password: bool,
) -> Result<bool, StoreError> {
    match all.iter().any(|linked| linked.identity == *identity) {
        false => Ok(false),
        true if all.len() == 1 && !has_password => Err(StoreError::LastWayIn),
        true => Ok(true),
    }
}

/// How long a linked identity counts as new. The event of a password change names the new ones.
const NEWLY_LINKED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Returns the identities that were linked in the last 30 days. An identity with an unknown time counts as new.
pub(super) fn newly_linked(all: Vec<LinkedIdentity>, now: Timestamp) -> Vec<LinkedIdentity> {
    let is_new = |one: &LinkedIdentity| one.linked_at.is_none_or(|at| now.since(at) <= NEWLY_LINKED);
    all.into_iter().filter(is_new).collect()
}
