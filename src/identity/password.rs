//! Names and passwords over the table `users`.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    identity::Hasher,
    ids::UserId,
    secret::SecretText,
    store::{LoginError, Store, StoreError, User, Users},
};

/// What a new password must be: NFC, `min` to 256 code points.
#[derive(Clone, Copy, Debug)]
pub struct PasswordRule {
    /// Least code points (default 8).
    pub min: usize,
}

impl PasswordRule {
    /// Checks a new password; the error tells the user what to change.
    pub fn check(&self, password: &SecretText) -> Result<(), String> {
        let _ = password;
        todo!()
    }
}

/// The users of the table `users`.
pub struct StoreUsers {
    store: Arc<dyn Store>,
    hasher: Arc<Hasher>,
}

impl StoreUsers {
    /// Over a store, hashing in a pool.
    pub fn new(store: Arc<dyn Store>, hasher: Arc<Hasher>) -> Self {
        Self { store, hasher }
    }
}

#[async_trait]
impl Users for StoreUsers {
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let _ = (id, &self.store, &self.hasher);
        todo!()
    }

    async fn log_in(&self, name: &str, password: &SecretText) -> Result<User, LoginError> {
        let _ = (name, password);
        todo!()
    }
}
