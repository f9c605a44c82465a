//! Checks names and passwords of the users in the table `users`.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    hasher::{self, QueuePlace},
    stored_hash,
};
use crate::{
    clock::Timestamp,
    identity::{HashError, Hasher},
    ids::{Sid, UserId, shell},
    secret::SecretText,
    store::{LoginError, SessionRow, Store, StoreError, User, UserRow, UserSource},
};

/// The largest number of code points in a password.
const MAX: usize = 256;

/// The rule for a new password: `min` to 256 code points after normalization to the Unicode form NFC.
#[derive(Clone, Copy, Debug)]
pub struct PasswordRule {
    /// The smallest number of code points (default 8).
    pub min: usize,
}

impl PasswordRule {
    /// Checks a new password.
    ///
    /// # Errors
    ///
    /// The error is a sentence for the user: which part of the rule the password breaks.
    pub fn check(&self, password: &SecretText) -> Result<(), String> {
        match hasher::length(password) {
            length if length < self.min => {
                Err(format!("a password must have at least {} characters", self.min))
            }
            length if length > MAX => Err(format!("a password must have at most {MAX} characters")),
            _ => Ok(()),
        }
    }
}

/// The source of users over the table `users`.
pub struct StoreUsers {
    store: Arc<dyn Store>,
    hasher: Arc<Hasher>,
}

impl StoreUsers {
    /// Creates the source over a store and a hashing pool.
    pub fn new(store: Arc<dyn Store>, hasher: Arc<Hasher>) -> Self {
        Self { store, hasher }
    }

    /// Whether a password matches a stored hash. `name` is the user's name, for the log.
    async fn matches(
        &self,
        place: QueuePlace,
        name: &str,
        password: &SecretText,
        hash: Option<&str>,
    ) -> Result<bool, LoginError> {
        match self.hasher.verify_reserved(place, password, hash).await {
            Ok(matches) => Ok(matches),
            Err(HashError::Busy) => Err(LoginError::Busy),
            Err(HashError::BadHash) => {
                tracing::error!(
                    "the stored password hash of {name} has an unsupported format; `bulla user passwd {}` replaces it",
                    shell::quote(name)
                );
                Ok(false)
            }
            Err(HashError::Failed) => {
                Err(StoreError::Unavailable("a password could not be hashed".into()).into())
            }
        }
    }

    /// Replaces a hash that is weaker than a new one, while the password is known. Returns the hash in the row.
    async fn strengthen(&self, id: &UserId, hash: String, password: &SecretText) -> String {
        if !stored_hash::is_weak(&hash) {
            return hash;
        }
        let Ok(stronger) = self.hasher.hash(password).await else { return hash };
        match self.store.rehash_password(id, &hash, stronger.clone()).await {
            Ok(true) => stronger,
            // Another request has changed the password. The transaction that begins a session with this hash then fails.
            Ok(false) => hash,
            Err(error) => {
                tracing::warn!(%error, "a password hash could not be replaced by a stronger one");
                hash
            }
        }
    }
}

fn user(row: UserRow) -> User {
    User { id: row.id, name: row.name, roles: row.roles, claims: row.claims }
}

#[async_trait]
impl UserSource for StoreUsers {
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        Ok(self.store.user(id).await?.filter(|row| !row.disabled).map(user))
    }

    async fn of_session(
        &self,
        store: &dyn Store,
        sid: Sid,
    ) -> Result<(Option<(SessionRow, Option<User>)>, Timestamp), StoreError> {
        let (found, now) = store.session_and_user(sid).await?;
        Ok((found.map(|(row, of)| (row, of.filter(|row| !row.disabled).map(user))), now))
    }

    async fn prove(&self, name: &str, password: &SecretText) -> Result<(User, SecretText), LoginError> {
        let place = self.hasher.reserve().map_err(|_| LoginError::Busy)?;
        let row = self.store.user_by_name(name).await?;
        // A password can't be empty or longer than `MAX`. Such a password is refused after the same work as any other.
        let possible = password.expose().len() <= 16 * MAX && (1..=MAX).contains(&hasher::length(password));
        let hash =
            row.as_ref().filter(|row| possible && !row.disabled).and_then(|row| row.password_hash.clone());
        let shown = if possible { password.clone() } else { SecretText::default() };
        let of = row.as_ref().map_or("", |row| row.name.as_str());
        let matches = self.matches(place, of, &shown, hash.as_deref()).await?;
        match (row, hash) {
            (Some(row), Some(hash)) if matches => {
                let hash = self.strengthen(&row.id, hash, password).await;
                Ok((user(row), SecretText::new(hash)))
            }
            _ => Err(LoginError::Wrong),
        }
    }

    fn keeps_passwords_in_store(&self) -> bool {
        true
    }
}
