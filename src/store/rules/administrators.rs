//! Ensures that an installation keeps at least one enabled administrator once it has one.

use crate::{
    ids::UserId,
    store::{StoreError, UserRow},
};

/// Whether this change (`None`: a deletion) takes away an enabled administrator. If so, the caller checks with [`keep_an_admin`]
/// that another one remains.
pub(in crate::store) fn takes_an_admin(before: &UserRow, after: Option<&UserRow>) -> bool {
    before.is_admin() && !after.is_some_and(UserRow::is_admin)
}

/// Checks that one of these administrators is another user than `id`.
pub(in crate::store) fn keep_an_admin(id: &UserId, all: &[UserRow]) -> Result<(), StoreError> {
    match all.iter().any(|row| row.is_admin() && row.id != *id) {
        true => Ok(()),
        false => Err(StoreError::LastAdmin),
    }
}

impl UserRow {
    /// Whether the user is an enabled administrator.
    fn is_admin(&self) -> bool {
        !self.disabled && self.roles.iter().any(|role| role == "admin")
    }
}
