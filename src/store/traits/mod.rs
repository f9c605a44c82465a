//! The interface of a store: one trait for each table, one for the clock and one for the maintenance.

mod audit;
mod clients;
mod clock;
mod identities;
mod nodes;
mod nonces;
mod revocations;
mod sessions;
mod upkeep;
mod users;

pub use audit::Audit;
pub use clients::ClientRows;
pub use clock::StoreClock;
pub use identities::IdentityRows;
pub use nodes::Nodes;
pub use nonces::UsedNonces;
pub use revocations::{Feed, FollowHandle, Revocations};
pub use sessions::SessionRows;
pub use upkeep::Upkeep;
pub use users::UserRows;
