//! The interface to the rows of `revocations`, and the interface through which the denylist receives them.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    store::{AuditEvent, Revocation, RevocationTarget, StoreError},
};

/// Reads and writes the rows of `revocations`.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Revokes a token that has no row (a service token). The revocation is kept until no token to which it applies can be valid
    /// any more. Returns false if it was revoked before.
    async fn revoke(
        &self,
        target: RevocationTarget,
        until: Timestamp,
        event: AuditEvent,
    ) -> Result<bool, StoreError>;

    /// Returns the revocations in force, in the order of `seq`.
    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError>;

    /// Loads all revocations in force into `feed`, then follows the table until the handle is dropped. Returns after the first
    /// load. A revocation made in this process reaches `feed` before the call that made it returns.
    async fn follow(&self, feed: Arc<dyn Feed>) -> Result<FollowHandle, StoreError>;
}

/// A receiver of the rows of `revocations`: the denylist.
pub trait Feed: Send + Sync {
    /// Receives all revocations in force. They replace everything received before. Called at the first load, or if `seq` went
    /// back.
    fn replace(&self, all: Vec<Revocation>);
    /// Receives new revocations, read at `now` by the store's time. The feed may know some of them already.
    fn add(&self, new: Vec<Revocation>, now: Timestamp);
    /// Reports that the table was just read and that no revocation is missing. Called at least every second while the store
    /// answers.
    fn fresh(&self);
}

/// Stops following the table when dropped.
pub struct FollowHandle(#[allow(dead_code, reason = "held for its Drop")] Box<dyn Send + Sync>);

impl FollowHandle {
    /// Wraps a value that stops the follower when dropped.
    pub fn new(stopper: impl Send + Sync + 'static) -> Self {
        Self(Box::new(stopper))
    }
}

impl fmt::Debug for FollowHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FollowHandle")
    }
}
