//! Identities: how people authenticate, by password or by an OpenID provider (step 3 of docs/design/sessions.md). This
//! module does not use sessions; its result is a [`crate::store::User`].

mod hasher;
#[cfg(feature = "openid")]
pub mod openid;
mod password;

pub use hasher::{HashError, Hasher, QueuePlace};
pub use password::{PasswordRule, StoreUsers};
