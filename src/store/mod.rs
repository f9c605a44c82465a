//! The store: the rows of users, sessions, clients, revocations and audit, in SQLite or PostgreSQL (docs/design/sessions.md).
//!
//! The store does not use tokens or HTTP. The code above it makes the decisions: the store reads a row together with its own
//! time, the caller judges the row, and the store writes only if the row has not changed since then.
//!
//! `rows` has the types of the rows, `rules` the decisions that do not depend on the database, `traits` one interface for each
//! table. `sqlite` and `postgres` implement each trait beside its SQL. The rest of the crate holds an `Arc<dyn Store>`, which
//! [`Database::open`] returns:
//!
//! ```
//! use std::sync::Arc;
//! use bulla::internals::{clock::SystemClock, store::{Actor, AuditEvent, Database, Event, NewUser}};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("bulla.db").display().to_string();
//! let database: Database = path.parse()?;
//! let store = database.open(Arc::new(SystemClock)).await?;
//! let new = NewUser { name: "ada".to_owned(), ..NewUser::default() };
//! let user = store.add_user(new, AuditEvent::new(Event::UserAdded, Actor::System, "")).await?;
//! assert_eq!(store.user_by_name("ADA").await?, Some(user));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

pub mod clock_leap;
mod database;
mod error;
mod inspection;
#[cfg(feature = "postgres")]
pub mod postgres;
mod rows;
mod rules;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod time_budget;
mod traits;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod transfer;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod transfer_stream;
mod user_source;

pub use clock_leap::{ClockLeap, ClockMark};
pub use database::Database;
pub use error::{BadDatabase, StoreError, Written};
pub(crate) use inspection::{DatabaseFacts, Inspection};
#[cfg(feature = "postgres")]
pub use postgres::PostgresUrl;
pub use rows::{
    AUDIT_PAGE_MAX, Actor, AuditEvent, AuditQuery, AuditRow, BadSessionKey, Caller, ClientChange, ClientRow,
    Device, Event, FormerSecret, Grant, Identity, LinkedIdentity, ListedSession, NODE_TIMEOUT, NewClient,
    NewSecret, NewSession, NewUser, NodeRow, Proof, ProvenAt, Revocation, RevocationTarget, SessionChange,
    SessionEnd, SessionKey, SessionPage, SessionQuery, SessionRow, Transport, UnreadableRow, UserChange,
    UserPage, UserQuery, UserRow, device_name, device_name_with_version, read_audit_event, read_audit_time,
};
#[cfg(feature = "cli")]
pub(crate) use rules::names::fold as folded_name;
pub use rules::names::{
    CLIENT_NAME_RULE, NAME_MAX, NAME_RULE, ROLE_RULE, is_good_name, is_good_role, is_plain_name,
};
pub(crate) use time_budget::with_time_budget;
pub use traits::{
    Audit, ClientRows, Feed, FollowHandle, IdentityRows, Nodes, Revocations, SessionRows, StoreClock, Upkeep,
    UsedNonces, UserRows,
};
#[cfg(all(feature = "sqlite", feature = "postgres"))]
pub use transfer::{TransferOutcome, transfer};
pub(crate) use user_source::EmbeddedUsers;
pub use user_source::{LoginError, User, UserSource, Users};

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
