//! Identities: how somebody proves who they are (step 3 of the ladder). Knows no session; yields a [`crate::store::User`].

mod hasher;
pub mod openid;
mod password;
mod throttle;

pub use hasher::{HashError, Hasher, Place};
pub use password::{PasswordRule, StoreUsers};
pub use throttle::{Account, Charge, Reason, Throttle, Throttled};
pub(crate) use throttle::{folded, network};
