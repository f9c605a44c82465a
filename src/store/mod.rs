//! The store: the rows of users, sessions, clients, revocations and audit, behind one trait (docs/design/sessions.md).
//!
//! The store knows neither tokens nor HTTP. The code above it makes the decisions: the store reads a row together with its own
//! time, the caller judges the row, and the store writes only if the row has not changed since then.

mod audit;
mod bad;
mod callers;
mod clients;
mod clock_mark;
mod database;
mod identities;
pub mod leap;
mod look;
mod names;
mod nodes;
mod nonces;
mod patience;
pub mod postgres;
mod revocations;
mod rows;
mod rules;
mod sessions;
pub mod sqlite;
mod trail;
mod transfer;
mod upkeep;
mod users;

pub use audit::Audit;
pub use bad::BadRow;
pub use clients::{ClientChange, ClientRow, ClientRows, FormerSecret, NewClient, NewSecret};
pub use clock_mark::StoreClock;
pub use database::{BadDatabase, Database};
pub use identities::IdentityRows;
pub use leap::{ClockMark, Leap};
pub(crate) use look::{Facts, Found};
pub use names::{NAME_RULE, is_good_name};
pub use nodes::{NODE_LIVES, Nodes};
pub use nonces::UsedNonces;
pub(crate) use patience::patiently;
pub use postgres::PostgresUrl;
pub use revocations::{Feed, FollowHandle, Revocation, Revocations, Target};
pub use rows::{
    AuditEvent, AuditRow, Caller, Device, Grant, Identity, LinkedIdentity, NewSession, NewUser, NodeRow,
    Proof, ProvenAt, SessionChange, SessionEnd, SessionRow, Transport, UserChange, UserRow,
};
pub use sessions::{SessionRows, Written};
pub use transfer::{Moved, transfer};
pub use upkeep::Upkeep;
pub use users::{LoginError, User, UserRows, Users};

/// The errors of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store can't answer at present: it is unreachable, locked, overloaded, full or failing. Nothing was acknowledged.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A sync to disk failed, or the database file was replaced. The store acknowledges nothing until a restart has recovered it.
    #[error("the store can't vouch for what is on the disk; restart to recover")]
    Broken,
    /// The schema is newer than this program.
    #[error("{0}")]
    Schema(String),
    /// The change conflicts with existing data: the name is taken or looks like a taken one, or the database is not empty.
    #[error("{0}")]
    Conflict(String),
    /// The last administrator can't be removed.
    #[error("the last administrator can't be removed; give another user the role `admin` first")]
    LastAdmin,
    /// The last way to log in can't be removed.
    #[error("this is the last way in; set a password or link another identity first")]
    LastWayIn,
    /// The data on which the change was based has changed since it was read, for example the password. Nothing was written.
    #[error("the row has changed since it was read; nothing was written, try again")]
    Moved,
    /// The session or the client that requested the change has ended, or has lost the role or scope that the change needs.
    /// Nothing was written.
    #[error("the session that asked for this has ended; nothing was written")]
    Ended,
}

impl StoreError {
    /// Returns the same error again. Several callers can wait for one commit, and each of them needs the error.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Unavailable(why) => Self::Unavailable(why.clone()),
            Self::Broken => Self::Broken,
            Self::Schema(why) => Self::Schema(why.clone()),
            Self::Conflict(why) => Self::Conflict(why.clone()),
            Self::LastAdmin => Self::LastAdmin,
            Self::LastWayIn => Self::LastWayIn,
            Self::Moved => Self::Moved,
            Self::Ended => Self::Ended,
        }
    }
}

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
