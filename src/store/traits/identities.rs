//! The interface to the rows of `identities`.

use async_trait::async_trait;

use super::StoreClock;
use crate::{
    ids::UserId,
    store::{AuditEvent, Identity, LinkedIdentity, StoreError, rules::identities::newly_linked},
};

/// Reads and writes the rows of `identities`.
#[async_trait]
pub trait IdentityRows: StoreClock {
    /// Returns the user to whom an identity is linked.
    async fn user_of_identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError>;

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
