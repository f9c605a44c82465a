//! Identities: how people authenticate, by password or by an OpenID provider (step 3 of docs/design/sessions.md). This
//! module does not use sessions; its result is a [`crate::store::User`].

mod foreign_hash;
mod hasher;
#[cfg(feature = "openid")]
pub mod openid;
mod password;
mod stored_hash;

pub use hasher::{HashError, Hasher, QueuePlace};
pub use password::{PasswordRule, StoreUsers};
#[cfg(feature = "cli")]
pub(crate) use stored_hash::is_acceptable as is_acceptable_hash;
