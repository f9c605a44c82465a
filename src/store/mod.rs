//! The store: the rows of users, sessions, clients, revocations and audit, behind one trait (docs/design/sessions.md).
//!
//! The store knows neither tokens nor HTTP. The code above it makes the decisions: the store reads a row together with its own
//! time, the caller judges the row, and the store writes only if the row has not changed since then.

mod audit;
mod bad;
mod clients;
mod clock_mark;
mod database;
mod error;
mod identities;
pub mod leap;
mod look;
mod nodes;
mod nonces;
mod patience;
pub mod postgres;
mod revocations;
mod sessions;
pub mod sqlite;
mod transfer;
mod upkeep;
mod users;

pub use audit::{Audit, AuditEvent, AuditRow, Caller};
pub use bad::BadRow;
pub use clients::{ClientChange, ClientRow, ClientRows, FormerSecret, NewClient, NewSecret};
pub use clock_mark::StoreClock;
pub use database::{BadDatabase, Database};
pub use error::StoreError;
pub use identities::{Identity, IdentityRows, LinkedIdentity};
pub use leap::{ClockMark, Leap};
pub(crate) use look::{Facts, Found};
pub use nodes::{NODE_LIVES, NodeRow, Nodes};
pub use nonces::UsedNonces;
pub(crate) use patience::patiently;
pub use postgres::PostgresUrl;
pub use revocations::{Feed, FollowHandle, Revocation, Revocations, Target};
pub use sessions::{
    Device, Grant, NewSession, Proof, ProvenAt, SessionChange, SessionEnd, SessionRow, SessionRows,
    Transport, Written,
};
pub use transfer::{Moved, transfer};
pub use upkeep::Upkeep;
pub use users::{LoginError, NAME_RULE, NewUser, User, UserChange, UserRow, UserRows, Users, is_good_name};

/// The interface of every store: all tables, the clock and the maintenance. Each method is one transaction. A change is durable
/// when the method returns. The methods of the supertraits can be called on a `dyn Store` without an import of these traits.
pub trait Store:
    SessionRows
    + UserRows
    + ClientRows
    + IdentityRows
    + UsedNonces
    + Audit
    + Revocations
    + Nodes
    + StoreClock
    + Upkeep
    + std::fmt::Debug
    + 'static
{
}

impl<T> Store for T where
    T: SessionRows
        + UserRows
        + ClientRows
        + IdentityRows
        + UsedNonces
        + Audit
        + Revocations
        + Nodes
        + StoreClock
        + Upkeep
        + std::fmt::Debug
        + 'static
{
}
