//! Sessions: begin, authenticate, refresh, revoke (docs/design/sessions.md). This module does not use cookies or HTTP
//! status codes.

mod bearer;
mod begin;
mod clock_watch;
mod counters;
mod cut_streams;
mod denylist;
mod ended;
mod machine;
mod moves;
mod policy;
mod present;
mod principal;
pub mod refresh;
mod renew;
mod sessions;
mod tokens;
mod watch;

pub use bearer::Bearer;
pub use begin::Issued;
use clock_watch::ClockWatch;
pub use counters::{Counter, Counters};
pub use denylist::Denylist;
pub use machine::{Machine, SERVICE_MAX_AGE};
pub use policy::{ACCESS_CEILING, KEEP, OnStale, Pardon, Policy, PolicyError};
pub use present::Present;
#[cfg(feature = "cli")]
pub(crate) use principal::check_claims;
#[cfg(feature = "actix")]
pub(crate) use principal::check_size;
pub use principal::{Principal, RESERVED_CLAIMS};
pub use renew::{Renewal, Renewed};
pub use sessions::{Denied, Parts, Sessions};
pub use tokens::Tokens;
pub(crate) use watch::Watch;
