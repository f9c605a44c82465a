//! Identities: how people authenticate, by password or by an OpenID provider (step 3 of the ladder). This module knows no
//! sessions; its result is a [`crate::store::User`].

mod hasher;
#[cfg(feature = "openid")]
pub mod openid;
mod password;

pub use hasher::{HashError, Hasher, Place};
pub use password::{PasswordRule, StoreUsers};
