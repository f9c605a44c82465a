//! Sessions: begin, authenticate, refresh, revoke (DESIGN 4). Knows no cookie and no status code.

mod denylist;
mod policy;
mod principal;
pub mod refresh;
mod sessions;
mod tokens;

pub use denylist::Denylist;
pub use policy::{OnStale, Pardon, Policy, PolicyError};
pub use principal::Principal;
pub use sessions::{Denied, Issued, Parts, RenewMode, Renewed, Sessions};
pub use tokens::Tokens;
