//! Decides whether an identity may be linked or unlinked, and which identities are new.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{Identity, LinkedIdentity, StoreError},
};

/// How long a linked identity counts as new. The event of a password change names the new ones.
const NEWLY_LINKED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Whether an identity is to be linked to `user`: true if it is free, false if it is linked to `user` already. An identity of
/// another user is a conflict.
pub(in crate::store) fn may_link(owner: Option<&UserId>, user: &UserId) -> Result<bool, StoreError> {
    match owner {
        None => Ok(true),
        Some(owner) if owner == user => Ok(false),
        Some(_) => Err(StoreError::Conflict("this identity is linked to another user".into())),
    }
}

/// Whether an identity is to be unlinked: false if it is not among the user's identities. Refuses to remove the last way to log
/// in.
pub(in crate::store) fn may_unlink(
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

/// Returns the identities that were linked in the last 30 days. An identity with an unknown time counts as new.
pub(in crate::store) fn newly_linked(all: Vec<LinkedIdentity>, now: Timestamp) -> Vec<LinkedIdentity> {
    let is_new = |one: &LinkedIdentity| one.linked_at.is_none_or(|at| now.since(at) <= NEWLY_LINKED);
    all.into_iter().filter(is_new).collect()
}
